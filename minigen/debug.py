"""`with debug():` finds the op that first makes a NaN or an infinity, and arrays changed before backward used them.

    with minigen.debug():
        loss = model(x)
        gradients = minigen.grad(loss, model.parameters())

The checks are not always on, because they read every array again, and a checksum costs as much as a cheap op. Measured
on the CPU, a training step takes 1.15 times as long for a convolutional net, 1.8 times for 784-400-20-400-784 dense
layers (1.15 times without `inplace`), 9 times where arrays are tiny. On the GPU each check waits for the device, and
`inplace` copies what is saved to the host.
"""

import math
import zlib
from contextlib import contextmanager
from typing import NamedTuple

from .autograd import Tensor, state
from .backend import namespace, to_numpy


@contextmanager
def debug(nonfinite=True, inplace=True):
    """Check every op that runs inside, forward and backward.

    nonfinite: stop at the op that first makes a NaN or an infinity of finite inputs: FloatingPointError with its name,
        its shapes, the input whose derivative it was, and the layer. One that came in with an input (data, or weights
        after a bad step) is said to be that input's.
    inplace: stop where backward needs an array that was changed since the forward pass: RuntimeError with the op, the
        name of the saved value and the layer. A checksum is taken when an array is saved, and compared before it is
        used. Without debug() such a change goes unnoticed and the gradient is wrong.
    Only what is recorded inside can be checked inside: put forward *and* backward into the block.
    """
    outer, state.watcher = state.watcher, Watcher(nonfinite, inplace)
    try:
        yield
    finally:
        state.watcher = outer


class Record(NamedTuple):
    """What debug() keeps on a Node until backward comes there."""

    call: str  # the op with its shapes
    layer: str  # " in decoder.2: Conv2d", or ""
    checksums: dict  # {name of a saved value: checksum}


class Watcher:
    """The checks, at the places where autograd calls them (see autograd/state.py)."""

    def __init__(self, nonfinite, inplace):
        self.nonfinite, self.inplace = nonfinite, inplace
        self.layers = {}  # (outermost, innermost module) -> text: to look for a path means walking the whole model

    # ------------------------------------------------------------------------------------------------ forward

    def forward(self, op, out, call):
        arrays, options, node = call
        if self.nonfinite:
            for value in out if type(out) is tuple else (out,):
                if not _finite(value):
                    raise FloatingPointError(self._blame(op, arrays, options, value))
        if node is not None:
            sums = {name: _checksum(value) for name, value in node.saved.items()} if self.inplace else {}
            node.debug = Record(op.describe(arrays, options), self._layer(), sums)

    def _blame(self, op, arrays, options, out):
        where = f"{op.describe(arrays, options)}{self._layer()}"
        for i, a in enumerate(arrays):
            if not _finite(a):
                return (
                    f"{where}: the input {op.input_name(i)!r} holds {_what(a)}. No op made it: it came from outside, "
                    f"with the data or with weights that a bad step had spoilt."
                )
        ranges = ", ".join(f"{op.input_name(i)} {_range(a)}" for i, a in enumerate(arrays) if hasattr(a, "dtype"))
        return f"{where}: the result holds {_what(out)}, made of finite inputs: {ranges}."

    def _layer(self):
        if not state.modules:
            return ""
        key = state.modules[0], state.modules[-1]
        if key not in self.layers:
            outermost, innermost = key
            path = outermost.path_of(innermost)
            self.layers[key] = f" in {path}: {type(innermost).__name__}" if path else f" in {type(innermost).__name__}"
        return self.layers[key]

    # ------------------------------------------------------------------------------------------------ backward

    def before_vjps(self, pull):
        node, g, useful = pull
        record = _record(node)
        if self.nonfinite:
            for cotangent in g if type(g) is list else (g,):
                if not _finite(cotangent):
                    raise FloatingPointError(
                        f"backward of {record.call}{record.layer}: the cotangent of its result holds "
                        f"{_what(cotangent)}. No VJP made it: it was passed as grad_outputs, or finite contributions "
                        f"overflowed when they were added up."
                    )
        needed = {name for parent, vjp, _ in node.edges if parent.serial in useful for name in vjp.keeps}
        for name in sorted(needed & record.checksums.keys()):
            if _checksum(node.saved[name]) != record.checksums[name]:
                raise RuntimeError(
                    f"backward of {record.call}{record.layer}: {name!r} of shape {_shape(node.saved[name])}, saved for "
                    f"it, was changed in place since the forward pass. Make a new array instead (x = x + y, not "
                    f"x += y), or change it after backward."
                )

    def after_vjp(self, node, i, contribution):
        if self.nonfinite and not _finite(contribution):
            record = _record(node)
            raise FloatingPointError(
                f"backward of {record.call}{record.layer}: its VJP for {node.op.input_name(i)!r} gave "
                f"{_what(contribution)}, of a finite cotangent: the value is finite there, its derivative is not."
            )


def _record(node):
    return node.debug or Record(str(node.op), " (recorded outside debug(): shapes and layer are not known)", {})


# ---------------------------------------------------------------------------------------------------- looking at arrays


def _array(x):
    return x.data if isinstance(x, Tensor) else x


def _finite(x):
    """True also for what cannot be anything else: integers, indices, None."""
    x = _array(x)
    if hasattr(x, "dtype"):
        return x.dtype.kind != "f" or bool(namespace(x).isfinite(x).all())
    return not isinstance(x, float) or math.isfinite(x)


def _what(x):
    """The NaNs and infinities of an array, in words: `nan at 3 of 1280 places, first at (0, 4)`."""
    x = _array(x)
    if isinstance(x, float) or x.ndim == 0:
        return str(x)
    x = to_numpy(x)
    bad = ~namespace(x).isfinite(x)
    first = tuple(int(i[0]) for i in bad.nonzero())
    return f"{x[first]} at {int(bad.sum())} of {x.size} places, first at {first}"


def _range(x):
    return f"in [{float(x.min()):.4g}, {float(x.max()):.4g}]" if x.size else "empty"


def _shape(value):
    return [_shape(v) for v in value] if isinstance(value, tuple | list) else getattr(value, "shape", ())


def _checksum(value):
    """A number that changes with the contents of an array, or of the arrays in a tuple; None for anything else."""
    if isinstance(value, tuple | list):
        return tuple(_checksum(v) for v in value)
    if not hasattr(value, "dtype") or not hasattr(value, "strides"):
        return None
    return zlib.crc32(to_numpy(value).ravel(order="K").view("u1"))  # in memory order: no copy of dense arrays

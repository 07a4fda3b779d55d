"""What is checked: a function or Module, seen as a function of a list of float64 arrays."""

import contextlib
import inspect
from types import FunctionType

import numpy as np

from ..autograd import Leaf, Op, Tensor, state
from ..backend import namespace


class Subject:
    """`f` as a function of a list of float64 arrays (`point`): its float inputs, then its parameters.

    places: which of the inputs are checked; all floats unless given.  low: the dtype in which the VJPs are to run, or
    None for float64; the point can then be represented in it.
    """

    def __init__(self, f, inputs, put_back=lambda: None, low=None, places=None, title=None, names=None):
        self.f, self.inputs, self.put_back, self.low = f, inputs, put_back, low
        self.title = title or getattr(f, "__name__", None) or type(f).__name__
        self.places = [i for i, x in enumerate(inputs) if is_float(x)] if places is None else places
        floats = [(n, p) for n, p in _parameters(f) if is_float(p)]
        parameters = [(n, p) for n, p in floats if p.requires_grad]
        self.parameters, self.frozen = [p for _, p in parameters], [p for _, p in floats if not p.requires_grad]
        if not self.places and not self.parameters:
            raise ValueError(
                f"gradcheck({self.title}): expected at least one Tensor or array of floats among the inputs; "
                f"got {', '.join(describe_kind(x) for x in inputs) or 'none'}.{_fix(inputs)}"
            )
        labels = names or argument_names(f, len(inputs))
        self.names = [labels[i] for i in self.places] + [n for n, _ in parameters]
        rounded = lambda x: x if low is None else x.astype(low).astype(np.float64)
        self.point = [rounded(_float64(t)) for t in [*[inputs[i] for i in self.places], *self.parameters]]

    @property
    def is_layer(self):
        """Whether all numbers come in as inputs and parameters: then they decide the dtype of the result.

        A function may close over arrays, and a Module without inputs holds its data.
        """
        return bool(self.places) and (isinstance(self.f, Op) or hasattr(self.f, "named_parameters"))

    def lowered(self):
        """The point in the dtype in which the VJPs are to run."""
        return self.point if self.low is None else [x.astype(self.low) for x in self.point]

    def __call__(self, arrays):
        """(leaves, float outputs) of f at `arrays`."""
        self.put_back()
        args, leaves = list(self.inputs), []
        for i, x in zip(self.places, arrays):
            args[i] = leaf(x)
            leaves.append(args[i])
        for p, x in zip(self.parameters, arrays[len(self.places) :]):
            p.data = x
            leaves.append(p)
        out = self.result = self.f(*args)
        return leaves, [y for y in flat(out) if is_float(y)]


def flat(out):
    """What a function returned, as a list: tuples, lists and dicts opened."""
    if isinstance(out, dict):
        return flat(list(out.values()))
    return [y for part in out for y in flat(part)] if isinstance(out, tuple | list) else [out]


def is_float(x):
    return hasattr(x, "dtype") and x.dtype.kind == "f"


def describe_kind(x):
    """`None`, `float`, `a Tensor of int64`, `a list of a Tensor of float64`: what something is, for messages."""
    if isinstance(x, tuple | list) and x:
        return f"a {type(x).__name__} of {describe_kind(x[0])}"
    inside = x.data if isinstance(x, Tensor) else x
    if not hasattr(inside, "dtype"):
        return "None" if x is None else f"a Tensor of {type(inside).__name__}" if x is not inside else type(x).__name__
    return f"{'a Tensor' if isinstance(x, Tensor) else type(x).__name__} of {inside.dtype}"


def _fix(inputs):
    kinds = {x.dtype.kind for x in inputs if hasattr(x, "dtype")} | {"i" for x in inputs if isinstance(x, int)}
    if "c" in kinds:
        return " Complex numbers are not supported: pass real and imaginary parts."
    if kinds & set("iub"):
        return " Integers have no derivative: pass x.astype(float) if they are meant as real numbers."
    return " Pass arrays: np.array(2.0) for a single number." if inputs else ""


def owner(f):
    """The Module whose parameters are meant: f itself, or, of a bound method such as `model.loss`, its object."""
    this = getattr(f, "__self__", None)
    return this if inspect.ismethod(f) and hasattr(this, "parameters") else f


def modules_around(f):
    """The Modules that calling f may change: its owner, and those that a function closes over."""
    around = [owner(f)]
    if isinstance(f, FunctionType):
        around += inspect.getclosurevars(f).nonlocals.values()
    return [m for m in around if hasattr(m, "named_buffers")]


def _parameters(f):
    f = owner(f)
    if hasattr(f, "named_parameters"):
        return list(f.named_parameters())
    return [(f"parameters[{i}]", p) for i, p in enumerate(f.parameters())] if hasattr(f, "parameters") else []


def argument_names(f, count):
    """What f calls its positional arguments; inputs[i] where it does not say."""
    try:
        signature = inspect.signature(f.forward if hasattr(f, "named_parameters") else f)
    except (TypeError, ValueError):  # some builtins have none
        return [f"inputs[{i}]" for i in range(count)]
    named = [p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [named[i] if i < len(named) else f"inputs[{i}]" for i in range(count)]


@contextlib.contextmanager
def as_found(f):
    """Whatever happens inside, a Module's parameters, buffers and generators end as they began; also of `model.loss`.

    Yields a function that puts buffers and generators back at once.
    """
    raw = lambda t: t.data if isinstance(t, Tensor) else t
    parameters = [(p, p.data) for _, p in _parameters(f)]
    modules = modules_around(f)
    buffers = [(b, raw(b), raw(b).copy()) for m in modules for _, b in m.named_buffers()]
    generators = [(g, g.state()) for m in modules for _, g in m.named_generators()]

    def put_back():
        for tensor, array, values in buffers:
            array[...] = values
            if isinstance(tensor, Tensor):
                tensor.data = array
        for generator, before in generators:
            generator.restore(before)

    try:
        for p, data in parameters:
            p.data = _float64(p) if is_float(p) else data
        yield put_back
    finally:
        for p, data in parameters:
            p.data = data
        put_back()


def _float64(x):
    """A copy, in the memory layout of x."""
    data = x.data if isinstance(x, Tensor) else x
    return namespace(data).array(data, np.float64, copy=True)


@contextlib.contextmanager
def watching(watcher):
    """Let `watcher` be told of every op and VJP inside (see autograd/state.py)."""
    outer, state.watcher = state.watcher, watcher
    try:
        yield
    finally:
        state.watcher = outer


def leaf(array):
    t = Tensor(array)
    t.node = Leaf(t)
    return t


def typical_size(x):
    """The root mean square of x; 1 where that is 0."""
    data = x.data if isinstance(x, Tensor) else x
    return (float((data * data).mean()) ** 0.5 if data.size else 0.0) or 1.0


def random_like(x, rng, scale=None):
    """Normal numbers like x: its shape, device, memory layout and typical size, or `scale`."""
    data = x.data if isinstance(x, Tensor) else x
    xp = namespace(data)
    out = xp.empty_like(data)
    out[...] = xp.asarray(rng.standard_normal(data.shape)) * (typical_size(x) if scale is None else scale)
    return out

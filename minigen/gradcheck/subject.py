"""What is checked: a function or Module, seen as a function of a list of float64 arrays."""

import contextlib
import inspect

import numpy as np

from ..autograd import Leaf, Tensor
from ..backend import namespace


class Subject:
    """`f` as a function of a list of float64 arrays (`point`): its float inputs, then its parameters."""

    def __init__(self, f, inputs, put_back):
        self.f, self.inputs, self.put_back = f, inputs, put_back
        self.title = getattr(f, "__name__", None) or type(f).__name__
        self.places = [i for i, x in enumerate(inputs) if _is_float(x)]
        parameters = [(n, p) for n, p in _parameters(f) if _is_float(p) and p.requires_grad]
        self.parameters = [p for _, p in parameters]
        if not self.places and not self.parameters:
            raise ValueError(
                f"gradcheck({self.title}): expected at least one Tensor or array of floats among the inputs; "
                f"got {', '.join(type(x).__name__ for x in inputs) or 'none'}."
            )
        labels = _argument_names(f, len(inputs))
        self.names = [labels[i] for i in self.places] + [n for n, _ in parameters]
        self.point = [_float64(inputs[i]) for i in self.places] + [_float64(p) for p in self.parameters]

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
        out = self.f(*args)
        return leaves, [y for y in (out if isinstance(out, tuple | list) else [out]) if _is_float(y)]


def outputs_worth_checking(subject):
    """The float outputs at the point itself, once it is clear that a check of them can mean something."""
    complain = lambda text: ValueError(f"gradcheck({subject.title}): {text}")
    _, outputs = subject(subject.point)
    _, again = subject(subject.point)
    if not outputs:
        raise complain("expected a Tensor of floats, or a tuple of them, as the result; got none.")
    for y, z in zip(outputs, again):
        if not isinstance(y, Tensor):
            raise complain("expected Tensors as the result; got an array. Was .data or .numpy() taken inside?")
        if y.dtype != np.float64:
            raise complain(f"got a {y.dtype} result for float64 inputs; differences of it are too coarse.")
        if not namespace(y.data).isfinite(y.data).all():
            raise complain("the result is not finite at these inputs; check the derivative elsewhere.")
        if y.shape != z.shape or float(abs(y.data - z.data).sum()) > 1e-9 * float(abs(y.data).sum()):
            raise complain(
                "not deterministic; two calls with the same inputs gave different results. "
                "Seed its random numbers inside, or call eval() first."
            )
    if all(y.node is None for y in outputs):
        raise complain(f"the result does not depend on {' or '.join(subject.names)}. Was it cut by detach()?")
    return outputs


def _parameters(f):
    if hasattr(f, "named_parameters"):
        return list(f.named_parameters())
    return [(f"parameters[{i}]", p) for i, p in enumerate(f.parameters())] if hasattr(f, "parameters") else []


def _argument_names(f, count):
    """What f calls its positional arguments; inputs[i] where it does not say."""
    try:
        signature = inspect.signature(getattr(f, "forward", f) if _parameters(f) else f)
    except (TypeError, ValueError):  # some builtins have none
        return [f"inputs[{i}]" for i in range(count)]
    named = [p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [named[i] if i < len(named) else f"inputs[{i}]" for i in range(count)]


@contextlib.contextmanager
def as_found(f):
    """Whatever happens inside, a Module's parameters, buffers and generators end as they began.

    Yields a function that puts buffers and generators back at once.
    """
    raw = lambda t: t.data if isinstance(t, Tensor) else t
    parameters = [(p, p.data) for _, p in _parameters(f)]
    buffers = {n: (b, raw(b), raw(b).copy()) for n, b in f.named_buffers()} if hasattr(f, "named_buffers") else {}
    generators = [(g, g.state()) for _, g in f.named_generators()] if hasattr(f, "named_generators") else []

    def put_back():
        for tensor, array, values in buffers.values():
            array[...] = values
            if isinstance(tensor, Tensor):
                tensor.data = array
        for generator, state in generators:
            generator.restore(state)

    try:
        for p, data in parameters:
            p.data = _float64(p) if _is_float(p) else data
        yield put_back
    finally:
        for p, data in parameters:
            p.data = data
        put_back()


def _is_float(x):
    return hasattr(x, "dtype") and x.dtype.kind == "f"


def _float64(x):
    """A copy, in the memory layout of x."""
    data = x.data if isinstance(x, Tensor) else x
    return namespace(data).array(data, np.float64, copy=True)


def leaf(array):
    t = Tensor(array)
    t.node = Leaf(t)
    return t


def typical_size(x):
    """The root mean square of x; 1 where that is 0."""
    data = x.data if isinstance(x, Tensor) else x
    return (float((data * data).mean()) ** 0.5 if data.size else 0.0) or 1.0


def random_like(x, rng):
    """Normal numbers like x: its shape, device, memory layout and typical size."""
    data = x.data if isinstance(x, Tensor) else x
    xp = namespace(data)
    out = xp.empty_like(data)
    out[...] = xp.asarray(rng.standard_normal(data.shape)) * typical_size(x)
    return out

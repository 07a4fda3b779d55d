"""The faults as minigen ops, and what minigen's checker says of them."""

from inspect import Parameter, Signature
from types import SimpleNamespace

import numpy as np

from minigen import ops
from minigen.autograd import Op, Tensor, detach
from minigen.gradcheck import gradcheck

data = lambda x: x.data if isinstance(x, Tensor) else x
F = SimpleNamespace(
    **{name: getattr(ops, name) for name in ("exp", "log", "sin", "cos", "tanh", "sqrt", "where", "reshape", "sum")},
    transpose=lambda x: ops.transpose(x, 0, 1),
    concat=ops.concatenate,
    positive=lambda x: data(x) > 0,
    constant=lambda x: detach(x) if isinstance(x, Tensor) else x,  # a VJP gets arrays, or Tensors to be recorded
    recording=lambda g: isinstance(g, Tensor),
    by_numpy=lambda f, x: f(x),
    times_in_place=lambda x, y: np.multiply(data(x), data(y), out=data(x)),
    float32=lambda x: ops.astype(x, np.float32),
    noise=np.random.random,
    strided=lambda x: not data(x).flags.c_contiguous,
)


def target(fault):
    """f(*inputs): the faulty layer, used as the fault says."""
    forward = named(lambda *xs: fault.forward(F, *xs), fault.names)
    forward.__name__ = fault.name
    vjp = lambda i: named(lambda g, *xs: fault.gradients(F, g, *xs)[i], ["g", *fault.names])
    layer = Op(forward, {name: vjp(i) for i, name in enumerate(fault.names)})
    use = lambda *xs: fault.target(F, layer, *xs)
    use.__name__ = fault.name
    return use


def named(f, names):
    """f, which says that its arguments have these names; an op saves what its VJPs name."""
    f.__signature__ = Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names])
    return f


def verdict(fault):
    """(kind of minigen's diagnosis, what it says); "a note" where it passes with one, else "passes"."""
    np.random.seed(0)
    with np.errstate(all="ignore"):
        report = gradcheck(target(fault), *[x.copy("K") for x in fault.inputs], raise_on_failure=False)
    if report.diagnosis:
        return report.diagnosis.kind, report.diagnosis.text
    return ("a note", report.notes[0]) if report.notes else ("passes", "")

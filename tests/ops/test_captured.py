"""Every op and its derivatives within a CUDA graph, on the stand-in for CuPy: the same as outside, to the bit."""

import numpy as np
import pytest
from backend import fake_cupy_graph as fake
from cases import CASES, Fixed

from minigen.autograd import Leaf, Tensor, grad
from minigen.backend import use
from minigen.backend.gpu.graph import Graph, new_pool

# Dropout's row draws its mask on the host; test_graph_refused.py drops out on the device.
# With a mask as index, values decide how much there is to do: the host has to look at them.
ROWS = [
    case
    for case in CASES
    if not case.name.startswith("dropout") and getattr(case.call.keywords.get("index"), "dtype", None) != "bool"
]


@pytest.fixture
def device(fake_cupy, monkeypatch):
    monkeypatch.setattr(fake, "blas_in_capture", True)
    return use("cupy")


def moved(x, xp):
    """Arrays of the host, also inside tuples, as arrays of `xp`; everything else as it is."""
    if isinstance(x, tuple):
        return tuple(moved(v, xp) for v in x)
    return xp.asarray(x) if isinstance(x, np.ndarray) else x


def inputs(case, xp):
    """(arguments, options) on the device; float inputs that are not Fixed are leaves."""
    args = []
    for x in case.inputs:
        array = x.array if isinstance(x, Fixed) else x
        if isinstance(array, np.ndarray) and array.dtype.kind == "f":
            t = Tensor(xp.asarray(array.astype(np.float32)))
            t.node = None if isinstance(x, Fixed) else Leaf(t)
            args.append(t.data if isinstance(x, Fixed) else t)
        else:
            args.append(moved(array, xp))
    return args, {k: moved(v, xp) for k, v in case.call.keywords.items()}


def value_and_gradients(case, args, options):
    """The outputs, and the gradients of the sum of their squares: a list of arrays."""
    out = case.call.func(*args, **options)
    outs = out if isinstance(out, tuple) else (out,)
    found = [y.data if isinstance(y, Tensor) else y for y in outs]
    leaves = [a for a in args if isinstance(a, Tensor)]
    floats = [y for y in outs if isinstance(y, Tensor) and y.dtype.kind == "f" and y.node]
    if case.differentiable and leaves and floats:
        gradients = grad(sum((y * y).sum() for y in floats), leaves, allow_unused=True)
        found += [g.data for g in gradients if g is not None]
    return found


@pytest.mark.parametrize("case", ROWS, ids=lambda c: c.name)
def test_an_op_can_be_captured_with_its_derivatives(case, device):
    args, options = inputs(case, device)
    expected = [a.get() for a in value_and_gradients(case, args, options)]  # also makes what is made once
    fake.transfers.clear()
    graph = Graph(lambda: value_and_gradients(case, args, options), new_pool())
    assert not fake.transfers
    for a, b in zip(graph.replay(), expected, strict=True):
        assert a.dtype == b.dtype
        assert a.get().tobytes() == b.tobytes()

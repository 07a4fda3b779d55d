"""Every row of the table: value, derivatives, precision, memory, polymorphism; and every op has a row."""

import inspect
import sys

import numpy as np
import pytest
from cases import CASES, Fixed

from minigen import ops
from minigen.autograd import Leaf, Op, Tensor, grad, state
from minigen.gradcheck import gradcheck

EACH = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
DIFFERENTIABLE = [c for c in CASES if c.differentiable]
EACH_DERIVATIVE = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda c: c.name)
SINGLE_OPS = [c for c in DIFFERENTIABLE if isinstance(getattr(c.call, "func", None), Op)]


def is_float(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def constants(case, dtype=np.float64):
    """The inputs as arrays of one float dtype."""
    arrays = [x.array if isinstance(x, Fixed) else x for x in case.inputs]
    return [x.astype(dtype) if is_float(x) else x for x in arrays]


def leaves(case, dtype=np.float64):
    """The inputs with those that have a derivative as tensors of the graph."""
    args = constants(case, dtype)
    for i, x in enumerate(case.inputs):
        if is_float(x):
            args[i] = Tensor(args[i])
            args[i].node = Leaf(args[i])
    return args


def results(out):
    """The arrays of a result: of a Tensor, an array, or a tuple of them."""
    return [np.asarray(y.data if isinstance(y, Tensor) else y) for y in (out if isinstance(out, tuple) else (out,))]


def float_outputs(out):
    return [y for y in (out if isinstance(out, tuple) else (out,)) if y.dtype.kind == "f"]


def gradients(case, args, create_graph=False):
    """Of Σ r·y² with fixed random weights r."""
    weights = np.random.default_rng(0)
    outputs = float_outputs(case.call(*args))
    total = sum((y * y * weights.standard_normal(y.shape).astype(y.dtype)).sum() for y in outputs)
    wanted = [a for a in args if isinstance(a, Tensor) and a.node]
    return grad(total, wanted, create_graph=create_graph, allow_unused=True)


@EACH
def test_the_value_is_that_of_the_oracle(case):
    expected = case.oracle(*constants(case))
    found = results(case.call(*leaves(case)))
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert a.shape == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)  # float64, sums of up to 100 terms


@EACH_DERIVATIVE
def test_the_first_and_second_derivatives_are_those_of_differences(case):
    checked = [i for i, x in enumerate(case.inputs) if is_float(x)]

    def f(*values):
        args = constants(case)
        for i, v in zip(checked, values):
            args[i] = v
        return case.call(*args)

    assert gradcheck(f, *[case.inputs[i] for i in checked])


@EACH
def test_float32_stays_float32_in_value_and_gradient(case):
    wide, narrow = case.call(*leaves(case)), case.call(*leaves(case, np.float32))
    for a, b in zip(float_outputs(wide), float_outputs(narrow), strict=True):
        assert b.dtype == np.float32
        np.testing.assert_allclose(b.data, a.data, rtol=2e-5, atol=2e-5)
    if case.differentiable:
        for a, b in zip(gradients(case, leaves(case)), gradients(case, leaves(case, np.float32))):
            assert b.dtype == np.float32
            np.testing.assert_allclose(b.data, a.data, rtol=1e-3, atol=1e-3 * np.abs(a.data).max(initial=0))


@EACH_DERIVATIVE
def test_float32_stays_float32_in_the_recorded_gradient(case):
    assert {g.dtype for g in gradients(case, leaves(case, np.float32), create_graph=True)} == {np.dtype(np.float32)}


@EACH
def test_plain_arrays_give_the_same_as_tensors(case):
    for a, b in zip(results(case.call(*constants(case))), results(case.call(*leaves(case))), strict=True):
        assert np.array_equal(a, b)


@EACH
def test_inputs_are_not_changed_by_forward_or_backward(case):
    args = leaves(case)
    before = [a.data.copy() if isinstance(a, Tensor) else np.copy(a) for a in args]
    if case.differentiable:
        gradients(case, args)
    else:
        case.call(*args)
    for a, b in zip(args, before):
        assert np.array_equal(a.data if isinstance(a, Tensor) else a, b)


@EACH_DERIVATIVE
def test_any_memory_layout_gives_the_same(case):
    """Reversed strides, and the axes in another order in memory."""
    expected = gradients(case, leaves(case))
    for laid_out in (lambda a: np.flip(np.flip(a).copy()), lambda a: np.asfortranarray(a)):
        args = leaves(case)
        for a in args:
            if isinstance(a, Tensor):
                a.data = laid_out(a.data)
        for a, b in zip(gradients(case, args), expected):
            np.testing.assert_allclose(a.data, b.data, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", SINGLE_OPS, ids=lambda c: c.name)
def test_an_op_saves_only_what_its_row_names(case):
    assert case.saves is not None, "a row of a single op must say what it saves"
    assert set(case.call(*leaves(case)).node.saved) == case.saves


@EACH_DERIVATIVE
def test_the_gpu_gives_the_same_as_the_cpu(case):
    cupy = pytest.importorskip("cupy")
    moved = [cupy.asarray(x) if isinstance(x, np.ndarray) else x for x in constants(case, np.float32)]
    for a, x in zip(moved, case.inputs):
        assert isinstance(a, cupy.ndarray) or not is_float(x)
    args = [Tensor(a) if is_float(x) else a for a, x in zip(moved, case.inputs)]
    for a in args:
        if isinstance(a, Tensor):
            a.node = Leaf(a)
    for a, b in zip(gradients(case, args), gradients(case, leaves(case))):
        np.testing.assert_allclose(a.numpy(), b.data, rtol=1e-3, atol=1e-3 * np.abs(b.data).max(initial=0))


# ------------------------------------------------------------------------------------------------ completeness


def test_every_public_function_has_a_row():
    with_rows = {c.name.split("-")[0] for c in CASES}
    assert set(ops.__all__) - with_rows == set()


class Recorder:
    """Stands in for the checks of debug(), and notes which ops run and which VJPs."""

    def __init__(self):
        self.ran, self.pulled = set(), set()

    def forward(self, op, out, node):
        self.ran.add(op)

    def before_vjps(self, node):
        pass

    def after_vjp(self, node, i, contribution):
        self.pulled.add((node.op, 0 if node.op.variadic else i))


def test_every_op_and_every_vjp_runs_in_some_row(monkeypatch):
    modules = [m for name, m in sys.modules.items() if name.startswith("minigen.ops.")]
    every = {o for m in modules for _, o in inspect.getmembers(m, lambda o: isinstance(o, Op))}
    recorder = Recorder()
    monkeypatch.setattr(state, "watcher", recorder)
    for case in DIFFERENTIABLE:
        args = leaves(case)
        first = gradients(case, args, create_graph=True)
        total = sum((g * g).sum() for g in first if g is not None)
        grad(total, [a for a in args if isinstance(a, Tensor)], allow_unused=True)
    assert {str(o) for o in every - recorder.ran} == set()
    vjps = {(o, i) for o in every for i, v in enumerate(o.vjps) if v is not None}
    assert {f"{o}: {o.input_name(i)}" for o, i in vjps - recorder.pulled} == set()

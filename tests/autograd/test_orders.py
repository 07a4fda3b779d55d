"""Derivatives of derivatives; and backward(), which adds them up in .grad."""

import numpy as np
import pytest

from minigen import ops
from minigen.autograd import Tensor, grad, no_grad, op, tensor


def leaf(*values):
    return tensor(np.array(values, np.float32), requires_grad=True)


def test_derivatives_of_every_order():
    x = tensor(np.array([2.0]), requires_grad=True)
    y, expected = x**5, [80, 160, 240, 240, 120]
    for value in expected:
        y = grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(value)
    assert y.node is not None
    assert grad(y, x).item() == 0


def test_third_order_of_a_function_of_two_variables():
    x, y = (tensor(np.array([v]), requires_grad=True) for v in (0.7, -1.2))
    f = ops.sin(x * y)
    fx = grad(f, x, create_graph=True)
    fxy = grad(fx, y, create_graph=True)
    fxyy = grad(fxy, y)
    s, c = np.sin(0.7 * -1.2), np.cos(0.7 * -1.2)
    assert fxy.item() == pytest.approx(c - 0.7 * -1.2 * s)
    assert fxyy.item() == pytest.approx(-2 * 0.7 * s - 0.7**2 * -1.2 * c)


def test_create_graph_records_also_inside_no_grad():
    x = leaf(3.0)
    y = x**3
    with no_grad():
        g = grad(y, x, create_graph=True)
        assert g.node is not None
        assert (g * 2).node is None  # the block itself still records nothing
    assert grad(g, x).item() == 18


def test_without_create_graph_the_vjps_get_arrays_and_the_result_is_a_constant():
    kinds = []

    @op(x=lambda g, x, out: kinds.append({type(g), type(x), type(out)}) or g * x)
    def half_square(x):
        return x * x / 2

    x = leaf(3.0)
    assert grad(half_square(x), x).node is None
    assert grad(half_square(x), x, create_graph=True).node is not None
    assert kinds == [{np.ndarray}, {Tensor}]


def test_a_cotangent_that_depends_on_a_tensor_is_differentiated_through():
    x, v = leaf(2.0), leaf(1.0)
    g = grad(x**3, x, grad_outputs=v, create_graph=True)  # v·3x²
    assert grad(g, v).item() == 12


def test_a_gradient_penalty_reaches_the_weights():
    x, w = leaf(1.0, 2.0), leaf(0.5, -0.25)
    g = grad(((x * w) ** 2).sum(), x, create_graph=True)  # 2xw²
    penalty = (g * g).sum()
    np.testing.assert_allclose(grad(penalty, w).data, 16 * x.data**2 * w.data**3)


# ------------------------------------------------------------------------------------------------ backward()


def test_backward_fills_grad_of_the_leaves_and_adds_to_it():
    x, y = leaf(2.0), leaf(3.0)
    unused = leaf(1.0)
    (x * y).backward()
    assert (x.grad.item(), y.grad.item(), unused.grad) == (3, 2, None)
    (x * y).backward()
    assert (x.grad.item(), y.grad.item()) == (6, 4)


def test_backward_takes_a_cotangent_and_may_be_recorded():
    x = leaf(1.0, 2.0)
    (x * x).backward([1.0, 10.0])
    assert x.grad.tolist() == [2, 40]
    x.grad = None
    (x**3).sum().backward(create_graph=True)
    assert grad(x.grad.sum(), x).tolist() == [6, 12]


def test_backward_leaves_intermediate_tensors_without_grad():
    x = leaf(1.0)
    y = x * 2
    (y * y).backward()
    assert y.grad is None


def test_a_leaf_that_is_gone_is_no_fault():
    x = leaf(1.0)
    loss = x * leaf(2.0)
    loss.backward()
    assert x.grad.item() == 2

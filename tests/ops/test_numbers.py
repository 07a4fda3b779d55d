"""Python numbers and NumPy's float64 scalars among float32 tensors; arrays of shape (); empty arrays."""

import numpy as np
import pytest

from minigen import ops
from minigen.autograd import grad, tensor
from minigen.gradcheck import gradcheck

BINARY = ["add", "sub", "mul", "div", "pow", "maximum", "minimum"]
NUMBERS = [2, 2.0, np.float64(2), np.float32(2), np.int64(2)]
number = pytest.mark.parametrize("number", NUMBERS, ids=lambda n: type(n).__name__)
X = np.array([0.5, 1.5, 3.0], np.float32)

UNARY = [
    *("neg", "square", "reciprocal", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "erf", "abs"),
    *("sign", "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "elu", "silu", "gelu"),
    *("sum", "mean", "max", "min", "logsumexp"),
]
unary = pytest.mark.parametrize("name", UNARY)


@pytest.mark.parametrize("name", BINARY)
@number
def test_a_number_on_either_side_keeps_float32(name, number):
    f, x = getattr(ops, name), tensor(X, requires_grad=True)
    for out in (f(x, number), f(number, x)):
        assert out.dtype == np.float32
        g = grad(out.sum(), x, create_graph=True)
        assert g.dtype == np.float32
        assert g.shape == x.shape
        if g.node is not None:
            assert grad(g.sum(), x, allow_unused=True) is None or grad(g.sum(), x).dtype == np.float32


@number
def test_operators_with_a_number_keep_float32(number):
    x = tensor(X, requires_grad=True)
    for out in (x + number, number + x, x - number, number - x, x * number, number * x, x / number, number / x):
        assert out.dtype == np.float32
        assert grad(out.sum(), x).dtype == np.float32
    assert (x**number).dtype == (number**x).dtype == np.float32


@number
def test_where_takes_a_number_on_either_side(number):
    x = tensor(X, requires_grad=True)
    for out in (ops.where(X > 1, x, number), ops.where(X > 1, number, x)):
        assert out.dtype == np.float32
        assert grad(out.sum(), x).dtype == np.float32


@unary
def test_an_array_of_shape_empty_tuple_is_as_good_as_any(name):
    f = getattr(ops, name)
    for value in (np.array(0.7), np.array(1.3) * 1):  # the second is a NumPy scalar, as sums give
        assert gradcheck(f, value)
    x = tensor(np.array(0.7, np.float32), requires_grad=True)
    assert f(x).dtype == np.float32
    assert f(x).shape == grad(f(x), x).shape == ()
    assert float(f(x)) == pytest.approx(float(np.asarray(f(np.array([0.7])).data).ravel()[0]), rel=1e-5)


@unary
def test_a_reduced_loss_can_be_transformed_further(name):
    x = tensor(X, requires_grad=True)
    assert grad(getattr(ops, name)(x.mean()), x).dtype == np.float32


@pytest.mark.parametrize("name", [n for n in UNARY if n not in ("max", "min", "logsumexp", "mean")])
def test_an_empty_array_passes_through(name):
    x = tensor(np.zeros((0, 3), np.float32), requires_grad=True)
    assert grad(getattr(ops, name)(x).sum(), x).shape == (0, 3)


def test_losses_of_single_numbers():
    x, t = np.array(0.3), np.array(0.8)
    assert gradcheck(ops.mse_loss, x, t)
    assert gradcheck(ops.l1_loss, x, t)
    assert gradcheck(ops.binary_cross_entropy_with_logits, x, t)
    assert gradcheck(lambda x: ops.binary_cross_entropy_with_logits(x, 1.0), np.array([0.3, -2.0]))


@pytest.mark.parametrize("reduction", ["average", None])
def test_an_unknown_reduction_is_named(reduction):
    with pytest.raises(ValueError, match=f'reduction: expected "mean", "sum" or "none"; got {reduction!r}'):
        ops.mse_loss(X, X, reduction=reduction)


def test_a_float64_array_is_not_a_number_and_widens():
    assert (tensor(X) * np.ones(3)).dtype == np.float64

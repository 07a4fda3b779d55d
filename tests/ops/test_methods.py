"""The methods and operators of Tensor give what NumPy's give on the array, and are differentiable."""

import operator

import numpy as np
import pytest

from minigen.autograd import Tensor, grad, tensor
from minigen.gradcheck import gradcheck

X = 0.5 + np.random.default_rng(0).permutation(24).reshape(2, 3, 4) * 0.1
M = np.random.default_rng(1).standard_normal((4, 2))

METHODS = {
    "exp": (lambda x: x.exp(), np.exp),
    "log": (lambda x: x.log(), np.log),
    "sqrt": (lambda x: x.sqrt(), np.sqrt),
    "abs": (lambda x: x.abs(), np.abs),
    "clip": (lambda x: x.clip(1.05, 2.05), lambda x: x.clip(1.05, 2.05)),
    "sum": (lambda x: x.sum(1), lambda x: x.sum(1)),
    "sum of all": (lambda x: x.sum(), lambda x: x.sum()),
    "sum with keepdims": (lambda x: x.sum(axis=(0, 2), keepdims=True), lambda x: x.sum(axis=(0, 2), keepdims=True)),
    "sum spelled as in torch": (lambda x: x.sum(dim=1, keepdim=True), lambda x: x.sum(1, keepdims=True)),
    "mean": (lambda x: x.mean(-1), lambda x: x.mean(-1)),
    "var, unbiased as in torch": (lambda x: x.var(0), lambda x: x.var(0, ddof=1)),
    "std": (lambda x: x.std(axis=2), lambda x: x.std(2, ddof=1)),
    "max": (lambda x: x.max(1), lambda x: x.max(1)),
    "min": (lambda x: x.min(), lambda x: x.min()),
    "reshape": (lambda x: x.reshape(4, -1), lambda x: x.reshape(4, -1)),
    "reshape by a tuple": (lambda x: x.reshape((6, 4)), lambda x: x.reshape(6, 4)),
    "transpose": (lambda x: x.transpose(2, 0, 1), lambda x: x.transpose(2, 0, 1)),
    "transpose without axes": (lambda x: x.transpose(), lambda x: x.T),
    "permute": (lambda x: x.permute((1, 0, 2)), lambda x: x.transpose(1, 0, 2)),
    "T": (lambda x: x.T, lambda x: x.T),
    "swapaxes": (lambda x: x.swapaxes(0, -1), lambda x: x.swapaxes(0, -1)),
    "flatten": (lambda x: x.flatten(1), lambda x: x.reshape(2, 12)),
    "squeeze": (lambda x: x[:, :1].squeeze(1), lambda x: x[:, 0]),
    "indexing": (lambda x: x[1, ::2], lambda x: x[1, ::2]),
    "iteration": (lambda x: next(iter(x)), lambda x: x[0]),
    "-x": (operator.neg, operator.neg),
    "abs(x)": (abs, abs),
    "x @ m": (lambda x: x @ M, lambda x: x @ M),
    "m @ x": (lambda x: M @ x[:, :2], lambda x: M @ x[:, :2]),
    "array - x": (lambda x: X[0] - x, lambda x: X[0] - x),
    "x / array": (lambda x: x / X[:, :1], lambda x: x / X[:, :1]),
    "2 ** x": (lambda x: 2**x, lambda x: 2**x),
    "x ** x": (lambda x: x**x, lambda x: x**x),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_what_numpy_gives(name):
    method, oracle = METHODS[name]
    y = method(tensor(X))
    assert isinstance(y, Tensor)
    np.testing.assert_allclose(y.data, oracle(X), rtol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_differentiable(name):
    assert gradcheck(METHODS[name][0], X)


@pytest.mark.parametrize("name", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_comparisons_give_constants(name):
    compare = getattr(operator, name)
    x = tensor(X, requires_grad=True)
    for other in (1.5, X[:1], tensor(X[:1])):
        expected = compare(X, 1.5 if isinstance(other, float) else X[:1])
        assert np.array_equal(compare(x, other).data, expected)
        assert compare(x, other).node is None
        assert compare(x, other).dtype == bool


def test_argmax_and_argmin_are_constants():
    x = tensor(X, requires_grad=True)
    assert np.array_equal(x.argmax(1).data, X.argmax(1))
    assert np.array_equal(x.argmin().data, X.argmin())
    assert x.argmax().node is None


def test_a_dtype_goes_there_and_the_gradient_back():
    x = tensor(X, requires_grad=True)
    y = x.astype("float32") * 2
    assert y.dtype == np.float32
    g = grad(y.sum(), x)
    assert g.dtype == np.float64
    assert (g.data == 2).all()

"""⟨A·x, y⟩ = ⟨x, A*·y⟩ for every pair of linear ops, directly and through their VJPs."""

import numpy as np
import pytest
from hypothesis import given, settings

from minigen import ops
from minigen.autograd import grad, tensor
from minigen.gradcheck.drawing.strategies import convolutions
from minigen.ops import activations, conv, pooling, shape, stochastic

rng = np.random.default_rng(0)
INDEX = np.array([2, 0, 2, 2, 1])
GRID = np.array([[0, 2, 1, 1], [0, 0, 2, 1]])
PLACES = rng.integers(0, 5 * 6, (2, 3, 4, 4))
KEEP = rng.random((3, 4)) > 0.4
WEIGHT = rng.standard_normal((6, 2, 3, 2))
GEOMETRY = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
WINDOWS = {"kernel": (3, 2), "stride": (2, 2), "padding": (1, 1)}
X, IMAGE = (3, 4), (2, 3, 5, 6)
SIGN = rng.standard_normal(X)
ALONG = (np.array([[0, 2, 1, 1], [0, 0, 2, 1]]), np.arange(4))

PAIRS = {  # name: (A, A*, shape of x)
    "broadcast and sum": (lambda x: ops.broadcast_to(x, (5, 3, 4)), lambda y: ops.sum(y, axis=0), X),
    "sum and broadcast": (lambda x: ops.sum(x, axis=1), lambda y: ops.broadcast_to(y[:, None], X), X),
    "channel sum and bias": (ops.channel_sum, lambda y: ops.broadcast_to(y.reshape(1, 3, 1, 1), IMAGE), IMAGE),
    "pad and crop": (
        lambda x: shape._pad(x, widths=[(1, 2), (0, 3)]),
        lambda y: shape._crop(y, widths=[(1, 2), (0, 3)]),
        X,
    ),
    "take and take_add": (
        lambda x: shape._take(x, index=INDEX, axis=0),
        lambda y: shape._take_add(y, index=INDEX, axis=0, n=3),
        X,
    ),
    "getitem and index_add": (
        lambda x: shape._getitem(x, index=(INDEX, slice(None, None, -2))),
        lambda y: shape._index_add(y, index=(INDEX, slice(None, None, -2)), shape=X),
        X,
    ),
    "basic getitem and index_add": (
        lambda x: shape._getitem(x, index=(1, None)),
        lambda y: shape._index_add(y, index=(1, None), shape=X),
        X,
    ),
    "gather and scatter_add": (
        lambda x: ops.gather(x, 0, GRID),
        lambda y: ops.scatter_add(np.zeros(X), 0, GRID, y),
        X,
    ),
    "split and concatenate": (lambda x: ops.split(x, [1, 3], 1)[1], lambda y: ops.pad(y, (1, 0)), X),
    "concatenate and split": (
        lambda x: ops.concatenate([x[:, 2:], x], 1),
        lambda y: ops.pad(ops.split(y, [2, 4], 1)[0], (2, 0)) + ops.split(y, [2, 4], 1)[1],
        X,
    ),
    "permute and its inverse": (
        lambda x: ops.permute(x, (1, 3, 0, 2)),
        lambda y: ops.permute(y, (2, 0, 3, 1)),
        IMAGE,
    ),
    "reshape and back": (lambda x: ops.reshape(x, (6, 2)), lambda y: ops.reshape(y, X), X),
    "flip and flip": (lambda x: ops.flip(x, 1), lambda y: ops.flip(y, 1), X),
    "gather_plane and unpool": (
        lambda x: pooling._gather_plane(x, PLACES),
        lambda y: pooling._unpool(y, PLACES, size=(5, 6)),
        IMAGE,
    ),
    "sum_pool and its adjoint": (
        lambda x: pooling._sum_pool2d(x, **WINDOWS, out_size=(3, 4)),
        lambda y: pooling._sum_pool2d_x(y, **WINDOWS, size=(5, 6)),
        IMAGE,
    ),
    "mask and mask": (
        lambda x: stochastic._masked(x, KEEP, scale=2.0),
        lambda y: stochastic._masked(y, KEEP, scale=2.0),
        X,
    ),
    "leaky relu's derivative and itself": (
        lambda g: activations._leaky_relu_grad(g, SIGN, slope=0.2),
        lambda h: activations._leaky_relu_grad(h, SIGN, slope=0.2),
        X,
    ),
    "conv and transposed conv": (
        lambda x: conv._conv2d(x, WEIGHT, None, **GEOMETRY),
        lambda y: conv._conv2d_x(y, WEIGHT, None, size=(5, 6), **GEOMETRY),
        (2, 4, 5, 6),
    ),
    "matrix and its transpose": (lambda x: ops.matmul(SIGN.T, x), lambda y: ops.matmul(SIGN, y), X),
}


def inner(a, b):
    return float((np.asarray(a) * np.asarray(b)).sum())


@pytest.mark.parametrize("name", PAIRS)
def test_the_two_of_a_pair_are_adjoint(name):
    A, adjoint, size = PAIRS[name]
    x = rng.standard_normal(size)
    y = rng.standard_normal(A(x).shape)
    assert adjoint(y).shape == size
    assert inner(A(x), y) == pytest.approx(inner(x, adjoint(y)), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", PAIRS)
def test_each_is_the_vjp_of_the_other(name):
    A, adjoint, size = PAIRS[name]
    x = tensor(rng.standard_normal(size), requires_grad=True)
    y = tensor(rng.standard_normal(A(x).shape), requires_grad=True)
    np.testing.assert_allclose(grad(A(x), x, y).data, adjoint(y.data), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(grad(adjoint(y), y, x).data, A(x.data), rtol=1e-12, atol=1e-12)


@given(convolutions())
@settings(max_examples=120, deadline=None)
def test_the_three_convolutions_are_the_derivatives_of_one_trilinear_form(case):
    x, w, _, options = case
    y = conv._conv2d(x, w, None, **options)
    g = np.random.default_rng(1).standard_normal(y.shape)
    T = inner(y, g)
    assert inner(x, conv._conv2d_x(g, w, None, size=x.shape[2:], **options)) == pytest.approx(T, rel=1e-9, abs=1e-9)
    assert inner(w, conv._conv2d_w(x, g, size=w.shape[2:], **options)) == pytest.approx(T, rel=1e-9, abs=1e-9)

"""|x| = 10⁴ in float32: no infinity, no NaN, and the right value, in the result and in the gradient."""

import math

import numpy as np
import pytest

from minigen import ops
from minigen.autograd import grad, tensor

BIG = 1e4
SIGNS = np.array([-BIG, -1e2, -1.0, 0.0, 1.0, 1e2, BIG])
sigmoid = lambda a: 1 / (1 + math.exp(-a)) if a > 0 else math.exp(max(a, -700)) / (1 + math.exp(max(a, -700)))
phi = lambda a: math.exp(-0.5 * a * a) / math.sqrt(2 * math.pi) if abs(a) < 38 else 0.0
Phi = lambda a: 0.5 * math.erfc(-a / math.sqrt(2))

ELEMENTWISE = {  # name: (value, derivative), for Python floats
    "relu": (lambda a: max(a, 0), lambda a: float(a > 0)),
    "leaky_relu": (lambda a: max(a, 0.01 * a), lambda a: 1.0 if a > 0 else 0.01),
    "elu": (lambda a: a if a > 0 else math.expm1(a), lambda a: 1.0 if a > 0 else math.exp(a)),
    "tanh": (math.tanh, lambda a: 1 - math.tanh(a) ** 2),
    "sigmoid": (sigmoid, lambda a: sigmoid(a) * sigmoid(-a)),
    "softplus": (lambda a: max(a, 0) + math.log1p(math.exp(-abs(a))), sigmoid),
    "silu": (lambda a: a * sigmoid(a), lambda a: sigmoid(a) * (1 + a * sigmoid(-a))),
    "gelu": (lambda a: a * Phi(a), lambda a: Phi(a) + a * phi(a)),
    "erf": (math.erf, lambda a: 2 / math.sqrt(math.pi) * math.exp(-min(a * a, 700))),
    "abs": (abs, lambda a: float(np.sign(a))),
}


def value_and_gradient(f, x, create_graph=False):
    x = tensor(np.asarray(x, np.float32), requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = f(x)
        g = grad(y.sum(), x, create_graph=create_graph)
        if create_graph and g.node is not None:  # and once more
            second = grad(g.sum(), x, allow_unused=True)
            assert second is None or np.isfinite(second.data).all()
    assert y.dtype == g.dtype == np.float32
    return y.data, g.data


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations_are_right_at_ten_thousand(name, create_graph):
    value, derivative = ELEMENTWISE[name]
    y, g = value_and_gradient(getattr(ops, name), SIGNS, create_graph)
    np.testing.assert_allclose(y, [value(a) for a in SIGNS], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(g, [derivative(a) for a in SIGNS], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("create_graph", [False, True])
def test_gelu_by_tanh_is_right_at_ten_thousand(create_graph):
    y, g = value_and_gradient(lambda x: ops.gelu(x, approximate="tanh"), SIGNS, create_graph)
    np.testing.assert_allclose(y, np.where(np.abs(SIGNS) > 10, np.maximum(SIGNS, 0), y), atol=1e-6)
    np.testing.assert_allclose(g[[0, 1, 3, 5, 6]], [0, 0, 0.5, 1, 1], atol=1e-6)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_binary_cross_entropy_is_right_at_ten_thousand(target, create_graph):
    loss = lambda x: ops.binary_cross_entropy_with_logits(x, np.full(7, target, np.float32), reduction="none")
    y, g = value_and_gradient(loss, SIGNS, create_graph)
    expected = [max(a, 0) - a * target + math.log1p(math.exp(-abs(a))) for a in SIGNS]
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(g, [sigmoid(a) - target for a in SIGNS], rtol=1e-6, atol=1e-7)


def test_binary_cross_entropy_with_pos_weight_is_right_at_ten_thousand():
    loss = lambda x: ops.binary_cross_entropy_with_logits(
        x, np.array([1, 0] * 3 + [1], np.float32), reduction="none", pos_weight=np.full(7, 3, np.float32)
    )
    y, g = value_and_gradient(loss, SIGNS)
    np.testing.assert_allclose(y[[0, 1, 5, 6]], [3e4, 0, 100, 0], atol=1e-5)
    np.testing.assert_allclose(g[[0, 1, 5, 6]], [-3, 0, 1, 0], atol=1e-6)


ROW = np.array([[BIG, -BIG, 0.0], [BIG, BIG, BIG - 1], [-BIG, -BIG, -BIG]])
TOP = [[1, 0, 0], [1 / (2 + math.exp(-1))] * 2 + [math.exp(-1) / (2 + math.exp(-1))], [1 / 3] * 3]


@pytest.mark.parametrize("create_graph", [False, True])
def test_softmax_and_its_relatives_are_right_at_ten_thousand(create_graph):
    pick = np.array([[1, 2, 3]], np.float32)
    p, g = value_and_gradient(lambda x: ops.softmax(x) * pick, ROW, create_graph)
    np.testing.assert_allclose(p, TOP * pick, atol=1e-6)
    np.testing.assert_allclose(g, TOP * (pick - (TOP * pick).sum(1, keepdims=True)), atol=1e-6)
    y, g = value_and_gradient(lambda x: ops.logsumexp(x, axis=1), ROW, create_graph)
    np.testing.assert_allclose(y, [BIG, BIG + math.log(2 + math.exp(-1)), -BIG + math.log(3)], rtol=1e-6)
    np.testing.assert_allclose(g, TOP, atol=1e-6)
    y, g = value_and_gradient(lambda x: ops.log_softmax(x)[:, 1], ROW, create_graph)
    np.testing.assert_allclose(y, [-2 * BIG, math.log(TOP[1][1]), -math.log(3)], rtol=1e-6)
    np.testing.assert_allclose(g, np.array([[0, 1, 0]]) - TOP, atol=1e-6)


@pytest.mark.parametrize("create_graph", [False, True])
def test_cross_entropy_is_right_at_ten_thousand(create_graph):
    loss = lambda x: ops.cross_entropy(x, np.array([1, 0, 2]), reduction="none")
    y, g = value_and_gradient(loss, ROW, create_graph)
    np.testing.assert_allclose(y, [2 * BIG, -math.log(TOP[1][0]), math.log(3)], rtol=1e-6)
    np.testing.assert_allclose(g, np.array(TOP) - [[0, 1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-6)


def test_a_mean_subtracted_twice_keeps_variances_right_far_from_zero():
    """E[x²] − μ² would lose everything: 10⁴² = 10⁸ has no digits left in float32 for a variance of 1."""
    x = np.random.default_rng(0).standard_normal((64, 3, 2, 2)) + BIG
    x32 = x.astype(np.float32)
    exact = x32.astype(np.float64)
    centred = exact - exact.mean((0, 2, 3), keepdims=True)
    expected = centred / np.sqrt((centred**2).mean((0, 2, 3), keepdims=True) + 1e-5)
    y = ops.batch_norm(x32, None, None, training=True)
    np.testing.assert_allclose(y, expected, atol=5e-3)  # x itself is rounded to 10⁻³, and so is its mean
    np.testing.assert_allclose(ops.var(tensor(x32)).data, exact.var(ddof=1), rtol=1e-3)
    for f in (
        lambda x: ops.layer_norm(x, (3, 2, 2)),
        lambda x: ops.instance_norm(x),
        lambda x: ops.group_norm(x, 1),
        lambda x: ops.batch_norm(x, None, None, training=True),
    ):
        y, g = value_and_gradient(f, x32)
        assert np.isfinite(y).all()
        assert np.isfinite(g).all()
        assert np.abs(y).max() < 8


@pytest.mark.parametrize("f", [lambda x: ops.layer_norm(x, 3), lambda x: ops.batch_norm(x, None, None, training=True)])
def test_constant_channels_are_normalised_to_zero_not_to_nan(f):
    y, g = value_and_gradient(f, np.full((4, 3), BIG), create_graph=True)
    assert not y.any()
    assert np.isfinite(g).all()


def test_the_kl_divergence_is_right_for_narrow_and_far_gaussians():
    mu, logvar = np.array([[100.0], [0.0], [0.0]]), np.array([[0.0], [-BIG], [80.0]])
    x = np.concatenate([mu, logvar], axis=1)
    y, g = value_and_gradient(lambda x: ops.gaussian_kl(x[:, :1], x[:, 1:]), x)
    np.testing.assert_allclose(y, [5e3, 0.5 * (BIG - 1), 0.5 * (math.exp(80) - 81)], rtol=1e-6)
    np.testing.assert_allclose(g[:, 0], mu[:, 0], rtol=1e-6)
    np.testing.assert_allclose(g[:, 1], 0.5 * (np.exp(logvar[:, 0]) - 1), rtol=1e-5)


def test_masked_logits_of_minus_infinity_get_no_probability_and_no_gradient():
    x = tensor(np.array([[-np.inf, 1.0, 2.0]], np.float32), requires_grad=True)
    p = ops.softmax(x)
    assert p.data[0, 0] == 0
    assert np.isfinite(grad((p * p).sum(), x).data).all()
    assert np.isfinite(ops.logsumexp(x, axis=1).data).all()
    assert grad(ops.logsumexp(x, axis=1).sum(), x).data[0, 0] == 0


def test_logsumexp_of_nothing_but_minus_infinity_is_minus_infinity():
    with np.errstate(divide="ignore"):
        assert ops.logsumexp(np.full((2, 3), -np.inf), axis=1).tolist() == [-np.inf, -np.inf]

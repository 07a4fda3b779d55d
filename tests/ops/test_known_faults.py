"""Faults that were found in engines like this one, each by a test that would find it here."""

import math

import numpy as np
import pytest

from minigen import ops
from minigen.autograd import Leaf, Tensor, grad, op, tensor
from minigen.backend import Generator
from minigen.gradcheck import GradientError, gradcheck

rng = np.random.default_rng(0)


def leaf(x):
    return tensor(np.asarray(x, float), requires_grad=True)


def test_overlapping_windows_add_their_gradients_to_a_pixel():
    """Where col2im assigns instead of adding, every pixel gets 1."""
    x = leaf(np.zeros((1, 1, 5, 5)))
    w = np.ones((1, 1, 3, 3))
    g = grad(ops.conv2d(x, w).sum(), x).data[0, 0]
    assert g.tolist() == np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]).tolist()
    many = grad(ops.conv2d(leaf(np.zeros((1, 6, 5, 5))), np.ones((2, 6, 3, 3))).sum(), leaf([0.0]), allow_unused=True)
    assert many is None
    x = leaf(np.zeros((1, 6, 5, 5)))  # more channels take another kernel
    g = grad(ops.conv2d(x, np.ones((2, 6, 3, 3))).sum(), x).data
    assert (g == 2 * np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1])).all()


def test_overlapping_outputs_of_a_transposed_convolution_add_up():
    y = ops.conv_transpose2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)))
    assert y[0, 0].tolist() == np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]).tolist()


def test_overlapping_pooling_windows_add_up():
    x = leaf(np.pad(np.ones((1, 1, 1, 1)), ((0, 0), (0, 0), (2, 2), (2, 2))))  # one peak, seen by nine windows
    assert grad(ops.max_pool2d(x, 3, 1).sum(), x).data[0, 0, 2, 2] == 9
    assert grad(ops.avg_pool2d(x, 3, 1).sum(), x).data[0, 0, 2, 2] == pytest.approx(1)


def test_the_second_derivative_of_batch_norm_goes_through_its_statistics():
    """With 1/σ taken as a constant it is wrong, and the first derivative is right all the same."""

    def with_constant_scale(g, x, out):
        mean = lambda t: t.mean(axis=0, keepdims=True)
        values = x.data if isinstance(x, Tensor) else x
        return (g - mean(g) - out * mean(g * out)) * (1 / np.sqrt(values.var(axis=0, keepdims=True) + 1e-5))

    @op(x=with_constant_scale)
    def peers_batch_norm(x):
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)

    x = rng.standard_normal((6, 3))
    assert gradcheck(peers_batch_norm, x, order=1)
    with pytest.raises(GradientError, match="the second derivative is wrong"):
        gradcheck(peers_batch_norm, x)
    for shape in ((6, 3), (4, 3, 2, 2)):
        x, w, b = rng.standard_normal(shape), rng.standard_normal(3), rng.standard_normal(3)
        assert gradcheck(lambda x, w, b: ops.batch_norm(x, None, None, w, b, training=True), x, w, b)


def test_a_gradient_penalty_through_batch_norm_has_the_right_gradient():
    """min (‖∂D/∂x‖ − 1)²: what WGAN-GP differentiates."""

    def penalty(x, w, v):
        h = ops.tanh(ops.batch_norm(x @ w, None, None, training=True))
        g = grad((h @ v).sum(), x, create_graph=True)
        return ((g * g).sum(axis=1).sqrt() - 1.0) ** 2

    assert gradcheck(penalty, *(rng.standard_normal(s) for s in ((5, 4), (4, 3), (3, 1))), order=1)


def test_upsampling_returns_all_four_gradients_of_a_pixel():
    x = leaf(rng.standard_normal((1, 2, 3, 3)))
    assert (grad(ops.interpolate(x, scale_factor=2).sum(), x).data == 4).all()


def test_elu_has_a_derivative_below_zero():
    x = leaf([-1.0, -3.0, 2.0])
    np.testing.assert_allclose(grad(ops.elu(x).sum(), x).data, [math.exp(-1), math.exp(-3), 1])


def test_a_dilated_convolution_leaves_its_weights_alone_and_runs_twice():
    x, w = rng.standard_normal((2, 3, 9, 9)), rng.standard_normal((4, 3, 3, 3))
    before = w.copy()
    first, second = (ops.conv2d(x, w, dilation=2) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(w, before)


def test_the_weight_gradient_of_a_convolution_can_be_differentiated_again():
    x, w = leaf(rng.standard_normal((2, 3, 5, 5))), leaf(rng.standard_normal((4, 3, 3, 3)))
    dw = grad((ops.conv2d(x, w) ** 2).sum(), w, create_graph=True)
    dx, dw2 = grad((dw * dw).sum(), [x, w])
    assert dx.shape == x.shape
    assert dw2.shape == w.shape
    assert gradcheck(lambda x, w: ops.conv2d(x, w) ** 2, x, w)


def test_float32_times_a_python_number_is_float32():
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x * 2.0 / np.sqrt(2) + np.float64(1) - np.prod((2, 3))
    assert y.dtype == grad(y.sum(), x).dtype == np.float32


def test_only_what_backward_needs_is_kept():
    """Every input of every op kept always: the memory of a peer."""
    x, y = leaf(np.ones(3)), leaf(np.ones(3))
    assert (x + y).node.saved == {}
    assert set((x * 2.0).node.saved) == {"y"}
    assert set((x * np.ones(3)).node.saved) == {"y"}
    assert set(ops.relu(x).node.saved) == {"out"}
    w, image = np.ones((1, 1, 1, 1)), leaf(np.ones((1, 1, 2, 2)))
    assert "x" not in ops.conv2d(image, w).node.saved
    w.setflags(write=False)
    assert "weight" not in ops.conv2d(image.data, leaf(w)).node.saved


def test_the_kl_divergence_sums_over_the_latent_and_keeps_the_batch():
    """KL and reconstruction averaged over different axes: the balance of the two is wrong then."""
    mu, logvar = np.full((5, 7), 2.0), np.zeros((5, 7))
    assert ops.gaussian_kl(mu, logvar).tolist() == [14.0] * 5


def test_the_kl_divergence_takes_the_logarithm_of_the_variance_not_of_the_deviation():
    sigma = 3.0
    kl = ops.gaussian_kl(np.zeros((1, 1)), np.full((1, 1), math.log(sigma**2)))
    assert kl[0] == pytest.approx(0.5 * (sigma**2 - 1) - math.log(sigma))


def test_running_statistics_take_the_momentum_of_the_new_batch():
    mean, var = np.zeros(1), np.ones(1)
    ops.batch_norm(np.array([[1.0], [3.0]]), mean, var, training=True, momentum=0.25)
    assert mean[0] == 0.25 * 2
    assert var[0] == 0.75 * 1 + 0.25 * 2  # the unbiased variance of 1 and 3 is 2


def test_dropout_keeps_the_mean_and_draws_from_its_own_generator():
    x = np.ones((200, 200), np.float32)
    a, b = (ops.dropout(x, 0.3, rng=Generator(1)) for _ in range(2))
    assert np.array_equal(a, b)
    assert abs(a.mean() - 1) < 5 * math.sqrt(0.3 / 0.7) / 200  # five standard errors
    with pytest.raises(ValueError, match="training needs random numbers"):
        ops.dropout(x)


def test_an_embedding_row_used_twice_receives_both_gradients():
    table = Tensor(np.zeros((3, 2)))
    table.node = Leaf(table)
    assert grad(ops.embedding(np.array([1, 1, 0]), table).sum(), table).data.tolist() == [[1, 1], [2, 2], [0, 0]]


def test_a_broadcast_input_receives_the_sum_of_its_gradients():
    x, b = leaf(np.ones((4, 3))), leaf(np.ones(3))
    assert grad((x + b).sum(), b).data.tolist() == [4, 4, 4]
    assert grad((x * b).sum(), b).data.tolist() == [4, 4, 4]
    assert grad(ops.linear(x, np.ones((3, 3)), b).sum(), b).data.tolist() == [4, 4, 4]

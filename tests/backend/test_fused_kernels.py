"""Leaky ReLU within the kernels of layers: as after them; and its gradient with a bias's, or within batch norm's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import LAYOUTS, convolutions, is_channels_last, laid_out, random, relative_error

from minigen.backend import cpu_conv, threads
from minigen.backend.kernels import CPU, PORTABLE

KERNELS = pytest.mark.parametrize("kernels", [CPU, PORTABLE], ids=["fast", "portable"])
SLOPES = st.sampled_from((0, 0.0, 0.2, 1.0))
EPS = 1e-5


def leaky(z, slope):
    return np.where(z > 0, z, slope * z)


@pytest.fixture
def small_pieces(monkeypatch):
    """Two threads, and pieces so small that small arrays are cut into many."""
    monkeypatch.setattr(threads, "CHUNK", 256)
    monkeypatch.setattr(threads, "WORTH", 0)
    monkeypatch.setattr(cpu_conv, "COLUMNS", 1 << 12)
    before = threads.get_threads()
    threads.set_threads(2)
    yield
    threads.set_threads(before)


# ------------------------------------------------------------------------------------------------ forward


@KERNELS
@given(case=convolutions(), slope=SLOPES, with_bias=st.booleans(), more=st.tuples(*[st.integers(0, 3)] * 2))
@settings(max_examples=100, deadline=None)
def test_a_convolution_and_its_transpose_with_a_slope_are_those_without_and_then_leaky(
    kernels, case, slope, with_bias, more
):
    """Also where groups, bands and pixels that no window sees leave parts of the result to be filled otherwise."""
    x, w, g, options = case
    bias, bias_x = (random(9, (n,)) if with_bias else None for n in (len(w), x.shape[1]))
    size = tuple(n + m for n, m in zip(x.shape[2:], more))
    plain = kernels.conv2d(x, w, bias, **options), kernels.conv2d_x(g, w, size, **options, bias=bias_x)
    fused = (
        kernels.conv2d(x, w, bias, **options, slope=slope),
        kernels.conv2d_x(g, w, size, **options, bias=bias_x, slope=slope),
    )
    for z, y in zip(plain, fused):
        assert np.array_equal(y, leaky(z, slope))
        assert is_channels_last(y)


@KERNELS
@pytest.mark.parametrize(
    "shapes", [((5, 7), (7, 40)), ((40, 7), (7, 5)), ((3, 4, 6), (6, 5)), ((0, 4), (4, 3))], ids=str
)
@pytest.mark.parametrize("slope", [0, 0.2, 1.0])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.usefixtures("small_pieces")
def test_a_product_with_a_slope_is_the_one_without_and_then_leaky(kernels, shapes, slope, with_bias):
    a, b = random(0, shapes[0]), random(1, shapes[1])
    bias = random(2, shapes[1][-1:]) if with_bias else None
    z = np.matmul(a, b) if bias is None else np.matmul(a, b) + bias
    assert relative_error(kernels.matmul(a, b, bias, slope), leaky(z, slope)) < 1e-14
    assert relative_error(kernels.matmul(a, np.asfortranarray(b), bias, slope), leaky(z, slope)) < 1e-14


@KERNELS
@pytest.mark.parametrize("rows", [1008, 1009, 4096])
@pytest.mark.parametrize("slope", [0, 0.2, 1.0])
def test_each_of_many_rows_gets_its_bias_and_slope(kernels, rows, slope):
    """Some of them are taken as one long row then, with the bias repeated."""
    x, w, bias = random(0, (rows, 3)), random(1, (6, 3)), random(2, (6,))
    z = np.einsum("ni,oi->no", x, w) + bias
    image, kernel = x.reshape(1, rows, 1, 3).transpose(0, 3, 1, 2), w.reshape(6, 3, 1, 1)
    convolved = kernels.conv2d(image, kernel, bias, (1, 1), (0, 0), (1, 1), 1, None, slope)
    back = kernels.conv2d_x(image, kernel.swapaxes(0, 1), (rows, 1), (1, 1), (0, 0), (1, 1), 1, bias=bias, slope=slope)
    for y in (kernels.matmul(x, w.T, bias, slope), *(y[0, :, :, 0].T for y in (convolved, back))):
        assert relative_error(y, leaky(z, slope)) < 1e-14


@KERNELS
@pytest.mark.parametrize("slope", [0.2, 1.0])
def test_a_product_of_matrices_whose_leading_axes_are_exchanged_in_memory_gets_its_bias_and_slope(kernels, slope):
    a, b, bias = random(0, (4, 3, 5, 6)).swapaxes(0, 1), random(1, (6, 7)), random(2, (7,))
    z = np.einsum("ijmk,kn->ijmn", a, b) + bias
    assert relative_error(kernels.matmul(a, b, bias, slope), leaky(z, slope)) < 1e-14


@KERNELS
@pytest.mark.parametrize("shape", [(6, 5), (3, 5, 4, 2)], ids=str)
@pytest.mark.parametrize("slope", [0, 0.2])
def test_batch_norm_with_a_slope_is_batch_norm_and_then_leaky(kernels, shape, slope):
    x, weight, bias = random(0, shape), random(1, shape[1:2]), random(2, shape[1:2])
    z, *statistics = kernels.batch_norm(x, weight, bias, EPS)
    y, *same = kernels.batch_norm(x, weight, bias, EPS, slope)
    assert np.array_equal(y, leaky(z, slope))
    assert all(np.array_equal(a, b) for a, b in zip(same, statistics))


@KERNELS
def test_what_is_nan_stays_so_and_relu_of_minus_infinity_is_0(kernels):
    x = np.array([np.inf, -np.inf, np.nan, 1.0], np.float32).reshape(4, 1)
    one, zero = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    for slope, expected in ((0, [np.inf, 0, np.nan, 1]), (0.5, [np.inf, -np.inf, np.nan, 1])):
        for y in (
            kernels.matmul(x, one, zero, slope),
            kernels.conv2d(x[:, :, None, None], one[:, :, None, None], zero, (1, 1), (0, 0), (1, 1), 1, None, slope),
            kernels.conv2d_x(
                x[:, :, None, None], one[:, :, None, None], (1, 1), (1, 1), (0, 0), (1, 1), 1, zero, slope
            ),
        ):
            assert np.array_equal(y.ravel(), np.array(expected, np.float32), equal_nan=True)


@KERNELS
@pytest.mark.parametrize("counted", [True, False])
def test_batch_norm_moves_the_running_statistics_and_counts(kernels, counted):
    """Towards the mean and the unbiased variance, by a tenth of the way, in place."""
    x = random(0, (7, 3, 2, 5))
    mean, var, count = np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 4.0]), np.array(41) if counted else None
    rows = np.moveaxis(x, 1, 0).reshape(3, -1)
    expected = mean + 0.1 * (rows.mean(1) - mean), var + 0.1 * (rows.var(1, ddof=1) - var)
    plain = kernels.batch_norm(x, None, None, EPS)
    for a, b in zip(kernels.batch_norm(x, None, None, EPS, 1.0, (mean, var, count, 0.1)), plain):
        assert np.array_equal(a, b)
    assert relative_error(mean, expected[0]) < 1e-14
    assert relative_error(var, expected[1]) < 1e-14
    assert count is None or count.tolist() == 42


# ------------------------------------------------------------------------------------------------ backward


@KERNELS
@given(
    shape=st.one_of(st.tuples(*[st.integers(1, 6)] * 2), st.tuples(*[st.integers(1, 6)] * 4)),
    slope=SLOPES,
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 2),
)
@settings(max_examples=60, deadline=None)
def test_the_gradient_before_leaky_relu_and_that_of_the_bias_are_the_formulas(kernels, shape, slope, layouts):
    check_bias_gradient(kernels, shape, slope, layouts)


@KERNELS
@pytest.mark.parametrize("shape", [(64, 30), (3, 5, 40, 30)], ids=str)
@pytest.mark.usefixtures("small_pieces")
def test_the_same_in_pieces_and_on_two_threads(kernels, shape):
    check_bias_gradient(kernels, shape, 0.2, ("channels-first", "channels-last"))


def check_bias_gradient(kernels, shape, slope, layouts):
    g, out = random(0, shape), random(1, shape)
    out.flat[::3] = 0
    expected = np.where(out > 0, g, slope * g)
    if len(shape) == 4:
        g, out = laid_out(g, layouts[0]), laid_out(out, layouts[1])
    kept = g.copy(), out.copy()
    z, b = kernels.leaky_relu_bias_grad(g, out, slope)
    assert relative_error(z, expected) < 1e-15
    assert np.abs(b - expected.sum(axis=(0, *range(2, len(shape))))).max() < 1e-12
    assert all(np.array_equal(a, b) for a, b in zip((g, out), kept))


@KERNELS
def test_an_empty_batch_has_no_gradient_before_leaky_relu_and_a_bias_gradient_of_0(kernels):
    z, b = kernels.leaky_relu_bias_grad(np.zeros((0, 3, 4, 4)), np.zeros((0, 3, 4, 4)), 0.2)
    assert z.shape == (0, 3, 4, 4)
    assert b.tolist() == [0, 0, 0]


@pytest.mark.parametrize("shape", [(40, 30), (4, 5, 20, 11)], ids=str)
@pytest.mark.parametrize("slope", [0, 0.2, 1.0])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.usefixtures("small_pieces")
def test_the_gradient_of_batch_norm_with_a_slope_is_that_of_both(shape, slope, affine):
    x, g = 3 + random(0, shape), random(1, shape)
    weight, bias = (random(i, shape[1:2]) if affine else None for i in (2, 3))
    y, mean, var = CPU.batch_norm(x, weight, bias, EPS, slope)
    expected = PORTABLE.batch_norm_grad(np.where(y > 0, g, slope * g), x, weight, bias, mean, var, EPS)
    for kernels in (CPU, PORTABLE):
        for a, b in zip(kernels.batch_norm_grad(g, x, weight, bias, mean, var, EPS, slope), expected):
            assert relative_error(a, b) < 1e-12


def test_the_sign_that_batch_norm_finds_again_is_that_of_its_result_to_the_last_bit():
    """Many values at 0 or a rounding beside it: the gradients of the bias then differ by whole numbers if one does."""
    x = np.round(random(0, (50_000, 3), np.float32), 1)
    weight, bias = np.float32([1.3, -0.7, 1e-3]), np.zeros(3, np.float32)
    _, mean, var = CPU.batch_norm(x, weight, bias, EPS)
    for at in np.float32([0, 0.3, 1]):
        bias = -weight * (at - mean) / np.sqrt(var + np.float32(EPS))  # y ≈ 0 where x = at
        y, mean, var = CPU.batch_norm(x, weight, bias, EPS, 0.0)
        found = CPU.batch_norm_grad(np.ones_like(x), x, weight, bias, mean, var, EPS, 0.0)[2]
        assert found.tolist() == (y > 0).sum(axis=0).tolist()

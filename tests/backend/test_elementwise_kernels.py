"""Elementwise kernels, dropout masks and matrix products."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import LAYOUTS, is_channels_last, laid_out, random, relative_error

from minigen.backend import cpu_elementwise, cpu_matmul, portable, threads

UNARY = {
    "relu": lambda k, x: k.leaky_relu(x, 0),
    "leaky_relu": lambda k, x: k.leaky_relu(x, 0.2),
    "tanh": lambda k, x: k.tanh(x),
    "sigmoid": lambda k, x: k.sigmoid(x),
}
GRADIENTS = {
    "relu": (lambda k, g, y: k.leaky_relu_grad(g, y, 0), lambda x: (x > 0) * 1.0),
    "leaky_relu": (lambda k, g, y: k.leaky_relu_grad(g, y, 0.2), lambda x: np.where(x > 0, 1, 0.2)),
    "tanh": (lambda k, g, y: k.tanh_grad(g, y), lambda x: 1 / np.cosh(x) ** 2),
    "sigmoid": (lambda k, g, y: k.sigmoid_grad(g, y), lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
}
VALUES = {
    "relu": lambda x: np.where(x > 0, x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
KERNELS = pytest.mark.parametrize("kernels", [cpu_elementwise, portable], ids=["fast", "portable"])
layouts = st.sampled_from(LAYOUTS)


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of 64 numbers on two threads, so that small arrays take the path of large ones."""
    monkeypatch.setattr(threads, "CHUNK", 64)
    before = threads.get_threads()
    threads.set_threads(2)
    yield
    threads.set_threads(before)


@KERNELS
@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_and_gradient_are_the_formula(kernels, name, dtype):
    x, g = 2 * random(0, (7, 11), dtype), random(1, (7, 11), dtype)
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    y = UNARY[name](kernels, x)
    gradient, slope = GRADIENTS[name]
    assert relative_error(y, VALUES[name](x).astype(dtype)) < tolerance
    assert relative_error(gradient(kernels, g, y), (g * slope(x)).astype(dtype)) < tolerance


@pytest.mark.parametrize("name", UNARY)
@given(layout=st.tuples(layouts, layouts), shape=st.tuples(*[st.integers(1, 6)] * 4))
@settings(max_examples=40, deadline=None)
def test_layouts_may_be_mixed(name, layout, shape):
    check_layouts(name, layout, shape)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("first", LAYOUTS)
@pytest.mark.parametrize("second", LAYOUTS)
def test_layouts_may_be_mixed_where_arrays_are_cut_into_pieces(name, first, second):
    check_layouts(name, (first, second), (3, 5, 6, 7))


def check_layouts(name, layout, shape):
    x, g = random(0, shape), random(1, shape)
    X, G = laid_out(x, layout[0]), laid_out(g, layout[1])
    y = UNARY[name](cpu_elementwise, X)
    assert relative_error(y, VALUES[name](x)) < 1e-14
    gradient, slope = GRADIENTS[name]
    assert relative_error(gradient(cpu_elementwise, G, y), g * slope(x)) < 1e-14
    assert np.array_equal(X, x)
    assert np.array_equal(G, g)
    if layout[0] == "channels-last":
        assert is_channels_last(y)


@KERNELS
def test_infinities_and_nan_pass_through(kernels):
    x = np.array([np.inf, -np.inf, np.nan, -0.0], np.float32)
    assert np.array_equal(kernels.leaky_relu(x, 0), np.array([np.inf, 0, np.nan, 0], np.float32), equal_nan=True)
    assert np.array_equal(
        kernels.leaky_relu(x, 0.5), np.array([np.inf, -np.inf, np.nan, 0], np.float32), equal_nan=True
    )
    assert np.array_equal(kernels.sigmoid(x), np.array([1, 0, np.nan, 0.5], np.float32), equal_nan=True)


@KERNELS
@pytest.mark.parametrize("slope", [-0.1, 1.5])
def test_a_slope_outside_0_1_is_refused(kernels, slope):
    with pytest.raises(ValueError, match=rf"leaky_relu: expected a slope in \[0, 1\]; got {slope}"):
        kernels.leaky_relu(np.ones(3), slope)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mask_of_another_layout_meets_the_right_numbers(layout):
    x = random(0, (3, 5, 6, 7), np.float32)
    mask = cpu_elementwise.dropout_mask(np.random.SFC64(0), x.shape, 0.3)
    y = cpu_elementwise.masked(laid_out(x, layout), mask, 1 / 0.7)
    assert y.dtype == np.float32
    assert np.array_equal(y, x * mask * np.float32(1 / 0.7))


@pytest.mark.parametrize("p", [0, 0.3, 0.5, 1])
def test_a_dropout_mask_is_false_with_probability_p(p):
    mask = cpu_elementwise.dropout_mask(np.random.SFC64(1), (50, 4, 25, 41), p)
    deviation = np.sqrt(p * (1 - p) / mask.size)
    assert mask.shape == (50, 4, 25, 41)
    assert mask.dtype == bool
    assert is_channels_last(mask)
    assert abs(1 - mask.mean() - p) <= 4 * deviation + 1 / 65536  # 16 random bits


@pytest.mark.parametrize("shape", [(), 5, (7,), (3, 5), (2, 3, 5), (0, 3, 2, 2)], ids=str)
def test_a_dropout_mask_has_the_shape_asked_for_and_repeats_by_seed(shape):
    first, second = (cpu_elementwise.dropout_mask(np.random.SFC64(3), shape, 0.5) for _ in range(2))
    assert first.shape == np.empty(shape).shape
    assert np.array_equal(first, second)


@given(
    st.tuples(*[st.integers(1, 40)] * 3),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from((np.float32, np.float64)),
)
@settings(max_examples=60, deadline=None)
def test_matmul_reads_transposed_views(sizes, transposed, dtype):
    check_matmul(sizes, transposed, dtype)


@pytest.mark.parametrize("sizes", [(700, 130, 90), (90, 130, 700), (3, 100_000, 30)], ids=str)
@pytest.mark.parametrize("transposed", [(True, False), (False, True)], ids=str)
def test_matmul_on_two_threads(sizes, transposed, small_pieces):
    assert 2 * np.prod(sizes) > threads.WORTH, "too small to be split"
    check_matmul(sizes, transposed, np.float64)


def check_matmul(sizes, transposed, dtype):
    m, k, n = sizes
    a = random(0, (k, m), dtype).T if transposed[0] else random(0, (m, k), dtype)
    b = random(1, (n, k), dtype).T if transposed[1] else random(1, (k, n), dtype)
    expected = (a.astype(np.float64) @ b.astype(np.float64)).astype(dtype)
    assert relative_error(cpu_matmul.matmul(a, b), expected) < (1e-5 if dtype == np.float32 else 1e-12)


def test_matmul_of_misfits_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match="mismatch"):
        cpu_matmul.matmul(np.ones((3, 4)), np.ones((5, 6)))

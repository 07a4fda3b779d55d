"""norm.cu and rows.cu on the CPU, against the portable kernels in at least float64."""

import numpy as np
import pytest
from backend import emulator
from backend.fake_cupy import installed
from backend.fake_kernels import LAUNCHES
from backend.kernel_cases import LAYOUTS, is_channels_last, laid_out, random, there
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen.backend import portable, portable_chains, use
from minigen.backend.gpu import norm, rows

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
EPS = 1e-5


@pytest.fixture(scope="module")
def device():
    with installed() as cupy:
        use("cupy")
        yield cupy


def moved(cupy, dtype, *arrays):
    return [there(cupy, a, dtype) for a in arrays]


def launched(f, *args):
    """(result, {kernel: launches}) of a call."""
    before = LAUNCHES.copy()
    out = f(*args)
    return out, dict(LAUNCHES - before)


def near(found, expected, tolerance, scale=None):
    scale = np.abs(expected).max(initial=0) if scale is None else scale
    assert found.shape == expected.shape
    assert np.abs(found.get() - expected).max(initial=0) <= tolerance * scale + 1e-30


@st.composite
def batches(draw):
    """(x, g, weight, bias, rows of a thread): one row to several chunks, far from 0 or near, in any layout."""
    C = draw(st.sampled_from((1, 3, 4, 7, 32, 40, 130)))
    shape = draw(st.sampled_from(((1, C, 4, 5), (2, C), (3, C, 1, 2), (2, C, 7, 6), (70, C), (9, C, 8, 8))))
    seed, mean = draw(st.integers(0, 2**20)), draw(st.sampled_from((0.0, 3.0, 1e4)))
    x, g = random(seed, shape) + mean, random(seed + 1, shape)
    if len(shape) == 4:
        x, g = (laid_out(a, draw(st.sampled_from(LAYOUTS[:2]))) for a in (x, g))
    vector = lambda n: draw(st.sampled_from((None, random(seed + n, (C,)))))
    return x, g, vector(2), vector(3), draw(st.sampled_from((1, 2, 32)))


def batch_norm_agrees(device, case, dtype):
    """Forward and gradients, each from the same inputs as the oracle: x as rounded, and the statistics returned."""
    x, g, weight, bias, each = case
    X, G, W, B = moved(device, dtype, x, g, weight, bias)
    exact = [None if a is None else a.get().astype(np.longdouble) for a in (X, G, W, B)]
    u = np.finfo(dtype).eps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm, "ROWS", each)
        y, mean, var = norm.batch_norm(X, W, B, EPS)
        gradients = norm.batch_norm_grad(G, X, W, mean, var, EPS)
        total = norm.channel_sum(G)
    x, g, weight, bias = exact
    y_, mean_, var_ = portable.batch_norm(x, weight, bias, EPS)
    large = np.abs(x).max()
    near(mean, mean_, 2 * u, large)
    near(var, var_, 8 * u)  # nothing of the mean's size is left in it
    # y and x̄ know x − μ to half a unit in the last place of x and μ, over the smallest deviation
    moves = 4 * u * large / np.sqrt(var_.min() + EPS) + 30 * u
    near(y, y_, moves, np.abs(y_).max() + (0 if weight is None else np.abs(weight).max()))
    statistics = (a.get().astype(np.longdouble) for a in (mean, var))
    slow = portable.batch_norm_grad(g, x, weight, *statistics, EPS)
    count = x.size // x.shape[1]
    largest = np.abs(g).max() / np.sqrt(var_.min() + EPS) * (1 if weight is None else np.abs(weight).max())
    near(gradients[0], slow[0], 60 * u, largest * 3)
    near(gradients[1], slow[1], 60 * u, count * np.abs(g).max() * 3)
    near(gradients[2], slow[2], 30 * u, count * np.abs(g).max())
    near(total, slow[2], 30 * u, count * np.abs(g).max())
    assert all(a.dtype == dtype for a in (y, mean, var, total, *gradients))
    assert x.ndim == 2 or (is_channels_last(y) and is_channels_last(gradients[0]))


@given(case=batches())
@settings(max_examples=60, deadline=None)
def test_batch_norm_and_its_gradient_are_the_portable_ones(device, case):
    batch_norm_agrees(device, case, np.float32)


@given(case=batches())
@settings(max_examples=25, deadline=None)
def test_in_float64_they_are_so_to_its_last_digits(device, case):
    batch_norm_agrees(device, case, np.float64)


@pytest.mark.parametrize("shape", [(1500, 4), (30, 3, 20, 20)], ids=str)
def test_a_variance_survives_a_mean_10000_times_the_deviation(device, shape):
    (x,) = moved(device, np.float32, 1e4 + random(0, shape))
    _, _, var = norm.batch_norm(x, None, None, EPS)
    exact = portable.batch_norm(x.get().astype(np.float64), None, None, EPS)[2]
    near(var, exact, 1e-6)  # E[x²] − μ² would be off by 10⁸·6e-8 = 6


def test_few_rows_take_one_launch_and_many_rows_three(device):
    for n, forward, backward, total in ((64, 1, 1, 1), (5000, 3, 3, 2)):
        x, one = device.zeros((n, 8), np.float32), device.zeros(8, np.float32)
        assert sum(launched(norm.batch_norm, x, one, one, EPS)[1].values()) == forward
        assert sum(launched(norm.batch_norm_grad, x, x, one, one, one, EPS)[1].values()) == backward
        assert sum(launched(norm.channel_sum, x)[1].values()) == total


def test_the_order_in_which_threads_run_changes_no_bit(device, monkeypatch):
    x, g, w = moved(device, np.float32, random(0, (3000, 12)), random(1, (3000, 12)), random(2, (12,)))
    found = []
    for seed in range(4):
        monkeypatch.setenv("EMULATOR_SEED", str(seed + 1))
        y, mean, var = norm.batch_norm(x, w, w, EPS)
        values = y, mean, var, *norm.batch_norm_grad(g, x, w, mean, var, EPS), norm.channel_sum(g), rows.softmax(x, 1)
        found.append([v.get().tobytes() for v in values])
    assert all(f == found[0] for f in found)


@pytest.mark.parametrize("offset", [1, 2, 4])
def test_memory_that_begins_anywhere_is_read(device, offset):
    flat = device.asarray(random(0, (2 * 40 * 8 + 8,), np.float32))
    x, g = flat[offset : offset + 320].reshape(40, 8), flat[offset + 320 : offset + 640].reshape(40, 8)
    w = flat[offset : offset + 8]
    y, mean, var = norm.batch_norm(x, w, None, EPS)
    dx = norm.batch_norm_grad(g, x, w, mean, var, EPS)[0]
    host = [a.get().astype(np.float64) for a in (x, g, w)]
    y_, *statistics = portable.batch_norm(host[0], host[2], None, EPS)
    near(y, y_, 1e-5)
    near(dx, portable.batch_norm_grad(host[1], host[0], host[2], *statistics, EPS)[0], 1e-5)
    near(norm.channel_sum(x), host[0].sum(0), 1e-5)
    near(rows.normalize(x, 1, EPS), portable_chains.normalize(host[0], 1, EPS), 1e-5)


def test_what_the_kernels_do_not_serve_is_portable(device):
    half = device.ones((3, 4), np.float16)
    for f, args in (
        (norm.channel_sum, (half,)),
        (norm.batch_norm, (half, None, None, EPS)),
        (norm.batch_norm_grad, (half, half, None, half[0], half[0], EPS)),
        (norm.channel_sum, (device.zeros((0, 4), np.float32),)),
        (rows.softmax, (half, 1)),
        (rows.normalize_grad, (half, half, half, 1, EPS)),
        (rows.log_softmax, (device.zeros((3, 0), np.float32), 0)),
        (rows.softmax_grad, (device.ones((2, 3), np.float64), device.ones((2, 3), np.float32), 1)),
    ):
        _, kernels = launched(f, *args)
        assert kernels == {}, f.__name__


# ------------------------------------------------------------------------------------------------ within rows

CHAINS = ("softmax", "softmax_grad", "log_softmax", "log_softmax_grad", "normalize", "normalize_grad")


@st.composite
def axes_of_arrays(draw):
    """(shape, layout, axis, seed, mean)."""
    shape = draw(st.sampled_from(((3, 10), (1, 1), (5, 130), (2, 3, 4), (2, 8, 3, 4), (3, 1, 5, 5), (2, 64, 6, 6))))
    axis = draw(st.sampled_from([(1,), (0,), tuple(range(1, len(shape))), (-1,), (0, len(shape) - 1)]))
    axis = axis[0] if len(axis) == 1 and draw(st.booleans()) else axis
    layout = draw(st.sampled_from(LAYOUTS[:2])) if len(shape) == 4 else LAYOUTS[0]
    return shape, layout, axis, draw(st.integers(0, 2**20)), draw(st.sampled_from((0.0, 1e3)))


@given(case=axes_of_arrays(), dtype=st.sampled_from((np.float32, np.float64)), keepdims=st.booleans())
@settings(max_examples=60, deadline=None)
def test_sums_and_means_over_any_axes_are_numpys(device, case, dtype, keepdims):
    shape, layout, axis, seed, mean = case
    x = random(seed, shape) + mean
    (X,) = moved(device, dtype, laid_out(x, layout) if len(shape) == 4 else x)
    exact = X.get().astype(np.float64)
    for a in (axis, None):
        size = 100 * np.finfo(dtype).eps * np.abs(exact).mean()
        for f, expected, scale in ((rows.total, exact.sum, exact.size), (rows.average, exact.mean, 1)):
            found = f(X, a, keepdims)
            near(found, expected(axis=a, keepdims=keepdims), size, scale)
            assert found.dtype == dtype


@pytest.mark.parametrize("n", [1, 1000, 32768, 32769, 100_003, 5_000_000])
def test_all_of_an_array_is_added_in_one_launch_or_two(device, n):
    x = device.asarray(np.random.default_rng(0).integers(-9, 9, n).astype(np.float32))  # sums are exact in any order
    found, kernels = launched(rows.total, x, None, False)
    assert float(found) == x.get().astype(np.int64).sum()
    assert kernels == {"row_sum": 1 if n <= 32768 else 2}
    near(rows.average(x, None, False), x.get().astype(np.float64).mean(), 1e-6, 9)


def test_channels_last_images_are_added_up_where_they_lie(device):
    (x,) = moved(device, np.float32, laid_out(random(0, (4, 3, 5, 6)), "channels-last"))
    for axis in ((1, 2, 3), (-1, -2, 1), None):
        _, kernels = launched(rows.average, x, axis, False)
        assert kernels == {"row_sum": 1}
    _, kernels = launched(rows.total, x, (2, 3), False)  # not side by side: CuPy's own
    assert kernels == {}


@pytest.mark.parametrize("name", CHAINS)
@given(case=axes_of_arrays(), dtype=st.sampled_from((np.float32, np.float64)))
@settings(max_examples=25, deadline=None)
def test_a_row_is_treated_as_by_the_portable_kernel(device, name, case, dtype):
    shape, layout, axis, seed, mean = case
    x, g = (laid_out(random(seed + i, shape), layout) if len(shape) == 4 else random(seed + i, shape) for i in (0, 1))
    X, G = moved(device, dtype, x + mean, g)
    x, g = X.get().astype(np.float64), G.get().astype(np.float64)
    eps = (1e-2,) if "normalize" in name else ()
    forward = getattr(portable_chains, name.removesuffix("_grad"))
    out = forward(x, axis, *eps)
    if name.endswith("_grad"):
        (OUT,) = moved(device, dtype, laid_out(out, layout) if len(shape) == 4 else out)
        inputs = {"softmax_grad": (G, OUT), "log_softmax_grad": (G, OUT), "normalize_grad": (G, X, OUT)}[name]
        exact = {"softmax_grad": (g, out), "log_softmax_grad": (g, out), "normalize_grad": (g, x, out)}[name]
    else:
        inputs, exact = (X,), (x,)
    expected = getattr(portable_chains, name)(*exact, axis, *eps)
    found, kernels = launched(getattr(rows, name), *inputs, axis, *eps)
    assert kernels == {name: 1}
    size = max(1, np.abs(expected).max(), np.abs(g).max() if name.endswith("_grad") else 0)
    # x − μ and x − max are known to a unit in the last place of x
    near(found, expected, (100 + 20 * np.abs(x).max()) * np.finfo(dtype).eps, size)
    assert found.dtype == dtype
    if layout == "channels-last" and axis in (1, (1,), (1, 2, 3)):
        assert is_channels_last(found)


def test_a_row_far_from_0_is_normalised_from_centred_values(device):
    (x,) = moved(device, np.float32, 1e4 + random(0, (3, 5000)))
    y = rows.normalize(x, 1, 0.0)
    near(y, portable_chains.normalize(x.get().astype(np.float64), 1, 0.0), 1e-5)  # relative to |y| of about 4


def test_logits_of_any_size_give_no_overflow(device):
    x = device.asarray(np.array([[1e4, -1e4, 0, 3e38], [-3e38, -3e38, -3e38, -3e38]], np.float32))
    assert rows.softmax(x, 1).tolist() == [[0, 0, 0, 1], [0.25] * 4]
    assert np.isfinite(rows.log_softmax(x, 1).get()).all()


def test_running_statistics_change_in_place(device):
    from minigen.backend.gpu.elementwise import update_running

    mean, var, old_mean, old_var = (np.abs(random(i, (5,), np.float32)) for i in range(4))
    m, v = device.asarray(old_mean), device.asarray(old_var)
    _, kernels = launched(update_running, device.asarray(mean), device.asarray(var), 0.1, 1.5, m, v)
    assert kernels == {"minigen_update_running": 1}
    portable_chains.update_running(mean, var, 0.1, 1.5, old_mean, old_var)
    np.testing.assert_allclose(m.get(), old_mean, rtol=1e-6)
    np.testing.assert_allclose(v.get(), old_var, rtol=1e-6)

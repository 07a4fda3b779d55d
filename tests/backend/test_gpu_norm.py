"""norm.cu on the CPU, against the portable kernels in at least float64."""

import numpy as np
import pytest
from backend import emulator
from backend.fake_cupy import installed
from backend.kernel_cases import LAYOUTS, is_channels_last, laid_out, launched, moved, near, random
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen.backend import portable, portable_chains, use
from minigen.backend.gpu import elementwise, norm

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
EPS = 1e-5
SLOPES = st.sampled_from((0.0, 0.2, 1.0))  # ReLU, leaky ReLU, nothing


@pytest.fixture(scope="module")
def device():
    with installed() as cupy:
        use("cupy")
        yield cupy


@st.composite
def batches(draw):
    """(x, g, weight, bias, slope, rows of a thread): one row to several chunks, far from 0 or near, in any layout."""
    C = draw(st.sampled_from((1, 3, 4, 7, 32, 40, 130)))
    shape = draw(st.sampled_from(((1, C, 4, 5), (2, C), (3, C, 1, 2), (2, C, 7, 6), (70, C), (9, C, 8, 8))))
    seed, mean = draw(st.integers(0, 2**20)), draw(st.sampled_from((0.0, 3.0, 1e4)))
    x, g = random(seed, shape) + mean, random(seed + 1, shape)
    if len(shape) == 4:
        x, g = (laid_out(a, draw(st.sampled_from(LAYOUTS[:2]))) for a in (x, g))
    vector = lambda n: draw(st.sampled_from((None, random(seed + n, (C,)))))
    return x, g, vector(2), vector(3), draw(SLOPES), draw(st.sampled_from((1, 2, 32)))


def batch_norm_agrees(device, case, dtype):
    """Forward and gradients, each from the same inputs as the oracle: x as rounded, and what forward returned."""
    x, g, weight, bias, slope, each = case
    X, G, W, B = moved(device, dtype, x, g, weight, bias)
    exact = [None if a is None else a.get().astype(np.longdouble) for a in (X, G, W, B)]
    running = np.ones(x.shape[1]), np.full(x.shape[1], 2.0), np.array(5)
    RUNNING = moved(device, dtype, *running)
    u = np.finfo(dtype).eps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm, "ROWS", each)
        y, mean, var = norm.batch_norm(X, W, B, EPS, slope, (*RUNNING, 0.1))
        gradients = norm.batch_norm_grad(G, X, W, B, mean, var, EPS, slope)
        total = norm.channel_sum(G)
    x, g, weight, bias = exact
    y_, mean_, var_ = portable.batch_norm(x, weight, bias, EPS, slope, (*running, 0.1))
    large = np.abs(x).max()
    near(mean, mean_, 2 * u, large)
    near(var, var_, 8 * u)  # nothing of the mean's size is left in it
    near(RUNNING[0], running[0], 2 * u, 1 + large)
    near(RUNNING[1], running[1], 8 * u)
    assert RUNNING[2].item() == running[2] == 6
    # y and x̄ know x − μ to half a unit in the last place of x and μ, over the smallest deviation
    moves = 4 * u * large / np.sqrt(var_.min() + EPS) + 30 * u
    near(y, y_, moves, np.abs(y_).max() + (0 if weight is None else np.abs(weight).max()) + 1)
    statistics = (a.get().astype(np.longdouble) for a in (mean, var))
    dz = np.where(y.get() > 0, g, slope * g)  # a z near 0 has the sign that forward found
    slow = portable.batch_norm_grad(dz, x, weight, bias, *statistics, EPS)
    count = x.size // x.shape[1]
    largest = np.abs(g).max() / np.sqrt(var_.min() + EPS) * (1 if weight is None else np.abs(weight).max())
    near(gradients[0], slow[0], 60 * u, largest * 3)
    near(gradients[1], slow[1], 60 * u, count * np.abs(g).max() * 3)
    near(gradients[2], slow[2], 30 * u, count * np.abs(g).max())
    near(total, g.sum(axis=(0, *range(2, g.ndim))), 30 * u, count * np.abs(g).max())
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
        running = one, one, device.zeros((), np.int64), 0.1
        assert sum(launched(norm.batch_norm, x, one, one, EPS, 0.2, running)[1].values()) == forward
        assert sum(launched(norm.batch_norm_grad, x, x, one, one, one, one, EPS, 0.2)[1].values()) == backward
        assert sum(launched(norm.channel_sum, x)[1].values()) == total
        assert sum(launched(norm.leaky_relu_bias_grad, x, x, 0.2)[1].values()) == total


@pytest.mark.parametrize("rows", [20, 3000])
def test_forward_and_both_passes_backward_find_the_same_signs_where_z_is_nothing_but_rounding(device, rows):
    """The bias is minus the product in row 0, rounded: z is there what rounding took away, of either sign."""
    x, weight = random(0, (rows, 130)).astype(np.float32), random(1, (130,)).astype(np.float32)
    g = np.random.default_rng(2).integers(1, 9, (rows, 130)).astype(np.float32)
    X, G, W = moved(device, np.float32, x, g, weight)
    _, mean, var = norm.batch_norm(X, W, None, EPS)
    product = (x[0] - mean.get()) * (weight * (np.float32(1) / np.sqrt(var.get() + np.float32(EPS))))
    (B,) = moved(device, np.float32, -product)
    positive = norm.batch_norm(X, W, B, EPS, 0.0)[0].get() > 0
    assert 30 < positive[0].sum() < 100  # of 130
    dx, _, db = norm.batch_norm_grad(G, X, W, B, mean, var, EPS, 0.0)
    assert db.tolist() == (g * positive).sum(axis=0).tolist()  # whole numbers: exact
    exact = [a.get().astype(np.float64) for a in (X, W, B, mean, var)]
    near(dx, portable.batch_norm_grad((g * positive).astype(np.float64), *exact, EPS)[0], 1e-5)


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_what_is_not_a_number_stays_so_and_relu_makes_0_of_minus_infinity(device, slope):
    bias = np.array([np.inf, -np.inf, np.nan, 0], np.float32)
    for rows in (20, 3000):
        X, B = moved(device, np.float32, random(0, (rows, 4)), bias)
        y = norm.batch_norm(X, None, B, EPS, slope)[0].get()
        with np.errstate(invalid="ignore"):
            ends = np.array([np.inf, slope * -np.inf if slope else 0, np.nan], np.float32)
        np.testing.assert_array_equal(y[:, :3], np.broadcast_to(ends, (rows, 3)))
        assert np.isfinite(y[:, 3]).all()


@given(case=batches(), dtype=st.sampled_from((np.float32, np.float64)), offset=st.sampled_from((0, 1)))
@settings(max_examples=40, deadline=None)
def test_the_gradients_through_leaky_relu_and_of_the_bias_are_taken_together(device, case, dtype, offset):
    out, g, *_, slope, each = case
    out.flat[::7] = 0
    out.flat[1::31], out.flat[2::31], out.flat[3::31] = np.nan, np.inf, -np.inf
    OUT, G = moved(device, dtype, out, g)
    if offset and g.ndim == 2:  # memory that is not aligned
        G = device.asarray(np.append(0, G.get()).astype(dtype))[1:].reshape(g.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm, "ROWS", each)
        dz, db = norm.leaky_relu_bias_grad(G, OUT, slope)
    np.testing.assert_array_equal(dz.get(), elementwise.leaky_relu_grad(G, OUT, slope).get())
    exact = dz.get().astype(np.longdouble)
    near(db, exact.sum(axis=(0, *range(2, g.ndim))), 30 * np.finfo(dtype).eps, g.size // g.shape[1] * np.abs(g).max())
    assert dz.dtype == db.dtype == dtype
    assert g.ndim == 2 or is_channels_last(dz)


def test_running_statistics_that_the_kernel_cannot_write_are_moved_all_the_same(device):
    x = device.asarray(random(0, (30, 3), np.float32))
    expected = norm.batch_norm(x, None, None, EPS)
    for mean, var, count in (
        (device.zeros(6, np.float32)[::2], device.zeros(3, np.float32), None),
        (*device.zeros((2, 3), np.float64), None),
        (*device.zeros((2, 3), np.float32), device.zeros((), np.int32)),
    ):
        norm.batch_norm(x, None, None, EPS, 1.0, (mean, var, count, 0.5))
        near(mean, 0.5 * expected[1].get(), 1e-6)
        near(var, 0.5 * expected[2].get() * 30 / 29, 1e-6)
        assert count is None or count.item() == 1


def test_the_order_in_which_threads_run_changes_no_bit(device, monkeypatch):
    x, g, w = moved(device, np.float32, random(0, (3000, 12)), random(1, (3000, 12)), random(2, (12,)))
    found = []
    for seed in range(4):
        monkeypatch.setenv("EMULATOR_SEED", str(seed + 1))
        y, mean, var = norm.batch_norm(x, w, w, EPS, 0.2)
        values = y, mean, var, *norm.batch_norm_grad(g, x, w, w, mean, var, EPS, 0.2), norm.channel_sum(g)
        values += norm.leaky_relu_bias_grad(g, x, 0.2)
        found.append([v.get().tobytes() for v in values])
    assert all(f == found[0] for f in found)


@pytest.mark.parametrize("offset", [1, 2, 4])
def test_memory_that_begins_anywhere_is_read(device, offset):
    flat = device.asarray(random(0, (2 * 40 * 8 + 8,), np.float32))
    x, g = flat[offset : offset + 320].reshape(40, 8), flat[offset + 320 : offset + 640].reshape(40, 8)
    w = flat[offset : offset + 8]
    y, mean, var = norm.batch_norm(x, w, None, EPS)
    dx = norm.batch_norm_grad(g, x, w, None, mean, var, EPS)[0]
    host = [a.get().astype(np.float64) for a in (x, g, w)]
    y_, *statistics = portable.batch_norm(host[0], host[2], None, EPS)
    near(y, y_, 1e-5)
    near(dx, portable.batch_norm_grad(host[1], host[0], host[2], None, *statistics, EPS)[0], 1e-5)
    near(norm.channel_sum(x), host[0].sum(0), 1e-5)


def test_what_the_kernels_do_not_serve_is_portable(device):
    half, one = device.asarray(random(0, (6, 4)).astype(np.float16)), device.ones(4, np.float16)
    for f, *args in (
        (norm.channel_sum, half),
        (norm.batch_norm, half, one, one, EPS, 0.2),
        (norm.batch_norm_grad, half, half, one, one, one, one, EPS, 0.2),
        (norm.leaky_relu_bias_grad, half, half, 0.2),
        (norm.channel_sum, device.zeros((0, 4), np.float32)),
    ):
        found, kernels = launched(f, *args)
        assert kernels == {}, f.__name__
        expected = getattr(portable, f.__name__)(*args)
        for a, b in zip(*((v if isinstance(v, tuple) else (v,)) for v in (found, expected)), strict=True):
            np.testing.assert_array_equal(a.get(), b.get())


def test_running_statistics_change_in_place(device):
    from minigen.backend.gpu.elementwise import update_running

    mean, var, old_mean, old_var = (np.abs(random(i, (5,), np.float32)) for i in range(4))
    m, v = device.asarray(old_mean), device.asarray(old_var)
    _, kernels = launched(update_running, device.asarray(mean), device.asarray(var), 0.1, 1.5, m, v)
    assert kernels == {"minigen_update_running": 1}
    portable_chains.update_running(mean, var, 0.1, 1.5, old_mean, old_var)
    np.testing.assert_allclose(m.get(), old_mean, rtol=1e-6)
    np.testing.assert_allclose(v.get(), old_var, rtol=1e-6)

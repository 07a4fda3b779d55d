"""pool.cu on the CPU, against the portable pooling; values are whole numbers, so that sums are exact in any order."""

import numpy as np
import pytest
from backend import emulator
from backend.fake_cupy import installed
from backend.fake_kernels import LAUNCHES
from backend.kernel_cases import LAYOUTS, is_channels_last, laid_out, poolings, random
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import ops, tensor
from minigen.autograd import grad
from minigen.backend import portable, use
from minigen.backend.gpu import pool

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
dtypes = st.sampled_from((np.float32, np.float64))


@pytest.fixture(scope="module")
def device():
    with installed():
        yield use("cupy")


def equal(found, expected, dtype):
    np.testing.assert_array_equal(found.get(), expected)
    assert found.dtype == dtype
    assert is_channels_last(found)


@given(case=poolings(), dtype=dtypes)
@settings(max_examples=60, deadline=None)
def test_max_pooling_and_its_adjoint_are_the_portable_ones(device, case, dtype):
    x, options, dilation, out_size = case
    y, indices = pool.max_pool2d(device.asarray(x.astype(dtype)), **options, dilation=dilation, out_size=out_size)
    y_, indices_ = portable.max_pool2d(x, **options, dilation=dilation, out_size=out_size)
    equal(y, y_, dtype)
    inside = np.isfinite(y_)  # a window wholly in the padding has no place
    np.testing.assert_array_equal(indices.get()[inside], indices_[inside])
    assert (indices.get()[~inside] == -1).all()
    if inside.all():
        g = np.round(8 * random(1, y.shape))
        windows = options["kernel"], options["stride"], options["padding"], dilation
        before = LAUNCHES.copy()
        dx = pool.unpool(device.asarray(g.astype(dtype)), indices, x.shape[2:], windows)
        assert dict(LAUNCHES - before) == {"unpool": 1}
        equal(dx, portable.unpool(g, indices_, x.shape[2:]), dtype)


@given(case=poolings(with_dilation=False), dtype=dtypes)
@settings(max_examples=60, deadline=None)
def test_sum_pooling_and_its_adjoint_are_the_portable_ones(device, case, dtype):
    x, options, _, out_size = case
    y = pool.sum_pool2d(device.asarray(x.astype(dtype)), **options, out_size=out_size)
    equal(y, portable.sum_pool2d(x, **options, out_size=out_size), dtype)
    g = np.round(8 * random(1, y.shape))
    back = pool.sum_pool2d_x(device.asarray(g.astype(dtype)), **options, size=x.shape[2:])
    equal(back, portable.sum_pool2d_x(g, **options, size=x.shape[2:]), dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unpool_adds_where_indices_repeat_and_gather_reads_them_back(device, layout, dtype):
    indices = np.random.default_rng(0).integers(0, 12, (2, 3, 4, 5))  # 20 numbers on 12 places
    x, h = np.round(random(0, (2, 3, 4, 5)) * 8), np.round(random(1, (2, 3, 3, 4)) * 8)
    put = lambda a, t: device.asarray(laid_out(a.astype(t), layout))
    equal(pool.unpool(put(x, dtype), put(indices, int), (3, 4)), portable.unpool(x, indices, (3, 4)), dtype)
    equal(pool.gather_plane(put(h, dtype), put(indices, int)), portable.gather_plane(h, indices), dtype)


def test_indices_outside_the_plane_touch_no_memory(device):
    x, indices = device.ones((1, 1, 1, 3), np.float32), device.asarray(np.array([[[[-1, 2, 4]]]]))
    assert pool.unpool(x, indices, (2, 2)).get().ravel().tolist() == [0, 0, 1, 0]
    taken = pool.gather_plane(device.asarray(np.arange(4.0, dtype=np.float32).reshape(1, 1, 2, 2)), indices)
    np.testing.assert_array_equal(taken.get().ravel(), [np.nan, 2, np.nan])


def test_nan_wins_a_window_as_the_largest(device):
    x = np.array([[[[1, np.nan, 3, 2], [np.nan, 5, 0, 4]]]], np.float32)
    y, indices = pool.max_pool2d(device.asarray(x), (2, 2), (2, 2), (0, 0), (1, 1), (1, 2))
    np.testing.assert_array_equal(y.get().ravel(), [np.nan, 4])
    assert indices.get().ravel().tolist() == [1, 7]


def test_half_precision_is_portable(device):
    x = device.ones((1, 1, 2, 2), np.float16)
    before = LAUNCHES.copy()
    y, indices = pool.max_pool2d(x, (2, 2), (2, 2), (0, 0), (1, 1), (1, 1))
    pool.unpool(y, indices, (2, 2), ((2, 2), (2, 2), (0, 0), (1, 1)))
    pool.sum_pool2d_x(pool.sum_pool2d(x, (2, 2), (1, 1), (0, 0), (1, 1)), (2, 2), (1, 1), (0, 0), (2, 2))
    pool.gather_plane(x, indices)
    assert LAUNCHES == before


def test_pooling_is_differentiated_twice_by_kernels_that_gather(device):
    x = tensor(random(0, (2, 3, 5, 5), np.float32), requires_grad=True)
    before = LAUNCHES.copy()
    (g,) = grad((ops.max_pool2d(x, 3, stride=2) ** 3).sum(), [x], create_graph=True)
    grad((g * g).sum(), [x])
    used = {name for name, n in (LAUNCHES - before).items() if n}
    assert {"max_pool2d", "unpool", "gather_plane"} <= used
    assert "scatter" not in used  # no atomics, although windows overlap

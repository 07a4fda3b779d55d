"""Pooling kernels: against loops, against the portable ones, as adjoints, and against PyTorch."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from kernel_cases import LAYOUTS, is_channels_last, laid_out, poolings, random, relative_error

from minigen.backend import cpu_pool, portable

KERNELS = pytest.mark.parametrize("kernels", [cpu_pool, portable], ids=["fast", "portable"])


def by_loops(x, kernel, stride, padding, dilation, out_size):
    """Windows as lists of (value, h·W + w), reading order, inside the image only; (N, C, OH, OW) of lists."""
    N, C, H, W = x.shape
    windows = np.empty((N, C, *out_size), object)
    for n, c, i, j in np.ndindex(windows.shape):
        rows = [i * stride[0] - padding[0] + a * dilation[0] for a in range(kernel[0])]
        cols = [j * stride[1] - padding[1] + b * dilation[1] for b in range(kernel[1])]
        windows[n, c, i, j] = [
            (x[n, c, h, w], h * W + w) for h, w in itertools.product(rows, cols) if 0 <= h < H and 0 <= w < W
        ]
    return windows


@KERNELS
@given(case=poolings())
@settings(max_examples=80, deadline=None)
def test_max_pooling_takes_the_first_largest_of_each_window(kernels, case):
    x, options, dilation, out_size = case
    windows = by_loops(x, **options, dilation=dilation, out_size=out_size)
    if not all(windows.reshape(-1)):
        return  # a dilated window wholly in the padding has no maximum
    best = [max(w, key=lambda pixel: (pixel[0], -pixel[1])) for w in windows.reshape(-1)]
    kept = x.copy()
    y, indices = kernels.max_pool2d(x, **options, dilation=dilation, out_size=out_size)
    assert y.reshape(-1).tolist() == [value for value, _ in best]
    assert indices.reshape(-1).tolist() == [place for _, place in best]
    assert indices.dtype == np.int64
    assert is_channels_last(y)
    assert is_channels_last(indices)
    assert np.array_equal(x, kept)


@KERNELS
@given(case=poolings(with_dilation=False))
@settings(max_examples=80, deadline=None)
def test_sum_pooling_adds_each_window(kernels, case):
    x, options, dilation, out_size = case
    windows = by_loops(x, **options, dilation=dilation, out_size=out_size)
    y = kernels.sum_pool2d(x, **options, out_size=out_size)
    assert y.reshape(-1).tolist() == [sum(value for value, _ in w) for w in windows.reshape(-1)]
    assert is_channels_last(y)


@KERNELS
@given(case=poolings(with_dilation=False))
@settings(max_examples=80, deadline=None)
def test_sum_pooling_has_its_adjoint(kernels, case):
    x, options, _, out_size = case
    y = kernels.sum_pool2d(x, **options, out_size=out_size)
    g = np.round(random(1, y.shape) * 8)  # whole numbers, so that both sides are exact
    back = kernels.sum_pool2d_x(g, **options, size=x.shape[2:])
    assert np.vdot(y, g) == np.vdot(x, back)
    assert is_channels_last(back)


@KERNELS
@pytest.mark.parametrize("layout", LAYOUTS)
def test_unpool_adds_where_indices_repeat_and_gather_reads_them_back(kernels, layout):
    indices = np.random.default_rng(0).integers(0, 12, (2, 3, 4, 5))  # 20 numbers on 12 places
    x, h = np.round(random(0, (2, 3, 4, 5)) * 8), np.round(random(1, (2, 3, 3, 4)) * 8)
    out = kernels.unpool(laid_out(x, layout), laid_out(indices, layout), (3, 4))
    expected = np.zeros((2, 3, 12))
    for n, c, i, j in np.ndindex(indices.shape):
        expected[n, c, indices[n, c, i, j]] += x[n, c, i, j]
    assert np.array_equal(out, expected.reshape(2, 3, 3, 4))
    assert is_channels_last(out)
    taken = kernels.gather_plane(laid_out(h, layout), laid_out(indices, layout))
    assert np.vdot(out, h) == np.vdot(x, taken)
    assert is_channels_last(taken)


@KERNELS
def test_float32_stays_float32(kernels):
    x = random(0, (2, 3, 6, 6), np.float32)
    y, indices = kernels.max_pool2d(x, (2, 2), (2, 2), (0, 0), (1, 1), (3, 3))
    total = kernels.sum_pool2d(x, (3, 3), (1, 1), (1, 1), (6, 6))
    arrays = y, total, kernels.unpool(y, indices, (6, 6)), kernels.gather_plane(x, indices)
    assert [a.dtype for a in (*arrays, kernels.sum_pool2d_x(total, (3, 3), (1, 1), (1, 1), (6, 6)))] == [np.float32] * 5


@pytest.mark.parametrize("case", [((2, 2), (2, 2), (0, 0), (1, 1)), ((3, 2), (2, 1), (1, 1), (1, 2))], ids=str)
def test_max_pooling_and_its_gradient_agree_with_pytorch(case):
    torch = pytest.importorskip("torch")
    x = random(0, (3, 4, 10, 8))
    tx = torch.tensor(x, requires_grad=True)
    kernel, stride, padding, dilation = case
    ty, tindices = torch.nn.functional.max_pool2d(tx, kernel, stride, padding, dilation, return_indices=True)
    g = random(1, tuple(ty.shape))
    ty.backward(torch.tensor(g))
    y, indices = cpu_pool.max_pool2d(x, *case, tuple(ty.shape[2:]))
    assert np.array_equal(y, ty.detach().numpy())
    assert np.array_equal(indices, tindices.numpy())
    assert relative_error(cpu_pool.unpool(g, indices, (10, 8)), tx.grad.numpy()) < 1e-15

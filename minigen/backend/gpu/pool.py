"""Pooling on the GPU: launches `pool.cu`, one thread for each number of the result. Arrays become channels-last."""

import numpy as np

from .. import portable
from ..layout import channels_first, channels_last
from .compile import REALS, ceil_div, kernel

THREADS = 256


def max_pool2d(x, kernel, stride, padding, dilation, out_size):
    """(N, C, H, W) → (y, indices), both (N, C, OH, OW): the maximum of each window and its place h·W + w, int64.

    kernel, stride, padding, dilation: pairs.  Padding never wins; among equals the first in reading order does.
    """
    if not _served(x):
        return portable.max_pool2d(x, kernel, stride, padding, dilation, out_size)
    X = channels_last(x)
    y, indices = _new(X, out_size), _new(X, out_size, np.int64)
    _launch("max_pool2d", (X, y, indices), y, *_geometry(X, y, kernel, stride, padding, dilation))
    return channels_first(y), channels_first(indices)


def unpool(x, indices, size, windows=None):
    """(N, C, OH, OW) → (N, C, H, W) of zeros with every x *added* at its index: max-unpooling, adjoint of pooling.

    windows: (kernel, stride, padding, dilation), the promise that each index lies in the window of its place.
    """
    if not _served(x):
        return portable.unpool(x, indices, size)
    X, at = channels_last(x), channels_last(indices)
    out = _new(X, size)
    if windows is not None:
        _launch("unpool", (X, at, out), out, *_geometry(out, X, *windows))
    else:
        out.fill(0)
        _launch("scatter", (X, at, out), X, *_planes(out, X))
    return channels_first(out)


def gather_plane(x, indices):
    """(N, C, H, W), indices (N, C, OH, OW) → x at those places, NaN outside; the adjoint of `unpool`."""
    if not _served(x):
        return portable.gather_plane(x, indices)
    X, at = channels_last(x), channels_last(indices)
    y = _new(X, at.shape[1:3])
    _launch("gather_plane", (X, at, y), y, *_planes(X, y))
    return channels_first(y)


def sum_pool2d(x, kernel, stride, padding, out_size):
    """(N, C, H, W) → (N, C, OH, OW): the sum over each window; an average once divided by the number of its pixels."""
    if not _served(x):
        return portable.sum_pool2d(x, kernel, stride, padding, out_size)
    X = channels_last(x)
    y = _new(X, out_size)
    _launch("sum_pool2d", (X, y), y, *_geometry(X, y, kernel, stride, padding, (1, 1)))
    return channels_first(y)


def sum_pool2d_x(g, kernel, stride, padding, size):
    """The adjoint of `sum_pool2d`: (N, C, OH, OW) → (N, C, H, W); every pixel gets the g of all windows it is in."""
    if not _served(g):
        return portable.sum_pool2d_x(g, kernel, stride, padding, size)
    G = channels_last(g)
    x = _new(G, size)
    _launch("sum_pool2d_x", (G, x), x, *_geometry(x, G, kernel, stride, padding, (1, 1)))
    return channels_first(x)


def _served(x):
    return x.dtype in REALS and x.size > 0


def _new(x, size, dtype=None):
    """Room for (N, *size, C), of the type of x (N, H, W, C)."""
    import cupy

    return cupy.empty((len(x), *size, x.shape[3]), dtype or x.dtype)


def _planes(image, windows):
    """C, H, W, OH, OW of an image and of what stands for its windows, both channels-last."""
    return image.shape[3], *image.shape[1:3], *windows.shape[1:3]


def _geometry(image, windows, kernel, stride, padding, dilation):
    return *_planes(image, windows), *kernel, *stride, *padding, *dilation


def _launch(name, arrays, result, *sizes):
    """The kernel `name` with a thread for each element of `result`."""
    run = kernel("pool.cu", name, REAL=REALS[arrays[0].dtype])
    run((ceil_div(result.size, THREADS),), (THREADS,), (*arrays, np.int64(result.size), *map(np.int32, sizes)))

"""Pooling, unpooling and upsampling of images (N, C, H, W), as in torch.nn.functional."""

import math

import numpy as np

from ..autograd import Tensor, op
from ..backend import namespace
from ..backend.constants import constant
from ..backend.kernels import kernels
from .common import pair, raw
from .shape import _take

# ------------------------------------------------------------------------------------------------ window geometry


def _out_size(name, x, kernel, stride, padding, dilation, ceil_mode):
    """(OH, OW); with ceil_mode the last window may hang over the border, but must begin inside."""
    if len(x.shape) != 4:
        raise ValueError(f"{name}: expected x of shape (N, C, H, W); got {x.shape}.")
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ValueError(f"{name}: expected padding of at most half the kernel; got {padding=} for {kernel=}.")
    sizes = []
    for n, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation):
        room = n + 2 * p - d * (k - 1) - 1
        out = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (out - 1) * s >= n + p:
            out -= 1
        sizes.append(out)
    if min(sizes) < 1:
        raise ValueError(f"{name}: the window must fit into the image; got {kernel=} for x of shape {x.shape}.")
    return tuple(sizes)


# ------------------------------------------------------------------------------------------------ gather ↔ scatter-add


@op(x=lambda g, indices, x_shape, windows: _unpool(g, indices, size=x_shape[2:], windows=windows))
def _gather_plane(x, indices, *, windows=None):
    """Each plane's values at flat places h·W + w: (N, C, H, W), (N, C, OH, OW) → (N, C, OH, OW)."""
    return kernels(x).gather_plane(x, indices)


@op(x=lambda g, indices, windows: _gather_plane(g, indices, windows=windows))
def _unpool(x, indices, *, size, windows=None):
    """Each value added into a plane of zeros at its place; the adjoint of `_gather_plane`.

    windows: (kernel, stride, padding, dilation) where each place is known to lie in its window, see the kernel.
    """
    return kernels(x).unpool(x, indices, size, windows)


# ------------------------------------------------------------------------------------------------ max


def _max_pool2d_x(g, out, x_shape, kernel, stride, padding, dilation):
    return _unpool(g[0], out[1], size=x_shape[2:], windows=(kernel, stride, padding, dilation))


@op(x=_max_pool2d_x)
def _max_pool2d(x, *, kernel, stride, padding, dilation, out_size):
    """The largest value of each window and its place;   x̄: every g goes to the place its value came from."""
    return kernels(x).max_pool2d(x, kernel, stride, padding, dilation, out_size)


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest value of each window; of equal ones the first in reading order receives the derivative.

    Shapes: (N, C, H, W) → (N, C, OH, OW), OH = ⌊(H + 2p − d(k − 1) − 1)/s⌋ + 1. stride: kernel_size by default.
    return_indices: also the places, h·W + w in each plane, int64, as `max_unpool2d` takes them.
    """
    kernel = pair(kernel_size, "kernel_size")
    stride = kernel if stride is None else pair(stride, "stride")
    padding, dilation = pair(padding, "padding"), pair(dilation, "dilation")
    size = _out_size("max_pool2d", x, kernel, stride, padding, dilation, ceil_mode)
    y, indices = _max_pool2d(x, kernel=kernel, stride=stride, padding=padding, dilation=dilation, out_size=size)
    return (y, Tensor(raw(indices))) if return_indices else y


def max_unpool2d(x, indices, kernel_size, stride=None, padding=0, output_size=None):
    """The values of `max_pool2d` put back where they came from, zeros elsewhere.       Zeiler et al. 2011

    output_size: (H, W) of the pooled image, where (OH − 1)·s − 2p + k is not it.
    Where windows overlapped, a place may be named twice: the last value stands there, and it alone has a derivative.
    """
    kernel = pair(kernel_size, "kernel_size")
    stride = kernel if stride is None else pair(stride, "stride")
    padding = pair(padding, "padding")
    if output_size is None:
        size = tuple((n - 1) * s - 2 * p + k for n, s, p, k in zip(x.shape[2:], stride, padding, kernel))
    else:
        size = tuple(output_size[-2:])
    places = raw(indices)  # on the GPU to look at them would mean to wait for them
    if namespace(places) is np and places.size and int(places.max()) >= math.prod(size):
        raise ValueError(
            f"max_unpool2d: the indices reach beyond an image of size {size}; pass the output_size that was pooled."
        )
    if any(s < k for s, k in zip(stride, kernel)):
        x = x * _last_of_each_place(places, size)
    return _unpool(x, places, size=size)


def _last_of_each_place(places, size):
    """True for the element that, written in order, stays in its place."""
    xp = namespace(places)
    N, C = places.shape[:2]
    flat = places.reshape(N * C, -1)
    order = xp.broadcast_to(xp.arange(flat.shape[1], dtype=np.int32), flat.shape)  # CuPy 13: no maximum.at of int64
    winner = xp.zeros((N * C, math.prod(size)), np.int32)
    plane = xp.arange(N * C)[:, None]
    xp.maximum.at(winner, (plane, flat), order)
    return (winner[plane, flat] == order).reshape(places.shape)


# ------------------------------------------------------------------------------------------------ average


@op(
    x=lambda g, x_shape, kernel, stride, padding: _sum_pool2d_x(
        g, kernel=kernel, stride=stride, padding=padding, size=x_shape[2:]
    )
)
def _sum_pool2d(x, *, kernel, stride, padding, out_size):
    """The sum of each window. Adjoint: every pixel receives from all windows it stands in."""
    return kernels(x).sum_pool2d(x, kernel, stride, padding, out_size)


@op(
    g=lambda h, g_shape, kernel, stride, padding: _sum_pool2d(
        h, kernel=kernel, stride=stride, padding=padding, out_size=g_shape[2:]
    )
)
def _sum_pool2d_x(g, *, kernel, stride, padding, size):
    return kernels(g).sum_pool2d_x(g, kernel, stride, padding, size)


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    """The mean of each window.

    Shapes: (N, C, H, W) → (N, C, OH, OW). stride: kernel_size by default.
    count_include_pad: whether padding counts as pixels (of value 0). divisor_override: divide by this instead.
    """
    kernel = pair(kernel_size, "kernel_size")
    stride = kernel if stride is None else pair(stride, "stride")
    padding = pair(padding, "padding")
    size = _out_size("avg_pool2d", x, kernel, stride, padding, (1, 1), ceil_mode)
    sums = _sum_pool2d(x, kernel=kernel, stride=stride, padding=padding, out_size=size)
    if divisor_override is not None:
        return sums * (1 / divisor_override)
    counts = [
        _pixels_in_windows(n, o, k, s, p, count_include_pad)
        for n, o, k, s, p in zip(x.shape[2:], size, kernel, stride, padding)
    ]
    share = (1 / np.outer(*counts)).astype(x.dtype)
    if (share == share[0, 0]).all():
        return sums * share[0, 0].item()
    return sums * constant(share, namespace(raw(x)))


def _pixels_in_windows(n, out, k, s, p, include_pad):
    """How many pixels each window counts along one axis of length n."""
    start = np.arange(out) * s - p
    lo, hi = (-p, n + p) if include_pad else (0, n)
    return np.minimum(start + k, hi) - np.maximum(start, lo)


# ------------------------------------------------------------------------------------------------ upsampling


def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=False):
    """Images resized, as torch.nn.functional.interpolate.

    size: (H, W) or one number for both; or scale_factor: a number or a pair. mode: "nearest" or "bilinear".
    align_corners (bilinear): the corner *centres* keep their places; otherwise the corners of the image do.
    Shapes: (N, C, H, W) → (N, C, OH, OW).
    """
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: expected either size or scale_factor.")
    if size is not None:
        size = pair(size, "size")
        scales = [n / o for n, o in zip(x.shape[2:], size)]
    else:
        factors = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor, scale_factor)
        size = tuple(math.floor(n * f) for n, f in zip(x.shape[2:], factors))
        scales = [1 / f for f in factors]
    if min(size) < 1:
        raise ValueError(f"interpolate: the result would have size {size}; got x of shape {x.shape}.")
    for axis, (out, scale) in enumerate(zip(size, scales), start=2):
        n = x.shape[axis]
        if mode == "nearest":
            index = np.minimum(np.floor(np.arange(out) * scale).astype(np.int64), n - 1)
            x = _take(x, index=index, axis=axis)
        elif mode == "bilinear":
            x = _lerp_along(x, axis, *_neighbours(n, out, scale, align_corners))
        else:
            raise ValueError(f'interpolate: expected mode "nearest" or "bilinear"; got {mode!r}.')
    return x


def _neighbours(n, out, scale, align_corners):
    """For each output pixel: the input pixel before it, the one after it, and how far it is between them."""
    if align_corners:
        at = np.arange(out) * ((n - 1) / (out - 1) if out > 1 else 0.0)
    else:
        at = np.maximum((np.arange(out) + 0.5) * scale - 0.5, 0)
    before = np.minimum(np.floor(at).astype(np.int64), n - 1)
    return before, np.minimum(before + 1, n - 1), at - before


def _lerp_along(x, axis, before, after, t):
    t = constant(t.astype(x.dtype), namespace(raw(x))).reshape((-1,) + (1,) * (x.ndim - 1 - axis))
    first = _take(x, index=before, axis=axis)
    return first + (_take(x, index=after, axis=axis) - first) * t

"""Memory layout: arrays are logically N, C, H, W and lie in memory as N, H, W, C ("channels-last").

Weights of convolutions, logically (O, C, kh, kw), lie as (O, kh, kw, C): the same permutation, carried by the
strides, so that the same two views serve both.  Works on NumPy and CuPy arrays alike.
"""

import functools
import sys

from .arrays import namespace


def channels_last(x):
    """(N, C, H, W) → contiguous (N, H, W, C); a view where the memory is channels-last already, one copy otherwise."""
    return namespace(x).ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_first(x):
    """(N, H, W, C) → the logical (N, C, H, W); always a view."""
    return x.transpose(0, 3, 1, 2)


def rows(x):
    """(N, C, H, W) or (N, C) → contiguous (M, C), one row per sample and position; a view where the memory allows."""
    if x.ndim == 2:
        return namespace(x).ascontiguousarray(x)
    return channels_last(x).reshape(-1, x.shape[1])


def like(flat, x):
    """(M, C) rows → the shape of x, channels-last in memory; the inverse of `rows`."""
    if x.ndim == 2:
        return flat
    n, c, h, w = x.shape
    return channels_first(flat.reshape(n, h, w, c))


# ------------------------------------------------------------------------------------------------ the order of results
# Results of NumPy's functions lie in memory as the arguments do. CuPy gives every result in row-major order: a
# channels-last image would be read in strides, and be copied back before the next convolution. So functions receive
# the images of the GPU as (N, H, W, C), which is their row-major order, and results are turned back: views, all.

PLACE = 0, 3, 1, 2  # where each axis of (N, C, H, W) is in (N, H, W, C)


def in_memory_order(f):
    """Decorate a function of arrays, element by element: its result lies channels-last where an argument does."""

    @functools.wraps(f)
    def call(*args, **options):
        cupy = sys.modules.get("cupy")  # nothing is on a GPU before someone has imported it
        if cupy is None or not _images(args, cupy.ndarray):
            return f(*args, **options)
        return channels_first(f(*[_turned(a) if isinstance(a, cupy.ndarray) else a for a in args], **options))

    return call


def in_memory_order_along(f):
    """As `in_memory_order`, for a function of 4-D arrays that works along the axis with the number `axis`."""

    @functools.wraps(f)
    def call(*args, axis, **options):
        cupy = sys.modules.get("cupy")
        if cupy is None or not _images(args, cupy.ndarray):
            return f(*args, axis=axis, **options)
        return channels_first(f(*[a.transpose(0, 2, 3, 1) for a in args], axis=PLACE[axis], **options))

    return call


def _images(args, ndarray):
    """Whether the largest arrays among `args` are 4-D, one of them channels-last, and all arrays are the GPU's."""
    size, found = 0, False
    for a in args:
        if not isinstance(a, ndarray):
            if getattr(a, "ndim", 0):  # a Tensor, whose ops come by here themselves
                return False
        elif a.ndim > 4:
            return False
        elif a.size >= size:
            image = a.ndim == 4 and a.shape[1] > 1 and a.strides[1] == a.itemsize and not a.flags.c_contiguous
            size, found = a.size, image or (found and a.size == size)
    return found


def _turned(a):
    """An array as it is broadcast against (N, C, H, W), as one to be broadcast against (N, H, W, C)."""
    return a.reshape((1,) * (4 - a.ndim) + a.shape).transpose(0, 2, 3, 1) if a.ndim else a

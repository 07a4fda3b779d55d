"""Memory layout: arrays are logically N, C, H, W and lie in memory as N, H, W, C ("channels-last").

Weights of convolutions, logically (O, C, kh, kw), lie as (O, kh, kw, C): the same permutation, carried by the
strides, so that the same two views serve both.  Works on NumPy and CuPy arrays alike.
"""

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

"""Pooling on the CPU: running maxima over strided views, one for each tap of the window; no columns.

A maximum is pooled together with where it stood, as an index h·W + w into its plane, as PyTorch numbers them.
The adjoint of pooling then adds to those places (`unpool`), and the adjoint of that reads them (`gather_plane`).
"""

import itertools

import numpy as np

from . import threads
from .layout import channels_first, channels_last


def max_pool2d(x, kernel, stride, padding, dilation, out_size):
    """(N, C, H, W) → (y, indices), both (N, C, OH, OW): the maximum of each window and its place h·W + w, int64.

    kernel, stride, padding, dilation: pairs.  Padding never wins; among equals the first in reading order does.
    """
    X = channels_last(x)
    N, _, W, C = X.shape
    y = np.empty((N, *out_size, C), X.dtype)
    indices = np.empty(y.shape, np.int64)
    taps = list(itertools.product(range(kernel[0]), range(kernel[1])))
    corner = np.add.outer(  # of each window, (OH, OW), as an index into the plane; may lie in the padding
        (np.arange(out_size[0]) * stride[0] - padding[0]) * W, np.arange(out_size[1]) * stride[1] - padding[1]
    )
    offset = np.array([a * dilation[0] * W + b * dilation[1] for a, b in taps])
    small = np.uint8 if len(taps) <= 256 else np.int64

    def part(lo, hi):
        for i in range(lo, hi):  # one sample at a time stays in the cache
            xp = _padded(X[i : i + 1], kernel, stride, padding, dilation, out_size, -np.inf)
            best, winner = y[i : i + 1], np.zeros((1, *y.shape[1:]), small)
            for t, (a, b) in enumerate(taps):
                v = _tap(xp, a * dilation[0], b * dilation[1], stride, out_size)
                if t == 0:
                    best[...] = v
                else:
                    np.maximum(winner, (v > best) * small(t), out=winner)  # t rises, so the last to win is the largest
                    np.maximum(best, v, out=best)
            np.add(offset[winner], corner[:, :, None], out=indices[i : i + 1])

    threads.run(part, threads.parts(N, 8 * y.size * len(taps)))
    return channels_first(y), channels_first(indices)


def unpool(x, indices, size, windows=None):
    """(N, C, OH, OW) → (N, C, H, W) of zeros with every x *added* at its index: max-unpooling, adjoint of pooling.

    windows: what the GPU's kernel needs to know; see there.
    """
    X, at = channels_last(x), _flat_positions(indices, size)
    N, _, _, C = X.shape
    out = np.zeros((N, *size, C), X.dtype)
    np.add.at(out.reshape(-1), at.reshape(-1), X.reshape(-1))
    return channels_first(out)


def gather_plane(x, indices):
    """(N, C, H, W), indices (N, C, OH, OW) → x at those places; the adjoint of `unpool`."""
    return channels_first(channels_last(x).reshape(-1)[_flat_positions(indices, x.shape[2:])])


def _flat_positions(indices, size):
    """Plane indices (N, C, OH, OW) → positions in channels-last memory of an (N, C, *size) array, (N, OH, OW, C)."""
    at = channels_last(indices)
    N, _, _, C = at.shape
    sample = np.arange(N).reshape(-1, 1, 1, 1) * (size[0] * size[1] * C)
    return at * C + (sample + np.arange(C))


def sum_pool2d(x, kernel, stride, padding, out_size):
    """(N, C, H, W) → (N, C, OH, OW): the sum over each window; an average once divided by the number of its pixels."""
    X = channels_last(x)
    xp = _padded(X, kernel, stride, padding, (1, 1), out_size, 0)
    y = np.zeros((len(X), *out_size, X.shape[3]), X.dtype)
    for a, b in itertools.product(range(kernel[0]), range(kernel[1])):
        y += _tap(xp, a, b, stride, out_size)
    return channels_first(y)


def sum_pool2d_x(g, kernel, stride, padding, size):
    """The adjoint of `sum_pool2d`: (N, C, OH, OW) → (N, C, H, W); every pixel gets the g of all windows it is in."""
    G = channels_last(g)
    N, OH, OW, C = G.shape
    xp = _padded(np.zeros((N, *size, C), G.dtype), kernel, stride, padding, (1, 1), (OH, OW), 0)
    for a, b in itertools.product(range(kernel[0]), range(kernel[1])):
        _tap(xp, a, b, stride, (OH, OW))[...] += G
    x = xp[:, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    return channels_first(np.ascontiguousarray(x))


def _padded(x, kernel, stride, padding, dilation, out_size, value):
    """(n, H, W, C) with `value` around it, as far as the windows reach; x itself where they stay inside."""
    reach = [s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in zip(out_size, kernel, stride, dilation)]
    after = [max(0, r - p - n) for r, p, n in zip(reach, padding, x.shape[1:3])]
    if not any((*padding, *after)):
        return x
    margins = ((0, 0), (padding[0], after[0]), (padding[1], after[1]), (0, 0))
    return np.pad(x, margins, constant_values=value)


def _tap(xp, a, b, stride, out_size):
    """The view (n, OH, OW, C) of what one tap of the window sees."""
    return xp[:, a :: stride[0], b :: stride[1]][:, : out_size[0], : out_size[1]]

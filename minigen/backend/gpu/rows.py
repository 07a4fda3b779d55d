"""Sums, softmax, its logarithm, normalisation within a sample, and their adjoints: launches `rows.cu`.

The axes worked over are made the last ones: a view, without a copy, where they lie side by side in memory, as the
classes of (N, C) do, and C, H and W of channels-last images taken together.
"""

import math

import numpy as np

from .. import portable_chains
from .compile import REALS, ceil_div, kernel

WARP = 32  # threads of the smallest block; CuPy shares shorter rows out among more of them
ONE_BLOCK = 1 << 15  # so many numbers one block adds in less time than another launch takes
CHUNK, BLOCKS = 1 << 12, 512  # more are first added in chunks of at least that, by at most so many blocks


def softmax(x, axis):
    """pᵢ = e^{xᵢ} / Σⱼ e^{xⱼ}; the largest x is subtracted first."""
    if not _served(axis, x):
        return portable_chains.softmax(x, axis)
    return _launch("softmax", (x,), axis)


def softmax_grad(g, out, axis):
    """x̄ᵢ = pᵢ·(gᵢ − Σⱼ gⱼpⱼ)."""
    if not _served(axis, g, out):
        return portable_chains.softmax_grad(g, out, axis)
    return _launch("softmax_grad", (g, out), axis)


def log_softmax(x, axis):
    """xᵢ − ln Σⱼ e^{xⱼ}."""
    if not _served(axis, x):
        return portable_chains.log_softmax(x, axis)
    return _launch("log_softmax", (x,), axis)


def log_softmax_grad(g, out, axis):
    """x̄ᵢ = gᵢ − pᵢ·Σⱼ gⱼ."""
    if not _served(axis, g, out):
        return portable_chains.log_softmax_grad(g, out, axis)
    return _launch("log_softmax_grad", (g, out), axis)


def normalize(x, axis, eps):
    """(x − μ)/√(σ² + ε), μ and σ² over `axis`, an int or a tuple."""
    if not _served(axis, x):
        return portable_chains.normalize(x, axis, eps)
    return _launch("normalize", (x,), axis, eps)


def normalize_grad(g, x, out, axis, eps):
    """x̄ = (g − ⟨g⟩ − x̂·⟨g·x̂⟩) / √(σ² + ε), averages over `axis`; out: x̂, which is made again from x."""
    if not _served(axis, g, x):
        return portable_chains.normalize_grad(g, x, out, axis, eps)
    return _launch("normalize_grad", (g, x), axis, eps)


def total(x, axis, keepdims):
    """Σ x over `axis`: None (all), an int or a tuple."""
    return _sum(portable_chains.total, x, axis, keepdims, lambda n: 1)


def average(x, axis, keepdims):
    """Σ x / n over `axis`: None (all), an int or a tuple."""
    return _sum(portable_chains.average, x, axis, keepdims, lambda n: 1 / n)


def _sum(twin, x, axis, keepdims, factor):
    """Sums over what lies together in memory; CuPy serves the rest. All of a large array is summed in two steps."""
    axes = _axes(x, range(x.ndim) if axis is None else axis)
    rows, n = x.transpose(_last(x, axes)), math.prod(x.shape[a] for a in axes)
    if not _served(axes, x) or not rows.flags.c_contiguous or (n < WARP and n < x.size):
        return twin(x, axis, keepdims)
    if n < x.size or n <= ONE_BLOCK:
        y = _row_sum(rows, n, factor(n))
    else:
        y = _row_sum(_row_sum(rows, max(CHUNK, 4 * ceil_div(n, 4 * BLOCKS)), 1), BLOCKS, factor(n))
    return y.reshape(tuple(1 if a in axes else m for a, m in enumerate(x.shape) if keepdims or a not in axes))


def _row_sum(x, n, factor):
    """factor·Σ of each n numbers of x, in the order of memory; the last sum may be of fewer."""
    import cupy

    y = cupy.empty(ceil_div(x.size, n), x.dtype)
    width = _width([x], math.gcd(n, x.size))
    run = kernel("rows.cu", "row_sum", REAL=REALS[x.dtype], WIDTH=width)
    run((len(y),), (_threads(n, width),), (x, y, np.int32(n), np.int64(x.size), x.dtype.type(factor)))
    return y


def _served(axis, x, *others):
    """Whether rows.cu takes these arrays: of one type it knows, not empty."""
    return axis is not None and x.dtype in REALS and x.size > 0 and all(a.dtype == x.dtype for a in others)


def _axes(x, axis):
    """`axis`, an int or several, negative ones counted from the end, as a list of ints."""
    return [a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis)]


def _last(x, axes):
    """The order of axes in which `axes` come last, those of them first that have the longest steps in memory."""
    return (*(a for a in range(x.ndim) if a not in axes), *sorted(axes, key=lambda a: -x.strides[a]))


def _width(arrays, n):
    """How many numbers a thread can load at once from rows of n."""
    wide = 16 // arrays[0].itemsize
    return wide if n % wide == 0 and all(a.data.ptr % 16 == 0 for a in arrays) else 1


def _threads(n, width):
    """Of a block: a power of 2, each with about four loads."""
    return min(1024, max(WARP, 1 << (ceil_div(n, 4 * width) - 1).bit_length()))


def _launch(name, arrays, axis, *options):
    """The kernel `name` over `axis`; the result lies in memory as the last of `arrays`."""
    import cupy

    x = arrays[-1]
    axes = _axes(x, axis)
    order = _last(x, axes)
    arrays = [cupy.ascontiguousarray(a.transpose(order)) for a in arrays]
    n = math.prod(x.shape[a] for a in axes)
    width = _width(arrays, n)
    y = cupy.empty_like(arrays[0])
    run = kernel("rows.cu", name, REAL=REALS[x.dtype], WIDTH=width)
    run((x.size // n,), (_threads(n, width),), (*arrays, y, np.int32(n), *[x.dtype.type(o) for o in options]))
    return y.transpose(tuple(np.argsort(order).tolist()))

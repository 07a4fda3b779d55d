"""Softmax, its logarithm, normalisation within a sample, and their adjoints: launches `rows.cu`.

The axes worked over are made the last ones: a view, without a copy, where they lie side by side in memory, as the
classes of (N, C) do, and C, H and W of channels-last images taken together.
"""

import math

import numpy as np

from .. import portable_chains
from .compile import ceil_div, kernel

TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


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


def _served(axis, x, *others):
    """Whether rows.cu takes these arrays: of one type it knows, not empty."""
    return axis is not None and x.dtype in TYPES and x.size > 0 and all(a.dtype == x.dtype for a in others)


def _launch(name, arrays, axis, *options):
    """The kernel `name` over `axis`; the result lies in memory as the last of `arrays`."""
    import cupy

    x = arrays[-1]
    axes = [a % x.ndim for a in (axis if isinstance(axis, tuple | list) else (axis,))]
    order = [a for a in range(x.ndim) if a not in axes] + sorted(axes, key=lambda a: -x.strides[a])
    arrays = [cupy.ascontiguousarray(a.transpose(order)) for a in arrays]
    n = math.prod(x.shape[a] for a in axes)
    wide = 16 // x.itemsize
    width = wide if n % wide == 0 and all(a.data.ptr % 16 == 0 for a in arrays) else 1
    threads = min(1024, max(32, 1 << (ceil_div(n, 4 * width) - 1).bit_length()))
    y = cupy.empty_like(arrays[0])
    run = kernel("rows.cu", name, REAL=TYPES[x.dtype], WIDTH=width)
    run((x.size // n,), (threads,), (*arrays, y, np.int32(n), *[x.dtype.type(o) for o in options]))
    return y.transpose(np.argsort(order).tolist())

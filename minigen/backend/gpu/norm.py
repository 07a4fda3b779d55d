"""Sums per channel and batch normalisation on the GPU, with the activation that follows: launches `norm.cu`.

Arrays are read as rows (M, C), one for each sample and position, which channels-last memory is without a copy.
Few rows: one launch does it all. Many: they are cut into chunks, whose results a second kernel takes together in
their order (the same bits each time, on every GPU), and a third one writes y or x̄.
"""

import numpy as np

from .. import portable
from ..layout import like, rows
from .compile import REALS, ceil_div, kernel

THREADS = 256  # a block, as in norm.cu
CHANNELS = 32  # of a block: 128 bytes of float32, a line of the cache
ROWS = 32  # as many a thread takes one after another before it is worth another launch
BLOCKS = 512  # enough to fill the largest GPU; fixed, so that results do not depend on which


def channel_sum(g):
    """(N, C, H, W) or (N, C) → (C,): the sum over all axes but the channels; the gradient of a bias."""
    if not _served(g):
        return portable.channel_sum(g)
    r = _Rows(g)
    part = r.new(r.chunks * r.C)
    r.launch("channel_sum", r.chunks, (*r.arrays, part, *r.size))
    return r.over_chunks(part, r.C)


def leaky_relu_bias_grad(g, out, slope):
    """(z̄, Σ z̄ by channel), for out = leaky_relu(z): z̄ = g where out > 0, slope·g elsewhere.  Both as `channel_sum`."""
    if not _served(out, g):
        return portable.leaky_relu_bias_grad(g, out, slope)
    r = _Rows(g, out)
    dz, part = r.empty(), r.new(r.chunks * r.C)
    r.launch("leaky_relu_bias_grad", r.chunks, (*r.arrays, dz, part, *r.size, r.number(slope)))
    return like(dz, out), r.over_chunks(part, r.C)


def batch_norm(x, weight, bias, eps, slope=1.0, running=None):
    """y = leaky(z), z = (x − μ) / √(σ² + eps) · weight + bias, μ and biased σ² of each channel over all other axes.

    x: (N, C, H, W) or (N, C); weight, bias: (C,) or None (1 and 0).  slope: of leaky ReLU; 0: ReLU, 1: none.
    running: None or (mean, var, count, momentum): mean and var (C,) move by momentum·(batch − running), with the
    unbiased variance, and count, int64 of shape () or None, by 1: in place.
    Returns (y, μ, σ²), y in the shape of x.
    """
    kept = running or (None, None, None, 0.0)
    if not _served(x, weight, bias, *kept[:2]) or not _writable(*kept[:3]):
        return portable.batch_norm(x, weight, bias, eps, slope, running)
    r = _Rows(x)
    weight, bias, eps, slope = _vector(weight), _vector(bias), r.number(eps), r.number(slope)
    y, part, mean, var = r.empty(), r.new(2 * r.chunks * r.C), r.new(r.C), r.new(r.C)
    statistics = part, mean, var, *kept[:3], r.number(kept[3])
    r.launch("batch_norm", r.chunks, (*r.arrays, weight, bias, y, *statistics, *r.size, eps, slope))
    if r.chunks > 1:
        r.merge("merge_moments", r.C, (*r.arrays, *statistics, np.int32(r.chunks), *r.size))
        r.launch("apply_batch_norm", r.blocks, (*r.arrays, weight, bias, y, mean, var, *r.size, eps, slope))
    return like(y, x), mean, var


def batch_norm_grad(g, x, weight, bias, mean, var, eps, slope=1.0):
    """Gradients of `batch_norm` in x, weight and bias.  `mean` and `var` are what it returned.

    With z̄ = g where z > 0, slope·g elsewhere, x̂ = (x − μ)/σ and averages over the M rows:
    x̄ = weight/σ·(z̄ − ⟨z̄⟩ − x̂·⟨z̄·x̂⟩), weight¯ = Σ z̄·x̂, bias¯ = Σ z̄.  z is computed again, so y need not be kept.
    Returns (x̄, weight¯, bias¯); the last two are (C,) also where weight is None.
    """
    if not _served(g, x, weight, bias, mean, var):
        return portable.batch_norm_grad(g, x, weight, bias, mean, var, eps, slope)
    r = _Rows(g, x)
    given = *r.arrays, *map(_vector, (weight, bias, mean, var))
    dx, part, numbers = r.empty(), r.new(2 * r.chunks * r.C), (*r.size, r.number(eps), r.number(slope))
    r.launch("batch_norm_grad", r.chunks, (*given, dx, part, *numbers))
    sums = r.over_chunks(part, 2 * r.C)
    if r.chunks > 1:
        r.launch("apply_batch_norm_grad", r.blocks, (*given, sums, dx, *numbers))
    return like(dx, x), sums[r.C :], sums[: r.C]


def _served(x, *others):
    """Whether norm.cu takes these arrays: of one type it knows, none of them empty."""
    return x.dtype in REALS and x.size > 0 and all(a is None or a.dtype == x.dtype for a in others)


def _writable(mean, var, count):
    """Whether norm.cu can write these arrays (or None) in place, the first two as (C,)."""
    dense = all(a is None or a.flags.c_contiguous for a in (mean, var))
    return dense and (count is None or count.dtype == np.int64)


def _vector(v):
    """(C,) in dense memory; None stays None."""
    import cupy

    return None if v is None else cupy.ascontiguousarray(v)


class _Rows:
    """Arrays of one shape as rows (M, C), and how they are shared out among blocks."""

    def __init__(self, *arrays):
        self.arrays, self.dtype = [rows(a) for a in arrays], arrays[0].dtype
        self.M, self.C = self.arrays[0].shape
        self.size = np.int64(self.M), np.int32(self.C)
        wide = 16 // self.dtype.itemsize
        aligned = all(a.data.ptr % 16 == 0 for a in self.arrays)
        self.width = wide if aligned and self.C % wide == 0 else 1
        lanes = min(CHANNELS // self.width, 1 << max(0, ceil_div(self.C, self.width) - 1).bit_length())
        self.block = lanes, THREADS // lanes
        self.columns = ceil_div(self.C, lanes * self.width)
        self.chunks = self._shares(ROWS)
        self.blocks = self._shares(4)

    def _shares(self, each):
        """In how many chunks to cut the rows, so that a thread has `each` rows, or more where the GPU is full."""
        return max(1, min(ceil_div(self.M, self.block[1] * each), BLOCKS // self.columns))

    def new(self, n):
        import cupy

        return cupy.empty(n, self.dtype)

    def empty(self):
        import cupy

        return cupy.empty_like(self.arrays[0])

    def number(self, n):
        return self.dtype.type(n)

    def launch(self, name, chunks, args):
        self._kernel(name, self.width)((chunks, self.columns), self.block, args)

    def merge(self, name, n, args):
        """A kernel with one lane for each of n numbers, whose rows of threads share the chunks."""
        self._kernel(name, 1)((ceil_div(n, 32),), (32, THREADS // 32), args)

    def over_chunks(self, part, n):
        """Σ of the n numbers that each chunk has left in `part`, over the chunks: (n,)."""
        if self.chunks == 1:
            return part
        total = self.new(n)
        self.merge("add_chunks", n, (part, total, np.int32(self.chunks), np.int32(n)))
        return total

    def _kernel(self, name, width):
        return kernel("norm.cu", name, REAL=REALS[self.dtype], WIDTH=width)

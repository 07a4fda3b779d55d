"""Convolution on the CPU: blocked im2col and GEMM, channels-last, and its two adjoints.

With the trilinear form T(x, w, g) = ⟨conv(x, w), g⟩ the three functions are its derivatives:
  conv2d = ∂T/∂g,   conv2d_x = ∂T/∂x (the transposed convolution),   conv2d_w = ∂T/∂w.

Columns.  A window of a channels-last image is kh runs of kw·C contiguous numbers, so copying windows into the rows
of a matrix (im2col) is nearly a memcpy, and one product with the (kh·kw·C, O) kernel gives the output.

Blocks.  Only about 2 MiB of columns exist at a time: they are multiplied while they are in the cache.  Threads
share the batch.  The weight gradient makes the columns again, as fast as keeping kh·kw copies of the input.

Phases.  The input gradient of a convolution with stride s is s² small convolutions with stride 1, one for each
residue of the pixel's position mod s, each with the taps that can reach it.  Nothing is scattered, nothing added
twice.  For images of few channels it is cheaper to add whole planes: see cpu_planar.py.

Bands.  Output rows and columns near the border do not see the whole kernel.  Those that see the same taps form a band,
which skips the others: on 7×7 maps a 5×5 kernel saves a sixth of the products along each axis, 31 % in all.
"""

import functools
import itertools
import math
import operator

import numpy as np

from . import conv_axes, cpu_planar, threads
from .cpu_elementwise import finish
from .layout import channels_first, channels_last

COLUMNS = 2 << 20  # bytes of columns that are made and multiplied at a time
INPUT = 2 << 20  # bytes of padded input that are made at a time


def conv2d(x, weight, bias, stride, padding, dilation, groups, out_size=None, slope=1.0):
    """Cross-correlation as in PyTorch: (N, C, H, W), (O, C/groups, kh, kw), (O,) or None → (N, O, OH, OW).

    stride, padding, dilation: pairs (height, width).  out_size=(OH, OW): so many rows and columns, of an image with
    zeros all around; needed where this runs as the adjoint of a `conv2d_x` whose size leaves trailing rows unread.
    slope: the result goes through leaky ReLU of that slope.
    """
    x, w = channels_last(x), channels_last(weight)
    kernel = w.shape[1:3]
    out_size = out_size or conv_axes.output_size(x.shape[1:3], kernel, stride, padding, dilation)
    y = np.empty((len(x), *out_size, len(w)), np.result_type(x, w))
    plan = _Plan(conv_axes.windows, x, out_size, kernel, stride, padding, dilation, groups)
    _correlate(plan, w, y, bias, slope)
    return channels_first(y)


def conv2d_x(g, weight, size, stride, padding, dilation, groups, bias=None, slope=1.0):
    """Adjoint of `conv2d` in x, the transposed convolution: (N, O, OH, OW), (O, C/groups, kh, kw) → (N, C, H, W).

    size=(H, W) of the result.  bias: (C,) or None, added to the result.  slope: as of `conv2d`.
    """
    g, w = channels_last(g), channels_last(weight)
    O, kh, kw, Cg = w.shape
    if cpu_planar.suits(Cg, groups):
        return channels_first(cpu_planar.conv2d_x(g, w, size, stride, padding, dilation, bias, slope))
    x = np.empty((len(g), *size, Cg * groups), np.result_type(g, w))
    kernel = w.reshape(groups, O // groups, kh, kw, Cg).transpose(0, 4, 2, 3, 1)  # groups C/groups kh kw O/groups
    kernel = kernel.reshape(Cg * groups, kh, kw, O // groups)[:, ::-1, ::-1]  # so that taps rise where g's index does
    plan = _Plan(conv_axes.phases, g, size, (kh, kw), stride, padding, dilation, groups)
    _correlate(plan, kernel, x, bias, slope)
    return channels_first(x)


def conv2d_w(x, g, size, stride, padding, dilation, groups):
    """Adjoint of `conv2d` in the weight: (N, C, H, W), (N, O, OH, OW) → (O, C/groups, kh, kw), size=(kh, kw)."""
    x, g = channels_last(x), channels_last(g)
    O, Og, Cg = g.shape[3], g.shape[3] // groups, x.shape[3] // groups
    dtype = np.result_type(x, g)
    plan = _Plan(conv_axes.windows, x, g.shape[1:3], size, stride, padding, dilation, groups)

    def part(lo, hi):
        w = np.zeros((groups, Og, *size, Cg), dtype)
        for samples, rows, cols, k, columns in plan.columns(lo, hi):
            gk = g[samples, rows.outputs, cols.outputs, k * Og : (k + 1) * Og].reshape(-1, Og)
            seen = w[k, :, _slice(rows.taps), _slice(cols.taps)]
            seen += (gk.T @ columns).reshape(seen.shape)
        return w

    flop = 2 * g.size * size[0] * size[1] * Cg
    w = functools.reduce(operator.add, threads.run(part, threads.parts(len(x), flop)))
    return channels_first(w.reshape(O, *size, Cg))


# ------------------------------------------------------------------------------------------ columns and products


class _Plan:
    """Walks over a batch in blocks and makes the columns of every pair (rows, cols) of planned axes."""

    def __init__(self, axis_plan, x, out_size, kernel, stride, padding, dilation, groups):
        """axis_plan: `conv_axes.windows` or `conv_axes.phases`; x: contiguous (N, H, W, C)."""
        self.x, self.groups = x, groups
        products = math.prod(kernel) * x.shape[3] // groups
        if axis_plan is conv_axes.phases:
            products //= math.prod(stride)
        self.rows, self.cols = (
            axis_plan(*axis, products) for axis in zip(x.shape[1:3], out_size, kernel, stride, padding, dilation)
        )
        self.pairs = [(a, b) for a in self.rows for b in self.cols if a.taps and b.taps]
        self.margins = tuple(
            (max([0, *(-p[axis].start for p in self.pairs)]), max([0, *(p[axis].end - n for p in self.pairs)]))
            for axis, n in enumerate(x.shape[1:3])
        )

    @property
    def covers_all(self):
        """Whether every output sees some tap."""
        return len(self.pairs) == len(self.rows) * len(self.cols)

    def columns(self, lo, hi):
        """Yields (samples, rows, cols, group, columns) for [lo, hi); columns: (samples·positions, taps·C/groups)."""
        x, ((top, bottom), (left, right)) = self.x, self.margins
        C = x.shape[3] // self.groups
        height, width = x.shape[1] + top + bottom, x.shape[2] + left + right
        for i, j in _blocks(lo, hi, INPUT, height * width * x.shape[3] * x.itemsize):
            padded = _pad(x[i:j], self.margins)
            for rows, cols in self.pairs:
                positions, taps = rows.count * cols.count, len(rows.taps) * len(cols.taps)
                for a, b in _blocks(i, j, COLUMNS, positions * taps * C * x.itemsize):
                    for k in range(self.groups):
                        corner = (rows.start + top, cols.start + left, k * C)
                        yield slice(a, b), rows, cols, k, _im2col(padded[a - i : b - i], corner, C, rows, cols)


def _blocks(lo, hi, limit, sample):
    """[lo, hi) in near-equal ranges whose samples, of so many bytes each, stay within the limit (or are one)."""
    n = hi - lo
    count = -(-n // max(1, limit // max(1, sample)))
    return [(lo + n * i // count, lo + n * (i + 1) // count) for i in range(count)]


def _pad(x, margins):
    """(n, H, W, C) with margins of zeros.  np.pad does the same, with 30 µs of Python."""
    (top, bottom), (left, right) = margins
    if not (top or bottom or left or right):
        return x
    n, h, w, c = x.shape
    out = np.empty((n, top + h + bottom, left + w + right, c), x.dtype)
    out[:, :top] = 0
    out[:, top + h :] = 0
    out[:, top : top + h, :left] = 0
    out[:, top : top + h, left + w :] = 0
    out[:, top : top + h, left : left + w] = x
    return out


def _im2col(x, corner, C, rows, cols):
    """Windows of contiguous x (n, H, W, ≥ C), the first at `corner` (h, w, c) → a new (n·rows·cols, taps·C).

    A run of adjoining numbers is copied as *one* element of an opaque type of its size: NumPy then spends 2 ns on
    a short run instead of 4.
    """
    n, H, W, channels = x.shape
    sc = x.itemsize
    sw = sc * channels
    sh = sw * W  # not x.strides: where an axis has length 1, they may be anything
    taps_h, taps_w, run = len(rows.taps), len(cols.taps), C * sc
    if sw * cols.dilation == run or taps_w == 1:  # kw·C numbers lie side by side
        taps_w, run = 1, run * taps_w
    windows = np.ndarray(
        (n, rows.count, cols.count, taps_h, taps_w),
        f"V{run}",
        buffer=x,
        offset=corner[0] * sh + corner[1] * sw + corner[2] * sc,
        strides=(sh * H, sh * rows.stride, sw * cols.stride, sh * rows.dilation, sw * cols.dilation),
    )
    return windows.copy().view(x.dtype).reshape(n * rows.count * cols.count, -1)


def _matrices(kernel, pairs):
    """{(rows, cols): (taps·C, O)} of a kernel (O, kh, kw, C): one copy for each set of columns, its rows are views.

    A copy even of the whole kernel: BLAS multiplies few rows by a contiguous matrix 10 % faster than by a view.
    """
    kernel = kernel.transpose(1, 2, 3, 0)
    all_cols = list(dict.fromkeys(cols for _, cols in pairs))

    def copies(lo, hi):
        return [np.ascontiguousarray(kernel[:, _slice(cols.taps)]) for cols in all_cols[lo:hi]]

    copied = threads.run(copies, threads.parts(len(all_cols), 100 * kernel.size * len(all_cols)))
    by_cols = dict(zip(all_cols, itertools.chain(*copied)))
    return {(a, b): by_cols[b][_slice(a.taps)].reshape(-1, kernel.shape[3]) for a, b in pairs}


def _slice(taps):
    return slice(taps.start, taps.stop, taps.step)


def _correlate(plan, kernel, y, bias, slope):
    """y (N, OH, OW, O) = the correlations of plan.x (N, H, W, C) with kernel (O, kh, kw, C/groups), plus bias (O,).

    It all goes through leaky ReLU of that slope.
    """
    O = y.shape[3]
    Og = O // plan.groups
    if not plan.covers_all:
        y[...] = 0
    matrices = _matrices(kernel, plan.pairs)

    def part(lo, hi):
        for samples, rows, cols, k, columns in plan.columns(lo, hi):
            out = y[samples, rows.outputs, cols.outputs]
            w = matrices[rows, cols][:, k * Og : (k + 1) * Og]
            if out.flags.c_contiguous:
                np.matmul(columns, w, out=out.reshape(-1, O)[:, k * Og : (k + 1) * Og])
            else:
                out[..., k * Og : (k + 1) * Og] = (columns @ w).reshape(*out.shape[:3], Og)
        finish(y[lo:hi], bias, slope)  # doing so block by block costs more: they are small

    products = sum(a.count * b.count * matrices[a, b].size for a, b in plan.pairs)
    threads.run(part, threads.parts(len(y), 2 * len(y) * products))

"""Convolution on the CPU: blocked im2col and GEMM, channels-last, and its two adjoints.

With the trilinear form T(x, w, g) = ⟨conv(x, w), g⟩ the three functions are its derivatives:
  conv2d = ∂T/∂g,   conv2d_x = ∂T/∂x (the transposed convolution),   conv2d_w = ∂T/∂w.

Columns.  A window of a channels-last image is kh runs of kw·C contiguous numbers, so copying windows into the rows
of a matrix (im2col) is nearly a memcpy, and one product with the (kh·kw·C, O) kernel gives the output.

Blocks.  Only about 3 MiB of columns exist at a time: they are multiplied while they are in the cache.  Threads
share the batch.  The weight gradient makes the columns again, as fast as keeping kh·kw copies of the input.

Phases.  The input gradient of a convolution with stride s is s² small convolutions with stride 1, one for each
residue of the pixel's position mod s, each with the taps that can reach it.  Nothing is scattered, nothing added
twice.  For images of few channels it is cheaper to add whole planes: see cpu_planar.py.

Bands.  Output rows near the border do not see the whole kernel.  Rows that see the same taps form a band and skip
the others: on 7×7 maps a 5×5 kernel saves a sixth of the products.
"""

import functools
import itertools
import math
import operator
from typing import NamedTuple

import numpy as np

from . import cpu_planar, threads
from .layout import channels_first, channels_last

COLUMNS = 3 << 20  # bytes of columns that are made and multiplied at a time
INPUT = 2 << 20  # bytes of padded input that are made at a time


class Axis(NamedTuple):
    """One axis of a correlation: out[first + step·i] = Σ_t x[start + stride·i + dilation·t] · w[taps[t]], i < count."""

    first: int
    step: int
    count: int
    taps: range
    start: int
    stride: int
    dilation: int

    @property
    def outputs(self):
        return slice(self.first, self.first + self.step * self.count, self.step)

    @property
    def end(self):
        """One past the last index of x that is read."""
        return self.start + self.stride * (self.count - 1) + self.dilation * (len(self.taps) - 1) + 1


def conv2d(x, weight, bias, stride, padding, dilation, groups, out_size=None):
    """Cross-correlation as in PyTorch: (N, C, H, W), (O, C/groups, kh, kw), (O,) or None → (N, O, OH, OW).

    stride, padding, dilation: pairs (height, width).  out_size=(OH, OW): so many rows and columns, of an image with
    zeros all around; needed where this runs as the adjoint of a `conv2d_x` whose size leaves trailing rows unread.
    """
    x, w = channels_last(x), channels_last(weight)
    kernel = w.shape[1:3]
    out_size = out_size or output_size(x.shape[1:3], kernel, stride, padding, dilation)
    y = np.empty((len(x), *out_size, len(w)), np.result_type(x, w))
    rows, cols = _windows(x.shape[1:3], out_size, kernel, stride, padding, dilation)
    _correlate(x, w.transpose(1, 2, 3, 0), y, bias, groups, rows, cols)
    return channels_first(y)


def conv2d_x(g, weight, size, stride, padding, dilation, groups, bias=None):
    """Adjoint of `conv2d` in x, the transposed convolution: (N, O, OH, OW), (O, C/groups, kh, kw) → (N, C, H, W).

    size=(H, W) of the result.  bias: (C,) or None, added to the result.
    """
    g, w = channels_last(g), channels_last(weight)
    O, kh, kw, Cg = w.shape
    if cpu_planar.suits(Cg, groups):
        return channels_first(cpu_planar.conv2d_x(g, w, size, stride, padding, dilation, bias))
    x = np.empty((len(g), *size, Cg * groups), np.result_type(g, w))
    kernel = w.reshape(groups, O // groups, kh, kw, Cg).transpose(2, 3, 1, 0, 4)  # kh kw O/groups groups C/groups
    rows, cols = (
        _phases(n_in, n, k, s, p, d)
        for n_in, n, k, s, p, d in zip(g.shape[1:3], size, (kh, kw), stride, padding, dilation)
    )
    _correlate(g, kernel.reshape(kh, kw, O // groups, Cg * groups), x, bias, groups, rows, cols)
    return channels_first(x)


def conv2d_w(x, g, size, stride, padding, dilation, groups):
    """Adjoint of `conv2d` in the weight: (N, C, H, W), (N, O, OH, OW) → (O, C/groups, kh, kw), size=(kh, kw)."""
    x, g = channels_last(x), channels_last(g)
    O, Og, Cg = g.shape[3], g.shape[3] // groups, x.shape[3] // groups
    dtype = np.result_type(x, g)
    plan = _Plan(x, *_windows(x.shape[1:3], g.shape[1:3], size, stride, padding, dilation), groups)

    def part(lo, hi):
        w = np.zeros((groups, Og, size[0], size[1] * Cg), dtype)
        for samples, rows, _, k, columns in plan.columns(lo, hi):
            gk = g[samples, rows.outputs, :, k * Og : (k + 1) * Og].reshape(-1, Og)
            w[k, :, _slice(rows.taps)] += (gk.T @ columns).reshape(Og, len(rows.taps), -1)
        return w

    flop = 2 * g.size * size[0] * size[1] * Cg
    w = functools.reduce(operator.add, threads.run(part, threads.parts(len(x), flop)))
    return channels_first(w.reshape(O, *size, Cg))


def output_size(size, kernel, stride, padding, dilation):
    """(OH, OW) of a convolution: ⌊(H + 2p − d(k − 1) − 1) / s⌋ + 1 on each axis."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
    )


# ------------------------------------------------------------------------------- which output reads which input


def _windows(size, out_size, kernel, stride, padding, dilation):
    """The correlation that is `conv2d`: bands of rows, and all columns at once."""
    rows, cols = (
        Axis(0, 1, n, range(k), -p, s, d) for n, k, s, p, d in zip(out_size, kernel, stride, padding, dilation)
    )
    return _bands(rows, size[0]), [cols]


def _phases(n_in, n, k, s, p, d):
    """The correlations with stride 1 that are the adjoint of one on this axis, one for each residue mod s.

    Pixel h gets g[i]·w[t] wherever s·i − p + d·t = h, so t must satisfy d·t ≡ h + p (mod s): every q-th tap, with
    q = s/gcd(s, d).  Between such taps i moves by d/gcd(s, d), downwards: hence the taps in falling order.
    """
    common = math.gcd(s, d)
    phases = []
    for residue in range(s):
        first = (residue - p) % s  # the first pixel with first + p ≡ residue
        count = -(-(n - first) // s)
        last_tap = max((t for t in range(k) if (d * t - residue) % s == 0), default=-1)
        start = (first + p - d * last_tap) // s
        if count > 0:
            phase = Axis(first, s, count, range(last_tap, -1, -(s // common)), start, 1, d // common)
            phases.extend(_bands(phase, n_in))
    return phases


def _bands(axis, size):
    """The axis cut into runs of outputs that see the same taps; the others fall on the zeros around x."""

    def seen(i):
        at = axis.start + axis.stride * i  # where tap 0 falls
        lo, hi = -(at // axis.dilation), -((at - size) // axis.dilation)
        return max(0, lo), max(0, min(len(axis.taps), hi))

    bands = []
    for (lo, hi), run in itertools.groupby(range(axis.count), seen):
        i, *others = run
        bands.append(
            axis._replace(
                first=axis.first + axis.step * i,
                count=1 + len(others),
                taps=axis.taps[lo:hi],
                start=axis.start + axis.stride * i + axis.dilation * lo,
            )
        )
    return bands


# ------------------------------------------------------------------------------------------ columns and products


class _Plan:
    """Walks over a batch in blocks and makes the columns of every pair (row axis, column axis)."""

    def __init__(self, x, rows, cols, groups):
        self.x, self.groups = x, groups
        self.pairs = [(a, b) for a in rows for b in cols if a.taps and b.taps]
        self.margins = tuple(
            (max([0, *(-p[axis].start for p in self.pairs)]), max([0, *(p[axis].end - n for p in self.pairs)]))
            for axis, n in enumerate(x.shape[1:3])
        )

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
    """[lo, hi) in ranges whose samples, of so many bytes each, stay within the limit (one sample at least)."""
    step = max(1, limit // max(1, sample))
    return [(i, min(i + step, hi)) for i in range(lo, hi, step)]


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


def _slice(taps):
    """A range as a slice; one that falls to 0 must end in None, as −1 would count from the back."""
    return slice(taps.start, taps.stop if taps.stop >= 0 else None, taps.step)


def _correlate(x, kernel, y, bias, groups, rows, cols):
    """y (N, OH, OW, O) = the correlations of x (N, H, W, C) with kernel (kh, kw, C/groups, O), plus bias."""
    O = y.shape[3]
    Og = O // groups
    plan = _Plan(x, rows, cols, groups)
    if len(plan.pairs) < len(rows) * len(cols):
        y[...] = 0  # some outputs see no tap at all
    matrices = {
        (a, b): kernel[_slice(a.taps), _slice(b.taps)].reshape(-1, O) for a, b in plan.pairs
    }  # views where possible

    def part(lo, hi):
        for samples, rows, cols, k, columns in plan.columns(lo, hi):
            out = y[samples, rows.outputs, cols.outputs]
            w = matrices[rows, cols][:, k * Og : (k + 1) * Og]
            if out.flags.c_contiguous:
                np.matmul(columns, w, out=out.reshape(-1, O)[:, k * Og : (k + 1) * Og])
            else:
                out[..., k * Og : (k + 1) * Og] = (columns @ w).reshape(*out.shape[:3], Og)
        if bias is not None:
            y[lo:hi] += bias

    flop = 2 * len(x) * O * kernel.shape[2] * sum(a.count * len(a.taps) * b.count * len(b.taps) for a, b in plan.pairs)
    threads.run(part, threads.parts(len(x), flop))

"""Transposed convolution into few channels (images), on the CPU.

With C ≤ 4 output channels the phases of cpu_conv.py would copy windows of a wide array to get a few numbers.
Here the product comes first: one GEMM gives, for every tap and channel, a whole plane (N, OH, OW) to be added to
the image at the tap's offset.  No column is ever copied.

With stride s, a tap only touches every s-th row and column of the image.  So the image is kept as s·s phases, each
with the pixels of one residue mod s side by side: then all additions run over contiguous rows, and the phases are
interleaved once, at the end.
"""

import itertools

import numpy as np

from . import threads
from .cpu_elementwise import finish

FEW = 4  # channels up to which planes win
PLANES = 4 << 20  # bytes of planes that are made and added at a time


def suits(channels, groups):
    return channels <= FEW and groups == 1


def conv2d_x(g, w, size, stride, padding, dilation, bias, slope):
    """As `cpu_conv.conv2d_x` for one group, all channels-last: g (N, OH, OW, O), w (O, kh, kw, C) → (N, H, W, C)."""
    N, OH, OW, O = g.shape
    _, *kernel, C = w.shape
    x = np.empty((N, *size, C), np.result_type(g, w))
    matrix = w.reshape(O, -1).T  # kh·kw·C, O
    block = max(1, PLANES // max(1, OH * OW * len(matrix) * x.itemsize))

    def part(lo, hi):
        for i in range(lo, hi, block):
            j = min(hi, i + block)
            planes = (matrix @ g[i:j].reshape(-1, O).T).reshape(*kernel, C, j - i, OH, OW)
            phases = _add_planes(planes, size, stride, padding, dilation)
            _interleave(phases, x[i:j], stride, padding, bias)
            finish(x[i:j], None, slope)

    threads.run(part, threads.parts(N, 2 * g.size * len(matrix)))
    return x


def _add_planes(planes, size, stride, padding, dilation):
    """Planes (kh, kw, C, n, OH, OW), each at its offset in the padded image → phases (s, s, C, n, rows, columns)."""
    kh, kw, C, n, OH, OW = planes.shape
    extent = [
        -(-max(p + length, s * (out - 1) + d * (k - 1) + 1) // s)
        for length, out, k, s, p, d in zip(size, (OH, OW), (kh, kw), stride, padding, dilation)
    ]
    phases = np.zeros((*stride, C, n, *extent), planes.dtype)
    for a, b in itertools.product(range(kh), range(kw)):
        row, phase_h = divmod(a * dilation[0], stride[0])
        col, phase_w = divmod(b * dilation[1], stride[1])
        phases[phase_h, phase_w, :, :, row : row + OH, col : col + OW] += planes[a, b]
    return phases


def _interleave(phases, x, stride, padding, bias):
    """x (n, H, W, C) = the padded image that the phases make up, without its padding, plus bias (C,)."""
    for h, v, c in itertools.product(range(stride[0]), range(stride[1]), range(x.shape[3])):
        pixels = x[
            :, h :: stride[0], v :: stride[1], c
        ]  # all of one phase: h + padding is their row in the padded image
        row, phase_h = divmod(h + padding[0], stride[0])
        col, phase_w = divmod(v + padding[1], stride[1])
        phase = phases[phase_h, phase_w, c, :, row : row + pixels.shape[1], col : col + pixels.shape[2]]
        np.add(phase, 0 if bias is None else bias[c], out=pixels)

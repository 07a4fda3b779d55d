"""Transposed convolution into few channels (images), on the CPU.

With C ≤ 4 output channels the phases of cpu_conv.py would copy windows of a wide array to get a few numbers.
Here the product comes first: one GEMM gives, for every tap and channel, a whole plane (N, OH, OW); each is added
to the image in one strided pass.  kh·kw·C passes over planes, no column is ever copied.
"""

import numpy as np

from . import threads

FEW = 4  # channels up to which planes win
PLANES = 3 << 20  # bytes of planes that are made and added at a time


def suits(channels, groups):
    return channels <= FEW and groups == 1


def conv2d_x(g, w, size, stride, padding, dilation, bias):
    """As `cpu_conv.conv2d_x` for one group, all channels-last: g (N, OH, OW, O), w (O, kh, kw, C) → (N, H, W, C)."""
    N, OH, OW, O = g.shape
    _, kh, kw, C = w.shape
    (s0, s1), (p0, p1), (d0, d1), (H, W) = stride, padding, dilation, size
    reach = max(H + p0, s0 * (OH - 1) + d0 * (kh - 1) + 1), max(W + p1, s1 * (OW - 1) + d1 * (kw - 1) + 1)
    x = np.empty((N, H, W, C), np.result_type(g, w))
    kernel = w.reshape(O, -1).T  # kh·kw·C, O
    block = max(1, PLANES // max(1, OH * OW * kh * kw * C * x.itemsize))

    def part(lo, hi):
        for i in range(lo, hi, block):
            j = min(hi, i + block)
            planes = (kernel @ g[i:j].reshape(-1, O).T).reshape(kh, kw, C, j - i, OH, OW)
            image = np.zeros((C, j - i, *reach), x.dtype)
            for a in range(kh):
                for b in range(kw):
                    image[:, :, a * d0 :: s0, b * d1 :: s1][:, :, :OH, :OW] += planes[a, b]
            x[i:j] = image[:, :, p0 : p0 + H, p1 : p1 + W].transpose(1, 2, 3, 0)
            if bias is not None:
                x[i:j] += bias

    threads.run(part, threads.parts(N, 2 * g.size * kh * kw * C))
    return x

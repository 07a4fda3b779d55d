"""Convolution, its two adjoints and matrix products: what launches igemm.cu.

Arrays that the kernel does not serve go to the portable twin: all but float32, groups, 2³¹ elements and more, an input
gradient with both stride and dilation on one axis, GPUs older than compute capability 6.0 (Pascal, 2016), batches of
matrices.  To what the factors are rounded, and on which GPUs by tensor cores: see precision.py; what the portable twin
does is not rounded.

Nothing here waits for the GPU, copies to or from the host or allocates past CuPy's pool, so a stream can capture it.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .. import portable
from ..arrays import namespace
from ..conv_axes import output_size
from ..layout import channels_first, channels_last
from ..precision import check, precision
from .compile import ceil_div, kernel
from .sharing import OLDEST, Work, extents, gpu, operand, share

# ------------------------------------------------------------------------------------------------ the portable names


def conv2d(x, weight, bias, stride, padding, dilation, groups, out_size=None, slope=1.0):
    """As `portable.conv2d`: (N, C, H, W), (O, C, kh, kw), (O,) or None → (N, O, OH, OW)."""
    kernel_size = weight.shape[2:]
    out_size = out_size or output_size(x.shape[2:], kernel_size, stride, padding, dilation)
    shape = len(x), *out_size, len(weight)
    if groups > 1 or not _served(shape, x, weight, bias):
        return portable.conv2d(x, weight, bias, stride, padding, dilation, groups, out_size, slope)
    axes = out_size, kernel_size, stride, padding, dilation
    return channels_first(_product("FORWARD", channels_last(x), channels_last(weight), shape, axes, bias, slope))


def conv2d_x(g, weight, size, stride, padding, dilation, groups, bias=None, slope=1.0):
    """As `portable.conv2d_x`: (N, O, OH, OW), (O, C, kh, kw), (C,) or None → (N, C, *size)."""
    mixed = any(s > 1 and d > 1 for s, d in zip(stride, dilation))
    shape = len(g), *size, weight.shape[1]
    if groups > 1 or mixed or not _served(shape, g, weight, bias):
        return portable.conv2d_x(g, weight, size, stride, padding, dilation, groups, bias, slope)
    g, w = channels_last(g), channels_last(weight)
    if _is_dense(g, w, size, padding, dilation) and bias is None:
        x = matmul(g.reshape(len(g), -1), w.reshape(len(w), -1), slope=slope)
        return channels_first(x.reshape(len(g), *w.shape[1:]))
    axes = size, w.shape[1:3], stride, padding, dilation
    return channels_first(_product("INPUT", g, w, shape, axes, bias, slope))


def _is_dense(g, w, size, padding, dilation):
    """Whether one pixel becomes one whole kernel, as at the start of a generator: every tap has a result of its own.

    Then this is a dense layer; as a convolution it would look for the one pixel through all taps of every result.
    """
    return g.shape[1:3] == (1, 1) and tuple(size) == w.shape[1:3] and padding == (0, 0) and dilation == (1, 1)


def conv2d_w(x, g, size, stride, padding, dilation, groups):
    """As `portable.conv2d_w`: (N, C, H, W), (N, O, OH, OW) → (O, C, *size)."""
    shape = g.shape[1], *size, x.shape[1]
    if groups > 1 or not _served(shape, x, g):
        return portable.conv2d_w(x, g, size, stride, padding, dilation, groups)
    axes = g.shape[2:], size, stride, padding, dilation
    return channels_first(_product("WEIGHT", channels_last(x), channels_last(g), shape, axes))


POINT = ((1, 1), (1, 1), (1, 1), (0, 0), (1, 1))  # the axes of a convolution of single pixels: a dense layer


def matmul(a, b, bias=None, slope=1.0):
    """leaky((m, k) @ (k, n) + bias) → (m, n), bias (n,) or None; with leading axes, as the portable twin.

    A transposed view is as good as a contiguous array; of anything else a contiguous copy is made.
    """
    if a.ndim != 2 or b.ndim != 2 or not _served((len(a), b.shape[1]), a, b, bias):
        return portable.matmul(a, b, bias, slope)
    if _by_columns(a) and _by_columns(b) and bias is None:  # which would have to go along the other axis
        return matmul(b.T, a.T, None, slope).T
    m, n, xp = len(a), b.shape[1], namespace(a)
    if _by_columns(a):
        return _product("WEIGHT", _pixels(xp.ascontiguousarray(b)), a.T, (m, n), POINT, bias, slope)
    a = _pixels(xp.ascontiguousarray(a))
    if _by_columns(b):
        return _product("FORWARD", a, b.T, (m, n), POINT, bias, slope)
    return _product("INPUT", a, xp.ascontiguousarray(b), (m, n), POINT, bias, slope)


def _by_columns(a):
    """Whether the matrix lies column by column, and only so."""
    return a.flags.f_contiguous and not a.flags.c_contiguous


def _pixels(a):
    """(rows, channels) → images of one pixel."""
    return a.reshape(len(a), 1, 1, a.shape[1])


def _served(shape, *arrays):
    """Whether igemm.cu can make a result of that shape from these arrays (or None), on this GPU.

    Raises BackendError where their factors cannot be rounded here as `set_precision` was told.
    """
    arrays = [a for a in arrays if a is not None]
    if any(a.dtype != np.float32 or a.size >= 2**31 for a in arrays) or math.prod(shape) >= 2**31:
        return False
    capability = gpu(namespace(arrays[0]).cuda.Device().id).capability
    check(precision(), capability)
    return capability >= OLDEST


# ------------------------------------------------------------------------------------------------------- the launch


def _product(role, image, matrix, shape, axes, bias=None, slope=1.0):
    """A new array of that shape: the product which igemm.cu calls `role`, plus bias, through leaky ReLU.

    image: contiguous (batch, H, W, C); axes: pairs (results, kernel, stride, padding, dilation); bias: one number for
    each index of the last axis, or None.
    """
    xp = namespace(image)
    out = xp.empty(shape, np.float32)
    if not out.size:
        return out
    aligned = image.data.ptr % 16 == 0, matrix.data.ptr % 16 == 0
    bias = None if bias is None else xp.ascontiguousarray(bias)
    launch = _launch(role, precision(), image.shape, shape, axes, aligned, xp.cuda.Device().id)
    if launch.parts == 1:
        launch.product(launch.grid, launch.block, (image, matrix, bias, out, *launch.numbers, np.float32(slope)))
        return out
    parts = xp.empty((launch.parts, out.size), np.float32)
    launch.product(launch.grid, launch.block, (image, matrix, None, parts, *launch.numbers, np.float32(1)))
    counts = np.int32(launch.parts), np.int32(out.size), np.int32(shape[-1])
    launch.add_parts((min(ceil_div(out.size, 256), 1024),), (256,), (parts, bias, out, *counts, np.float32(slope)))
    return out


class Launch(NamedTuple):
    """Everything about a launch but the arrays."""

    product: object
    add_parts: object
    grid: tuple
    block: tuple
    numbers: tuple  # the kernel's int32 arguments
    parts: int


@lru_cache(4096)
def _launch(role, rounding, image, shape, axes, aligned, device):
    results, kernel_size, stride, padding, dilation = axes
    batch, H, W, C = image
    channels = shape[0] if role == "WEIGHT" else shape[-1]
    factors = operand(rounding, gpu(device).capability)
    M, N, K, phases = product = extents(role, image, channels, results, kernel_size, stride)
    along_a = channels if role == "WEIGHT" else C  # how many numbers lie side by side in memory
    along_b = {"FORWARD": K, "INPUT": channels, "WEIGHT": C}[role]
    aligned_a, aligned_b = reversed(aligned) if role == "WEIGHT" else aligned
    vectors = {"VEC_A": _vector(along_a, aligned_a), "VEC_B": _vector(along_b, aligned_b)}
    wide = factors in ("TF32", "BF16", "F16") and set(vectors.values()) == {4}
    tile, slabs, parts = share(Work(*product, math.prod(shape), wide, gpu(device)))
    constants = {name: n for name, n in tile._asdict().items() if name != "speed"}
    constants |= {"ROLE": role, "OPERAND": factors, **vectors}
    numbers = (batch, H, W, C, *results, channels, *kernel_size, *stride, *padding, *dilation, slabs, parts)
    return Launch(
        kernel("igemm.cu", "igemm", tile.shared, **constants),
        kernel("igemm.cu", "add_parts", **constants),
        (ceil_div(M, tile.BM) * ceil_div(N, tile.BN), 1, phases * parts),
        (32 * (tile.BM // tile.WM) * (tile.BN // tile.WN),),
        tuple(np.int32(n) for n in numbers),
        parts,
    )


def _vector(length, aligned):
    """How many numbers can be copied at once."""
    return 4 if aligned and length % 4 == 0 else 1

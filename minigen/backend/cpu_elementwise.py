"""Elementwise kernels for the CPU: in cache-sized pieces, in place, on all threads.

A chain of ufuncs over a large array is bound by memory.  Cut into 1 MiB pieces, each link of the chain finds its
input in the cache.  Pieces are taken in *memory order*, so any layout is as fast as a vector.  No `where` and no
boolean index, which cost 30 times a `maximum` or a product with a mask.
"""

import math

import numpy as np

from . import threads


def apply(piece, out, *inputs):
    """piece(out, *inputs) on matching flat pieces of `out` (dense memory) and `inputs` (same shape); returns `out`."""
    if out.size <= threads.CHUNK:
        piece(out, *inputs)  # a ufunc finds the memory order by itself
        return out
    flat = [in_order_of(out, x) for x in (out, *inputs)]
    threads.chunked(lambda lo, hi: piece(*[x[lo:hi] for x in flat]), out.size)
    return out


def in_order_of(like, x):
    """x as a vector, elements in the order in which those of `like` lie in memory; a view where the layouts agree."""
    scale = like.itemsize
    if [s * scale for s in x.strides] != [s * x.itemsize for s in like.strides] or x.size != like.size:
        copy = np.empty_like(like, dtype=x.dtype)
        copy[...] = x
        x = copy
    return x.ravel(order="K")


def wide(M, C):
    """The shape in which (M, C) rows are worked on, and a function that repeats a vector (C,) along such a row.

    Several rows are taken as one, up to 2048 numbers long: a ufunc spends 10 ns on each inner loop.
    """
    k = math.gcd(M, 1 << max(0, (2048 // max(1, C)).bit_length() - 1))
    return (M // k, k * C), lambda vector: np.tile(vector, k)


def rows_at_a_time(shape):
    """How many rows of matrices of that shape to take as a piece: half as much as of vectors, for there are more."""
    return max(1, threads.CHUNK // 2 // max(1, shape[1]))


def finish(y, bias, slope):
    """y ← leaky ReLU of y + bias, in place, on this thread.  bias: (C,) or None; slope 1: no leaky ReLU.

    y: (..., C), contiguous; only a matrix may be a share of longer rows.
    """
    if bias is None and slope == 1:
        return
    if y.ndim > 2:
        y = y.reshape(-1, y.shape[-1])
    if len(y) > 1000 and y.flags.c_contiguous:  # fewer rows are done before longer ones are made
        shape, spread = wide(*y.shape)
        y, bias = y.reshape(shape), None if bias is None else spread(bias)
    step = rows_at_a_time(y.shape)
    for i in range(0, len(y), step):
        piece = y[i : i + step]
        if bias is not None:
            piece += bias
        if slope != 1:
            np.maximum(piece, slope * piece if slope else np.zeros_like(piece), out=piece)  # as in leaky_relu


def leaky_relu(x, slope):
    """max(x, slope·x) for 0 ≤ slope ≤ 1; relu is slope 0.  Raises ValueError for a slope outside [0, 1]."""
    if not 0 <= slope <= 1:
        raise ValueError(f"leaky_relu: expected a slope in [0, 1]; got {slope}.")

    def piece(y, x):
        if slope == 0:  # 0·x would be NaN at infinity
            y[...] = 0
        else:
            np.multiply(x, slope, out=y)
        np.maximum(x, y, out=y)  # of two arrays: NumPy's maximum with a scalar is 3 times slower

    return apply(piece, np.empty_like(x), x)


def leaky_relu_grad(g, out, slope):
    """x̄ = g where out > 0, slope·g elsewhere.  The sign of `out` is the sign of x, so x need not be kept."""
    return apply(lambda dx, g, out: pull_leaky_relu(dx, g, out > 0, slope), np.empty_like(out), g, out)


def pull_leaky_relu(dx, g, positive, slope):
    """dx = g where x was positive, slope·g elsewhere."""
    dx[...] = positive  # a third of the time of a product with booleans
    if slope:
        dx *= 1 - slope
        dx += slope
    dx *= g


def tanh(x):
    """tanh x, on all threads."""
    return apply(lambda y, x: np.tanh(x, out=y), np.empty_like(x), x)


def tanh_grad(g, out):
    """x̄ = g·(1 − out²)."""

    def piece(dx, g, out):
        np.multiply(out, out, out=dx)
        np.subtract(1, dx, out=dx)
        dx *= g

    return apply(piece, np.empty_like(out), g, out)


def sigmoid(x):
    """σ(x) = ½ + ½ tanh(x/2), which cannot overflow."""

    def piece(y, x):
        np.multiply(x, 0.5, out=y)
        np.tanh(y, out=y)
        y *= 0.5
        y += 0.5

    return apply(piece, np.empty_like(x), x)


def sigmoid_grad(g, out):
    """x̄ = g·out·(1 − out)."""

    def piece(dx, g, out):
        np.subtract(1, out, out=dx)
        dx *= out
        dx *= g

    return apply(piece, np.empty_like(out), g, out)


def softplus_grad(g, x, beta):
    """x̄ = g·σ(βx)."""
    return g * sigmoid(beta * x)


def silu(x):
    """x·σ(x)."""
    return x * sigmoid(x)


def silu_grad(g, x):
    """x̄ = g·(σ + x·σ·(1 − σ))."""
    s = sigmoid(x)
    return g * (s + x * s * (1 - s))


def bce_logits(x, target):
    """max(x, 0) − x·t + ln(1 + e^{−|x|}), in place where it can be."""
    e = np.asarray(np.abs(x))  # of shape () NumPy makes a scalar, which cannot be written to
    np.negative(e, out=e)
    np.exp(e, out=e)
    np.log1p(e, out=e)
    e += leaky_relu(x, 0)
    e -= x * target
    return e


def bce_logits_grad(g, x, target):
    """x̄ = g·(σ(x) − t)."""
    return g * (sigmoid(x) - target)


def masked(x, mask, scale):
    """x·mask·scale with a boolean mask: dropout and its own adjoint."""

    def piece(y, x, mask):
        np.multiply(x, mask, out=y)
        y *= scale

    return apply(piece, np.empty_like(x), x, mask)


def dropout_mask(bit_generator, shape, p):
    """Booleans, False with probability p, from 16 random bits each (p to 1/65536): 3 times cheaper than floats.

    bit_generator: a NumPy bit generator such as SFC64.  4-D masks are channels-last in memory.
    """
    shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    size = math.prod(shape)
    bits = bit_generator.random_raw(-(-size // 4)).view(np.uint16)[:size]
    keep = bits >= round(p * 65536)
    if len(shape) == 4:
        n, c, h, w = shape
        return keep.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    return keep.reshape(shape)

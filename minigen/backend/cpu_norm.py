"""Batch normalisation and sums per channel, for the CPU.

All of it works on rows: (N, C, H, W), channels-last in memory, is a matrix (M, C) with M = N·H·W.
  sums per channel   are products with a row of ones: BLAS does 1ᵀX four times faster than X.sum(0)
  variance           is taken from centred values in a second pass; E[x²] − μ² cancels in float32
  pieces             of ½ MiB stay in the cache between the passes over them
Partial sums are added in the order of the rows, so that the same input gives the same bits.
"""

import functools
import operator

import numpy as np

from . import threads
from .cpu_elementwise import finish, leaky_relu_grad, pull_leaky_relu, rows_at_a_time, wide
from .layout import like, rows
from .portable_chains import update_running


@functools.lru_cache(maxsize=16)
def _ones(n, dtype):
    return np.ones(n, dtype)


def channel_sum(g):
    """(N, C, H, W) or (N, C) → (C,): the sum over all axes but the channels; the gradient of a bias."""
    x = rows(g)
    return _ones(len(x), x.dtype) @ x


def leaky_relu_bias_grad(g, out, slope):
    """(z̄, b̄) of out = leaky ReLU of z = ... + b: z̄ = g where out > 0, slope·g elsewhere; b̄ (C,) its channel sum."""
    if out.size <= threads.CHUNK:  # it stays in the cache anyway
        z = leaky_relu_grad(g, out, slope)
        return z, channel_sum(z)
    G, Y = rows(g), rows(out)
    shape, _ = wide(*Y.shape)
    Z = np.empty_like(Y)
    g, y, z = (a.reshape(shape) for a in (G, Y, Z))

    def piece(lo, hi):
        pull_leaky_relu(z[lo:hi], g[lo:hi], y[lo:hi] > 0, slope)
        return (z[lo:hi],)

    (dbias,) = _sums(piece, shape, Y.shape[1])
    return like(Z, out), dbias


def batch_norm(x, weight, bias, eps, slope=1.0, running=None):
    """y = (x − μ) / √(σ² + eps) · weight + bias, with μ and the biased σ² of each channel over all other axes.

    x: (N, C, H, W) or (N, C); weight, bias: (C,) or None (1 and 0).  Returns (y, μ, σ²), y in the shape of x.
    slope: y goes through leaky ReLU of that slope.
    running: None, or (mean, variance, count, momentum), moved towards this batch's in place (the unbiased variance);
    count: 0-d, goes up by 1; or None.
    """
    X = rows(x)
    M, C = X.shape
    shape, spread = wide(M, C)
    mean = channel_sum(x) / M
    centre = spread(mean)

    def squares(lo, hi):
        t = X.reshape(shape)[lo:hi] - centre
        t *= t
        return (t,)

    var = _sums(squares, shape, C)[0] / M
    if running is not None:
        running_mean, running_var, count, momentum = running
        update_running(mean, var, momentum, M / (M - 1), running_mean, running_var)
        if count is not None:
            count += 1
    scale, shift = _scale_and_shift(weight, bias, mean, var, eps)
    return _combine(x, [(X, scale)], shift, slope), mean, var


def _scale_and_shift(weight, bias, mean, var, eps):
    """Both (C,): y = x·scale + shift."""
    scale = 1 / np.sqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    return scale, -mean * scale if bias is None else bias - mean * scale


def batch_norm_grad(g, x, weight, bias, mean, var, eps, slope=1.0):
    """Gradients of `batch_norm` in x, weight and bias.  `mean` and `var` are what it returned.

    With x̂ = (x − μ)/σ and a = weight/σ, averages over the M rows:
      x̄ = a·(g − ⟨g⟩ − x̂·⟨g·x̂⟩),   weight¯ = Σ g·x̂,   bias¯ = Σ g.
    With a slope, g is first pulled back through leaky ReLU, whose input is computed again: only its sign is needed.
    Returns (x̄, weight¯, bias¯); the last two are (C,) also where weight is None.
    """
    X, G = rows(x), rows(g)
    M, C = X.shape
    shape, spread = wide(M, C)
    a, shift = _scale_and_shift(weight, bias, mean, var, eps)
    centre, a_wide, level = spread(mean), spread(a), spread(-shift)
    Z = G if slope == 1 else np.empty_like(X)  # the cotangent of what leaky ReLU was given

    def products(lo, hi):
        xs, z = X.reshape(shape)[lo:hi], Z.reshape(shape)[lo:hi]
        t = np.empty_like(xs)
        if slope != 1:
            np.multiply(xs, a_wide, out=t)
            pull_leaky_relu(z, G.reshape(shape)[lo:hi], t > level, slope)  # the sign of y, to the last bit
        np.subtract(xs, centre, out=t)
        t *= z
        return z, t

    inv = 1 / np.sqrt(var + eps)
    dbias, dweight = _sums(products, shape, C)
    dweight *= inv
    factor = -a * inv * dweight / M  # x̄ is linear in x and g, with factors of its channel
    return _combine(x, [(X, factor), (Z, a)], -factor * mean - a * dbias / M), dweight, dbias


def _sums(block, shape, C):
    """Σ by channel of each array that block(lo, hi) gives, rows lo..hi of arrays in that (wide) shape: [(C,), ...]."""

    def partial(lo, hi):
        found = block(lo, hi)
        return np.stack([_ones(hi - lo, t.dtype) @ t for t in found])

    sums = threads.chunked(partial, shape[0], rows_at_a_time(shape))
    total = functools.reduce(operator.add, sums)
    return [*total.reshape(len(total), -1, C).sum(axis=1)]


def _combine(x, terms, shift, slope=1.0):
    """Leaky ReLU of Σ X·factor + shift, for terms (X, factor) of arrays (M, C) and vectors (C,), in the shape of x."""
    M, C = terms[0][0].shape
    shape, spread = wide(M, C)
    out = np.empty((M, C), x.dtype)
    terms = [(X.reshape(shape), spread(factor)) for X, factor in terms]
    shift = spread(shift)

    def piece(lo, hi):
        y = out.reshape(shape)[lo:hi]
        (X, factor), *others = terms
        np.multiply(X[lo:hi], factor, out=y)
        y += shift
        for X, factor in others:
            y += X[lo:hi] * factor
        finish(y, None, slope)

    threads.chunked(piece, shape[0], rows_at_a_time(shape))
    return like(out, x)

"""The updates of the optimisers, in place on flat arrays; one source for NumPy and CuPy.

An update is a chain of ten ufuncs over every parameter.  On the CPU it runs in 1 MiB pieces, so that each link
finds the numbers in the cache: 5 times faster for 5 M parameters.  On the GPU the piece is everything.
Adam's state is scaled by constants (see there), which saves two of twelve passes; the others keep PyTorch's.
No kernel changes `g`.
"""

import math

import numpy as np

from . import threads
from .arrays import namespace

PIECE = 1 << 17  # elements of each array: an update works on five at once


def _in_pieces(update, *arrays):
    """update(xp, *pieces) over matching pieces of flat arrays."""
    xp = namespace(arrays[0])
    if xp is np:
        threads.chunked(lambda lo, hi: update(np, *[a[lo:hi] for a in arrays]), arrays[0].size, PIECE)
    else:
        update(xp, *arrays)


def adam(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    """Adam (Kingma & Ba 2015, with ε̂ outside the root of the corrected v); decoupled: AdamW (Loshchilov & Hutter 2019).

      m ← β₁m + (1 − β₁)g,   v ← β₂v + (1 − β₂)g²,   p ← p − lr · m̂ / (√v̂ + eps),   m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ)

    p, m, v: flat, changed in place; g: flat.  step: t, counted from 1.  Weight decay is added to g, or taken off p.
    The arrays called m and v hold m/(1 − β₁) and v/(1 − β₂): sums of gradients that need no factor as they come in.
    """
    root = math.sqrt((1 - beta2) / (1 - beta2**step))  # √v̂ = root · √(the array v)
    rate = lr * (1 - beta1) / (1 - beta1**step) / root  # the constants, moved from the arrays into two numbers

    def update(xp, p, g, m, v):
        if weight_decay and decoupled:
            p *= 1 - lr * weight_decay
        elif weight_decay:
            g = g + weight_decay * p
        m *= beta1
        m += g
        v *= beta2
        t = g * g
        v += t
        xp.sqrt(v, out=t)
        t += eps / root
        xp.divide(m, t, out=t)
        t *= rate
        p -= t

    _in_pieces(update, p, g, m, v)


def sgd(p, g, buf, lr, momentum, dampening, nesterov, weight_decay, first=False):
    """p ← p − lr·b with b ← momentum·b + (1 − dampening)·g; nesterov: p ← p − lr·(g + momentum·b).

    buf: flat, changed in place; None where momentum is 0.  first: b ← g, undamped, as PyTorch starts it.
    """

    def update(xp, p, g, *buf):
        if weight_decay:
            g = g + weight_decay * p
        if momentum:
            (b,) = buf
            if first:
                b[...] = g
            else:
                b *= momentum
                b += (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        p -= lr * g

    _in_pieces(update, p, g, *([buf] if momentum else []))


def rmsprop(p, g, sq, buf, lr, alpha, eps, momentum, weight_decay):
    """s ← αs + (1 − α)g²,  d = g/(√s + eps);  p ← p − lr·d, or with momentum b ← momentum·b + d, p ← p − lr·b.

    sq (s) and buf (b): flat, changed in place; buf None where momentum is 0.
    """

    def update(xp, p, g, sq, *buf):
        if weight_decay:
            g = g + weight_decay * p
        t = g * g
        t *= 1 - alpha
        sq *= alpha
        sq += t
        xp.sqrt(sq, out=t)
        t += eps
        xp.divide(g, t, out=t)
        if momentum:
            (b,) = buf
            b *= momentum
            b += t
            xp.multiply(b, lr, out=t)
        else:
            t *= lr
        p -= t

    _in_pieces(update, p, g, sq, *([buf] if momentum else []))


def ema(avg, p, decay):
    """avg ← decay·avg + (1 − decay)·p, in place on `avg`."""

    def update(xp, avg, p):
        t = p - avg
        t *= 1 - decay
        avg += t

    _in_pieces(update, avg, p)

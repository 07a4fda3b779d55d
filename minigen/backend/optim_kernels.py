"""The updates of the optimisers, in place on flat arrays: for NumPy, and for CuPy what gpu/optim.cu does not serve.

An update is a chain of ten ufuncs over every parameter.  On the CPU it runs in 1 MiB pieces, so that each link
finds the numbers in the cache: 5 times faster for 5 M parameters.  On the GPU the piece is everything.
Adam's state is scaled by constants (see there), which saves two of twelve passes; the others keep PyTorch's.
No kernel changes `g`.

numbers: what changes from step to step, computed on the host in double precision by `*_numbers`. On the CPU they are
Python floats. On the GPU they lie in an array, so that a captured update can be repeated: each is an array of shape ().
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


def store(array, values):
    """Put numbers of the host into a small array on the GPU: as arguments of a kernel, which is no transfer."""
    for i, value in enumerate(values):
        array[i] = value


def gather(vectors, out):
    """Vectors end to end in `out`."""
    if namespace(out) is np:
        np.concatenate(vectors, out=out)
        return
    start = 0  # CuPy's concatenate sends a table of addresses to the GPU, where there are more than 8 arrays
    for v in vectors:
        out[start : start + v.size] = v
        start += v.size


def adam_numbers(step, lr, beta1, beta2, eps, weight_decay):
    """(rate, ε/r, 1 − lr·weight_decay) of step t = `step`, counted from 1; see `adam`."""
    root = math.sqrt((1 - beta2) / (1 - beta2**step))  # r: √v̂ = r · √(the array v)
    rate = lr * (1 - beta1) / (1 - beta1**step) / root  # the constants, moved from the arrays into two numbers
    return rate, eps / root, 1 - lr * weight_decay


def adam(p, g, m, v, numbers, beta1, beta2, weight_decay, decoupled):
    """Adam (Kingma & Ba 2015, with ε̂ outside the root of the corrected v); decoupled: AdamW (Loshchilov & Hutter 2019).

      m ← β₁m + (1 − β₁)g,   v ← β₂v + (1 − β₂)g²,   p ← p − lr · m̂ / (√v̂ + eps),   m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ)

    p, m, v: flat, changed in place; g: flat.  numbers: of `adam_numbers`.  Weight decay is added to g, or taken off p.
    The arrays called m and v hold m/(1 − β₁) and v/(1 − β₂): sums of gradients that need no factor as they come in.
    """
    rate, small, shrink = numbers

    def update(xp, p, g, m, v):
        if weight_decay and decoupled:
            p *= shrink
        elif weight_decay:
            g = g + weight_decay * p
        m *= beta1
        m += g
        v *= beta2
        t = g * g
        v += t
        xp.sqrt(v, out=t)
        t += small
        xp.divide(m, t, out=t)
        t *= rate
        p -= t

    _in_pieces(update, p, g, m, v)


def sgd_numbers(step, lr, momentum, dampening):
    """(lr, keep, take) of step `step`, from 1: b ← keep·b + take·g. The first is b ← g, undamped, as in PyTorch."""
    return (lr, 0.0, 1.0) if step == 1 else (lr, momentum, 1 - dampening)


def sgd(p, g, buf, numbers, momentum, nesterov, weight_decay):
    """p ← p − lr·b with b ← momentum·b + (1 − dampening)·g; nesterov: p ← p − lr·(g + momentum·b).

    buf: flat, changed in place; None where momentum is 0.  numbers: of `sgd_numbers`.
    """
    lr, keep, take = numbers

    def update(xp, p, g, *buf):
        if weight_decay:
            g = g + weight_decay * p
        if momentum:
            (b,) = buf
            b *= keep
            b += take * g
            g = g + momentum * b if nesterov else b
        p -= lr * g

    _in_pieces(update, p, g, *([buf] if momentum else []))


def rmsprop(p, g, sq, buf, numbers, alpha, eps, momentum, weight_decay):
    """s ← αs + (1 − α)g²,  d = g/(√s + eps);  p ← p − lr·d, or with momentum b ← momentum·b + d, p ← p − lr·b.

    sq (s) and buf (b): flat, changed in place; buf None where momentum is 0.  numbers: (lr,).
    """
    (lr,) = numbers

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


def ema(avg, p, numbers):
    """avg ← d·avg + (1 − d)·p, in place on `avg`.  numbers: (1 − d,)."""
    (share,) = numbers

    def update(xp, avg, p):
        t = p - avg
        t *= share
        avg += t

    _in_pieces(update, avg, p)

"""Updates of the optimisers on the GPU: launches `optim.cu`, one launch over a flat vector. float32; else the portable.

Names, arguments and results are those of `optim_kernels`.
"""

import functools

import numpy as np

from .. import optim_kernels as portable
from .compile import ceil_div, kernel

THREADS = 256
AT_ONCE = 16  # vectors that one launch of `gather` takes, numbers that one of `store` does
ZERO = np.float32(0)


def _served(launch):
    """Decorate the launch of a kernel of the same name as its portable twin, which serves other types than float32."""
    twin = getattr(portable, launch.__name__)

    @functools.wraps(twin)
    def call(*args):
        dense = all(not hasattr(a, "strides") or (a.dtype == np.float32 and a.flags.c_contiguous) for a in args)
        return launch(*args) if dense else twin(*args)

    call.__module__ = __name__
    return call


def _launch(name, p, *args):
    """One thread for each number of `p`, the first argument; Python's floats become float32, bools and ints int32."""
    kinds = {float: np.float32, int: np.int32, bool: np.int32}
    args = [kinds.get(type(a), lambda a: a)(a) for a in args]
    if p.size:
        kernel("optim.cu", name)((ceil_div(p.size, THREADS),), (THREADS,), (p, *args, np.int64(p.size)))


@_served
def adam(p, g, m, v, numbers, beta1, beta2, weight_decay, decoupled):
    _launch("adam", p, g, m, v, numbers, float(beta1), float(beta2), float(weight_decay), decoupled)


@_served
def sgd(p, g, buf, numbers, momentum, nesterov, weight_decay):
    _launch("sgd", p, g, buf, numbers, float(momentum), nesterov, float(weight_decay))


@_served
def rmsprop(p, g, sq, buf, numbers, alpha, eps, momentum, weight_decay):
    _launch("rmsprop", p, g, sq, buf, numbers, float(alpha), float(eps), float(momentum), float(weight_decay))


@_served
def ema(avg, p, numbers):
    _launch("ema", avg, p, numbers)


@_served
def store(array, values):
    for i in range(0, len(values), AT_ONCE):
        some = [np.float32(v) for v in values[i : i + AT_ONCE]]
        rest = (ZERO,) * (AT_ONCE - len(some))
        kernel("optim.cu", "store")((1,), (1,), (array[i:] if i else array, np.int32(len(some)), *some, *rest))


def gather(vectors, out):
    if any(v.dtype != np.float32 for v in (*vectors, out)):
        portable.gather(vectors, out)
        return
    import cupy

    start = 0
    for i in range(0, len(vectors), AT_ONCE):
        some = [cupy.ascontiguousarray(v) for v in vectors[i : i + AT_ONCE]]
        pairs = [(v, np.int32(v.size)) for v in some] + [(None, np.int32(0))] * (AT_ONCE - len(some))
        blocks = min(ceil_div(max(v.size for v in some), THREADS), 1024)
        grid = (max(blocks, 1), len(some))
        kernel("optim.cu", "gather")(grid, (THREADS,), (out[start:], *[a for pair in pairs for a in pair]))
        start += sum(v.size for v in some)

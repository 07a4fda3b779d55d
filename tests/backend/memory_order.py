"""In what order CuPy's results lie in memory, as functions of (cupy, x, y, s): row-major, or as the argument lies.

x, y: channels-last images (N, C, H, W); s: (1, C, 1, 1). Held against the real CuPy (13.6 and 14.2) by
tests/real_cupy/claims_ops.py, and against the stand-in by test_fake_cupy.py.
"""

import numpy as np

ROW_MAJOR = {
    "two arrays": lambda xp, x, y, s: x + y,
    "an array and a number": lambda xp, x, y, s: x * 2,
    "a number and an array": lambda xp, x, y, s: 2 - x,
    "broadcasting": lambda xp, x, y, s: x + s,
    "of both orders": lambda xp, x, y, s: x * (y + 0),
    "a comparison": lambda xp, x, y, s: x > y,
    "its negation": lambda xp, x, y, s: ~(x > 0),
    "a unary minus": lambda xp, x, y, s: -x,
    "a power": lambda xp, x, y, s: x**2,
    "a ufunc": lambda xp, x, y, s: xp.exp(x),
    "abs": lambda xp, x, y, s: abs(x),
    "maximum": lambda xp, x, y, s: xp.maximum(x, 0),
    "where": lambda xp, x, y, s: xp.where(x > 0, x, 0.0),
    "clip": lambda xp, x, y, s: x.clip(0, 1),
    "an elementwise kernel": lambda xp, x, y, s: xp.ElementwiseKernel("T x, T y", "T z", "z = x + y", "add")(x, y),
    "a sum": lambda xp, x, y, s: x.sum(axis=0),
    "a mean, axes kept": lambda xp, x, y, s: x.mean(axis=1, keepdims=True),
    "a maximum over an axis": lambda xp, x, y, s: x.max(axis=0),
    "a copy": lambda xp, x, y, s: x.copy(),
    "a concatenation": lambda xp, x, y, s: xp.concatenate([x, y], axis=1),
    "a stack": lambda xp, x, y, s: xp.stack([x, y]),
    "padding": lambda xp, x, y, s: xp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))),
    "take": lambda xp, x, y, s: x.take(xp.arange(2), axis=0),
    "an array as index": lambda xp, x, y, s: x[xp.arange(2)],
    "of a broadcast view": lambda xp, x, y, s: xp.broadcast_to(s, x.shape) * 1,
}
AS_THE_ARGUMENT = {
    "astype": lambda xp, x, y, s: x.astype(np.float64),
    "array": lambda xp, x, y, s: xp.array(x),
    "empty_like": lambda xp, x, y, s: xp.empty_like(x),
    "zeros_like": lambda xp, x, y, s: xp.zeros_like(x),
    "in place": lambda xp, x, y, s: x.__imul__(2),
    "out": lambda xp, x, y, s: xp.exp(x, out=y),
    "cumsum": lambda xp, x, y, s: x.cumsum(axis=1),
}


def images(xp):
    """x, y, s."""
    x, y = (xp.asarray(np.zeros((2, 4, 5, 3), np.float32)).transpose(0, 3, 1, 2) for _ in range(2))
    return x, y, xp.asarray(np.zeros((1, 3, 1, 1), np.float32))


def in_row_major_order(array):
    """Whether it lies so. Raises AssertionError where it lies neither so nor channels-last."""
    if not array.flags.c_contiguous:
        assert array.transpose(0, 2, 3, 1).flags.c_contiguous, array.strides
    return array.flags.c_contiguous

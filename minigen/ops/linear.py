"""Matrix products."""

from ..autograd import op
from ..backend.kernels import kernels
from .shape import broadcast_to, reshape


@op(x=lambda g, y: _matmul(g, y.swapaxes(-1, -2)), y=lambda g, x: _matmul(x.swapaxes(-1, -2), g))
def _matmul(x, y):
    """(..., m, k) @ (..., k, n);   x̄ = g·yᵀ,  ȳ = xᵀ·g."""
    return kernels(x).matmul(x, y)


def matmul(x, y):
    """Matrix product, batched and broadcast over leading axes, vectors as in NumPy.

    Shapes: (..., m, k), (..., k, n) → (..., m, n); a vector x is a row, a vector y a column, and that axis is dropped.
    """
    if x.ndim > 1 and y.ndim > 1:
        return _matmul(x, y)
    row, column = x.ndim == 1, y.ndim == 1
    out = _matmul(reshape(x, shape=(1, -1)) if row else x, reshape(y, shape=(-1, 1)) if column else y)
    shape = list(out.shape)
    if column:
        del shape[-1]
    if row:
        del shape[-1 - (not column)]
    return reshape(out, shape=shape)


@op(g=lambda h, g_shape: broadcast_to(reshape(h, shape=(1, -1) + (1,) * (len(g_shape) - 2)), shape=g_shape))
def channel_sum(g):
    """(N, C, ...) → (C,): the sum over all axes but 1; the adjoint of adding a bias."""
    return kernels(g).channel_sum(g)


@op(
    x=lambda g, weight: _matmul(g, weight),
    weight=lambda g, x: _matmul(g.swapaxes(-1, -2), x),
    bias=lambda g: channel_sum(g),
)
def _linear(x, weight, bias=None):
    """x·Wᵀ + b on (N, in);   x̄ = g·W,  W̄ = gᵀ·x,  b̄ = Σₙ g."""
    return kernels(x).matmul(x, weight.T, bias)

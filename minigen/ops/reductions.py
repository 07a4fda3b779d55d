"""Sums, means and extremes over axes. `axis` is None (all), an int or a tuple; `dim=` and `keepdim=` are understood."""

from ..autograd import Tensor, op
from ..backend import namespace
from ..backend.kernels import kernels
from .activations import softmax
from .common import axes_of, raw
from .elementwise import astype, sqrt
from .shape import broadcast_to, reshape


def _expand(g, x_shape, axis):
    """A cotangent of the reduced shape, as one of shape `x_shape` that repeats it along the reduced axes."""
    if axis is None:
        return broadcast_to(g, shape=x_shape)  # g is one number, of any shape
    axes = axes_of(axis, len(x_shape))
    kept = [1 if i in axes else n for i, n in enumerate(x_shape)]
    return broadcast_to(reshape(g, shape=kept), shape=x_shape)


def _count(x_shape, axis):
    n = 1
    for a in axes_of(axis, len(x_shape)):
        n *= x_shape[a]
    return n


@op(x=lambda g, x_shape, axis: _expand(g, x_shape, axis))
def sum(x, *, axis=None, keepdims=False):
    """Σ x;   every summand receives g. The adjoint of broadcasting."""
    return kernels(x).total(x, axis, keepdims)


@op(x=lambda g, x_shape, axis: _expand(g * (1 / _count(x_shape, axis)), x_shape, axis))
def mean(x, *, axis=None, keepdims=False):
    """Σ x / n;   g/n."""
    return kernels(x).average(x, axis, keepdims)


def _var_x(g, x, x_shape, axis, correction):
    centred = x - x.mean(axis=axis, keepdims=True)
    return _expand(g * (2 / (_count(x_shape, axis) - correction)), x_shape, axis) * centred


@op(x=_var_x)
def var(x, *, axis=None, correction=1, keepdims=False):
    """Σ (x − x̄)² / (n − correction);   2(x − x̄)/(n − correction)·g.       correction=1: unbiased, as PyTorch's."""
    return x.var(axis=axis, ddof=correction, keepdims=keepdims)


def std(x, axis=None, correction=1, keepdims=False, dim=None, keepdim=None):
    """√var(x); its gradient is not defined where all values are equal."""
    axis, keepdims = axis if dim is None else dim, keepdims if keepdim is None else keepdim
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def _extreme_x(g, x, out, x_shape, axis):
    hit = astype(x == _expand(out, x_shape, axis), g.dtype)
    return _expand(g, x_shape, axis) * hit / hit.sum(axis=axis, keepdims=True)


@op(x=_extreme_x)
def max(x, *, axis=None, keepdims=False):
    """The largest value (`argmax` tells where);   equal largest ones share the derivative, as PyTorch's amax."""
    return x.max(axis=axis, keepdims=keepdims)


@op(x=_extreme_x)
def min(x, *, axis=None, keepdims=False):
    """The smallest value (`argmin` tells where);   equal smallest ones share the derivative."""
    return x.min(axis=axis, keepdims=keepdims)


@op(x=lambda g, x, x_shape, axis: _expand(g, x_shape, axis) * softmax(x, axis=axis))
def logsumexp(x, *, axis=None, keepdims=False):
    """ln Σ eˣ;   softmax(x).       The largest x is taken out first, so nothing overflows."""
    xp = namespace(x)
    top = x.max(axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0)
    out = xp.log(xp.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return out if keepdims else out.reshape([n for i, n in enumerate(x.shape) if i not in axes_of(axis, x.ndim)])


def argmax(x, axis=None, keepdims=False):
    """Where the largest value stands: an integer Tensor, without gradient."""
    return Tensor(raw(x).argmax(axis=axis, keepdims=keepdims))


def argmin(x, axis=None, keepdims=False):
    """Where the smallest value stands: an integer Tensor, without gradient."""
    return Tensor(raw(x).argmin(axis=axis, keepdims=keepdims))

"""The operators and methods of Tensor. Methods have NumPy's names and keywords, so a VJP serves arrays and Tensors."""

import operator

from ..autograd import Tensor
from ..backend.layout import in_memory_order
from . import elementwise as e
from . import reductions as r
from . import shape as s
from .common import raw
from .linear import matmul


def _swapped(f):
    return lambda t, other: f(other, t)


def _constant(f):
    f = in_memory_order(f)
    return lambda t, other: Tensor(f(t.data, raw(other)))


for name, function in {"add": e.add, "sub": e.sub, "mul": e.mul, "truediv": e.div, "pow": e.pow}.items():
    setattr(Tensor, f"__{name}__", lambda t, other, f=function: f(t, other))
    setattr(Tensor, f"__r{name}__", _swapped(function))
Tensor.__matmul__, Tensor.__rmatmul__ = lambda t, other: matmul(t, other), _swapped(matmul)
Tensor.__neg__, Tensor.__abs__ = lambda t: e.neg(t), lambda t: e.abs(t)
Tensor.__getitem__ = s.getitem

# Comparisons give constants: Tensors of booleans. Equality is by element, so hashing is by identity, as in PyTorch.
for name in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__", "__and__", "__or__"):
    setattr(Tensor, name, _constant(getattr(operator, name)))
Tensor.__hash__ = object.__hash__
Tensor.__invert__ = lambda t: Tensor(~t.data)

Tensor.sum, Tensor.mean, Tensor.var, Tensor.std = (
    lambda t, axis=None, **k: r.sum(t, axis=axis, **k),
    lambda t, axis=None, **k: r.mean(t, axis=axis, **k),
    lambda t, axis=None, **k: r.var(t, axis=axis, **k),
    lambda t, axis=None, **k: r.std(t, axis=axis, **k),
)
Tensor.max = lambda t, axis=None, **k: r.max(t, axis=axis, **k)
Tensor.min = lambda t, axis=None, **k: r.min(t, axis=axis, **k)
Tensor.argmax, Tensor.argmin = r.argmax, r.argmin
Tensor.exp, Tensor.log, Tensor.sqrt, Tensor.abs = e.exp, e.log, e.sqrt, e.abs
Tensor.clip = e.clip
Tensor.astype = e.astype


def _one_tuple(values):
    """f(1, 2) and f((1, 2)) mean the same."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], tuple | list) else values


def _transpose(t, *axes):
    """Axes in another order, as NumPy's ndarray.transpose; without arguments, reversed."""
    return s.permute(t, dims=_one_tuple(axes) or tuple(range(t.ndim))[::-1])


Tensor.reshape = lambda t, *shape: s.reshape(t, shape=_one_tuple(shape))
Tensor.transpose, Tensor.permute = _transpose, _transpose
Tensor.swapaxes = s.transpose
Tensor.flatten = s.flatten
Tensor.squeeze = s.squeeze
Tensor.T = property(_transpose)

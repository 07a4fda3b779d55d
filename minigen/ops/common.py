"""What the op files share."""

import functools

import numpy as np

from ..autograd import Tensor, op
from ..backend import namespace
from ..backend.arrays import once_on_gpu
from ..backend.layout import in_memory_order


def elementwise(**rules):
    """`op`, for what is computed element by element: on the GPU too, results lie in memory as their arguments do."""

    def decorate(forward):
        made = op(**rules)(forward)
        once_on_gpu(lambda: made.wrap(in_memory_order))
        return made

    return decorate


def fast_on_arrays(kernel):
    """Decorate a differentiable formula: arrays take `kernel`, which computes the same in fewer passes.

    In ordinary training a VJP receives arrays, so the kernel runs; for second order it receives Tensors, and the
    formula is recorded. `gradcheck` at order 2 is the judge of both.
    """

    def decorate(formula):
        @functools.wraps(formula)
        def call(*args, **options):
            for a in args:
                if isinstance(a, Tensor):
                    return formula(*args, **options)
            return kernel(*args, **options)

        return call

    return decorate


def first_namespace(*xs):
    """The library of the first array among `xs`; the others may be Python numbers."""
    for x in xs:
        if not isinstance(x, int | float):
            return namespace(x)
    return np


def as_tensor(x, like=None):
    """`x` as a Tensor; a number or list takes the dtype of `like`."""
    if isinstance(x, Tensor):
        return x
    if hasattr(x, "dtype"):
        return Tensor(x)
    xp = np if like is None else namespace(like.data)
    return Tensor(xp.asarray(x, dtype=None if like is None else like.dtype))


def raw(x):
    """The array of a Tensor; anything else as it is."""
    return x.data if isinstance(x, Tensor) else x


def pair(value, name="value"):
    """A number n → (n, n); a pair stays a pair. As PyTorch's kernel_size, stride, padding, dilation."""
    if isinstance(value, tuple | list):
        if len(value) != 2 or not all(isinstance(v, int | np.integer) for v in value):
            raise ValueError(f"{name}: expected an int or a pair of ints; got {value!r}.")
        return int(value[0]), int(value[1])
    if not isinstance(value, int | np.integer):
        raise ValueError(f"{name}: expected an int or a pair of ints; got {value!r}.")
    return int(value), int(value)


def check_slope(name, slope):
    """Raises ValueError where leaky ReLU of that slope, asked of the function `name`, would not keep the sign."""
    if not 0 <= slope <= 1:
        raise ValueError(f"{name}: expected a slope in [0, 1]; got {slope}.")


def axes_of(axis, ndim):
    """`axis` (None, an int, or a tuple; negative counts from the end) → a sorted tuple of ints."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(a % ndim for a in (axis if isinstance(axis, tuple | list) else (axis,))))


def reduce_loss(values, reduction):
    """PyTorch's reduction: "mean" over all elements, "sum", or "none"."""
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction == "none":
        return values
    raise ValueError(f'reduction: expected "mean", "sum" or "none"; got {reduction!r}.')

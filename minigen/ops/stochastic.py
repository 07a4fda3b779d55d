"""Dropout and embedding."""

import math

import numpy as np

from ..autograd import op
from ..backend import namespace
from ..backend.kernels import kernels
from .common import raw
from .elementwise import where
from .shape import getitem


@op(x=lambda g, keep, scale: _masked(g, keep, scale=scale))
def _masked(x, keep, *, scale):
    """x·keep·scale, with a boolean mask. Its own adjoint."""
    return kernels(x).masked(x, keep, scale)


def dropout(x, p=0.5, training=True, rng=None):
    """Each element 0 with probability p, the others divided by 1 − p: the mean is kept.       Srivastava et al. 2014

    rng: the minigen.Generator that draws the mask; needed in training, so that a run can be repeated.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: expected a probability p in [0, 1]; got {p}.")
    if not training or p == 0:
        return x
    if rng is None:
        raise ValueError("dropout: training needs random numbers; pass rng=minigen.Generator(seed).")
    return _masked(x, rng.keep(x.shape, p), scale=0.0 if p == 1 else 1 / (1 - p))


def embedding(indices, weight):
    """Rows of a table: (...) integers, weight (V, D) → (..., D). As torch.nn.functional.embedding.

    Raises IndexError for an index outside [0, V); on the GPU, which it would have to wait for, its row is NaN instead.
    """
    indices = raw(indices)
    if namespace(indices) is not np:
        valid = (indices >= 0) & (indices < weight.shape[0])
        return where(valid[..., None], getitem(weight, indices), math.nan)
    if indices.size and not (0 <= int(indices.min()) and int(indices.max()) < weight.shape[0]):
        raise IndexError(
            f"embedding: expected indices in [0, {weight.shape[0]}); got {int(indices.min())} to {int(indices.max())}."
        )
    return getitem(weight, indices)

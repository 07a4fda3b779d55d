"""Rearranging: every op here is linear and stands beside its adjoint."""

import numpy as np

from ..autograd import Tensor, op
from ..backend import layout, namespace
from ..backend.constants import constant
from .common import axes_of, raw

# ------------------------------------------------------------------------------------------------ same elements


@op(x=lambda g, x_shape: reshape(g, shape=x_shape))
def reshape(x, *, shape):
    """The same elements in row-major order in another shape; one axis may be −1. Its own adjoint."""
    return x.reshape(tuple(shape) if isinstance(shape, list | tuple) else shape)


@op(x=lambda g, dims: permute(g, dims=tuple(int(i) for i in np.argsort([d % len(dims) for d in dims]))))
def permute(x, *, dims):
    """Axis i of the result is axis dims[i] of x; a view. Adjoint: the inverse permutation."""
    return x.transpose(dims)


@op(x=lambda g: g)
def _channels_last(x):
    """The same numbers in channels-last memory. Its own adjoint."""
    return layout.channels_first(layout.channels_last(x))


def channels_last(x):
    """Images `x` (N, C, H, W) in channels-last memory: one copy for all who want it so, backward too, or none."""
    there = x.ndim != 4 or raw(x).transpose(0, 2, 3, 1).flags.c_contiguous
    return x if there else _channels_last(x)


def transpose(x, dim0, dim1):
    """Axes dim0 and dim1 exchanged, as torch.transpose; for a whole permutation use `permute`."""
    dims = list(range(x.ndim))
    dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return permute(x, dims=tuple(dims))


def flatten(x, start_dim=0, end_dim=-1):
    """Axes start_dim to end_dim made one."""
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return reshape(x, shape=(*x.shape[:start], -1, *x.shape[end + 1 :]))


def squeeze(x, axis=None):
    """Without its axes of length 1 (all of them, or those named)."""
    drop = [a for a in axes_of(axis, x.ndim) if x.shape[a] == 1]
    return reshape(x, shape=[n for i, n in enumerate(x.shape) if i not in drop])


def unsqueeze(x, axis):
    """With a new axis of length 1 in place `axis`."""
    at = axis % (x.ndim + 1)
    return reshape(x, shape=(*x.shape[:at], 1, *x.shape[at:]))


@op(x=lambda g, axis: flip(g, axis=axis))
def flip(x, *, axis):
    """Reversed along `axis`. Its own adjoint."""
    return namespace(x).flip(x, axis)


# ------------------------------------------------------------------------------------------------ broadcast ↔ sum


@op(x=lambda g: g)  # `grad` itself sums over what was broadcast: autograd.unbroadcast
def broadcast_to(x, *, shape):
    """x repeated to `shape` without a copy. Adjoint: the sum over the repeated axes."""
    return namespace(x).broadcast_to(x, tuple(shape))


# ------------------------------------------------------------------------------------------------ join ↔ take apart


def _slice_along(axis, ndim, lo, hi):
    return (slice(None),) * (axis % ndim) + (slice(lo, hi),)


def _concatenate_i(g, i, xs_shape, axis):
    lo = sum(s[axis] for s in xs_shape[:i])
    return g[_slice_along(axis, g.ndim, lo, lo + xs_shape[i][axis])]


@op(xs=_concatenate_i)
@layout.in_memory_order_along
def _concatenate(*xs, axis):
    """End to end along `axis`. Adjoint: the pieces."""
    xp = namespace(xs[0])
    while xp is not np and len(xs) > 8:  # of more, CuPy sends a table from the host, which no graph can hold
        xs = [xp.concatenate(xs[i : i + 8], axis) for i in range(0, len(xs), 8)]
    return xp.concatenate(xs, axis)


def concatenate(xs, axis=0, dim=None):
    """A sequence of tensors end to end along an existing axis (torch.cat)."""
    return _concatenate(*xs, axis=axis if dim is None else dim)


def stack(xs, axis=0, dim=None):
    """A sequence of tensors of one shape along a new axis."""
    axis = axis if dim is None else dim
    return _concatenate(*[unsqueeze(x, axis) for x in xs], axis=axis)


def _split_x(g, x_shape, sizes, axis):
    given = next(p for p in g if p is not None)
    shapes = [(*x_shape[:axis], n, *x_shape[axis + 1 :]) for n in sizes]
    zeros = lambda shape: namespace(raw(given)).zeros(shape, given.dtype)
    return _concatenate(*[zeros(s) if p is None else p for p, s in zip(g, shapes)], axis=axis)


@op(x=_split_x)
def _split(x, *, sizes, axis):
    """Consecutive pieces along `axis`, a tuple. Adjoint: end to end, zeros for the pieces nobody used."""
    ends = np.cumsum(sizes).tolist()
    return tuple(x[_slice_along(axis, x.ndim, hi - n, hi)] for n, hi in zip(sizes, ends))


def split(x, split_size_or_sections, axis=0, dim=None):
    """Consecutive pieces along an axis: of a given size (the last may be smaller), or of a list of sizes; a tuple."""
    axis = (axis if dim is None else dim) % x.ndim
    total, size = x.shape[axis], split_size_or_sections
    sizes = [min(size, total - lo) for lo in range(0, total, size)] if isinstance(size, int) else list(size)
    if sum(sizes) != total:
        raise ValueError(f"split: expected sizes that add up to {total}, the length of axis {axis}; got {sizes}.")
    return _split(x, sizes=sizes, axis=axis)


# ------------------------------------------------------------------------------------------------ crop ↔ pad


@op(x=lambda g, x_shape, widths: _crop(g, widths=widths))
def _pad(x, *, widths, value=0.0):
    """`value` around x; widths (before, after) for each axis. Adjoint: cropping."""
    out = namespace(x).full([lo + n + hi for n, (lo, hi) in zip(x.shape, widths)], value, x.dtype)
    out[tuple(slice(lo, lo + n) for n, (lo, hi) in zip(x.shape, widths))] = x
    return out


@op(x=lambda g, widths: _pad(g, widths=widths))
def _crop(x, *, widths):
    return x[tuple(slice(lo, n - hi) for n, (lo, hi) in zip(x.shape, widths))]


def pad(x, pad, mode="constant", value=0.0):
    """`x` with borders, as torch.nn.functional.pad.

    pad: (left, right, top, bottom, ...): a pair for each axis, from the last axis backwards; negative widths crop.
    mode: "constant" (filled with `value`), "reflect" (without the edge), "replicate" (the edge), "circular".
    """
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(f"pad: expected up to {2 * x.ndim} widths in pairs for x of shape {x.shape}; got {pad}.")
    widths = [(0, 0)] * (x.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    if mode == "constant":
        if any(lo < 0 or hi < 0 for lo, hi in widths):
            x = _crop(x, widths=[(max(-lo, 0), max(-hi, 0)) for lo, hi in widths])
        return _pad(x, widths=[(max(lo, 0), max(hi, 0)) for lo, hi in widths], value=value)
    for axis, (lo, hi) in enumerate(widths):
        if lo or hi:
            x = _take(x, index=_border_index(x.shape[axis], lo, hi, mode), axis=axis)
    return x


def _border_index(n, lo, hi, mode):
    """Which of n elements stands in each place of the padded axis."""
    i = np.arange(-lo, n + hi)
    if mode == "replicate":
        return i.clip(0, n - 1)
    if mode == "circular" and max(lo, hi) <= n:
        return i % n
    if mode == "reflect" and max(lo, hi) < n:
        i = np.abs(i)
        return np.where(i >= n, 2 * (n - 1) - i, i)
    if mode in ("circular", "reflect"):
        raise ValueError(f"pad: {mode!r} borders must be narrower than the axis; got {(lo, hi)} for length {n}.")
    raise ValueError(f'pad: expected mode "constant", "reflect", "replicate" or "circular"; got {mode!r}.')


# ------------------------------------------------------------------------------------------------ gather ↔ scatter-add


@op(x=lambda g, x_shape, index, axis: _take_add(g, index=index, axis=axis, n=x_shape[axis]))
@layout.in_memory_order_along
def _take(x, *, index, axis):
    """Elements `index` (host integers) along `axis`, any of them any number of times. Adjoint: adding them back."""
    return x.take(constant(index, namespace(x)), axis=axis)


@op(g=lambda h, index, axis: _take(h, index=index, axis=axis))
@layout.in_memory_order_along
def _take_add(g, *, index, axis, n):
    """Zeros with slice i of g added in place index[i]: in rounds, each of which names every place at most once."""
    xp = namespace(g)
    out = xp.zeros((*g.shape[:axis], n, *g.shape[axis + 1 :]), g.dtype)
    before = (slice(None),) * axis
    order = np.argsort(index, kind="stable")
    first = np.searchsorted(index[order], index[order])
    turn = np.arange(len(index)) - first  # the how-manieth of its place
    for round in range(turn.max(initial=-1) + 1):
        of_g = order[turn == round]
        out[(*before, constant(index[of_g], xp))] += g[(*before, constant(of_g, xp))]
    return out


def _is_basic(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, slice | int | np.integer) for p in parts)


@op(x=lambda g, index, x_shape: _index_add(g, index=index, shape=x_shape))
def _getitem(x, *, index):
    """x[index] with NumPy's rules. Adjoint: added back into zeros."""
    return x[index]


@op(g=lambda h, index: _getitem(h, index=index))
def _index_add(g, *, index, shape):
    xp = namespace(g)
    out = xp.zeros(shape, g.dtype)
    if _is_basic(index):
        out[index] = g
    else:
        xp.add.at(out, index, g)
    return out


def getitem(x, index):
    """x[index] with NumPy's rules: integers, slices, None, Ellipsis, boolean masks, integer arrays or Tensors."""
    index = tuple(raw(i) for i in index) if isinstance(index, tuple) else raw(index)
    return _getitem(x, index=index)


def _along(index, axis, xp):
    """`index` completed by the coordinates of the other axes: what take_along_axis reads."""
    grids = list(xp.meshgrid(*[xp.arange(n) for n in index.shape], indexing="ij", sparse=True))
    grids[axis] = index
    return tuple(grids)


def gather(x, axis, index):
    """out[i][j] = x[index[i][j]][j] for axis 0, and so on, as torch.gather. Adjoint: `scatter_add` into zeros."""
    index = raw(index)
    return getitem(x, _along(index, axis, namespace(index)))


def scatter_add(x, axis, index, src):
    """`x` with src[i][j] added to x[index[i][j]][j] for axis 0, and so on; places named twice receive both."""
    index = raw(index)
    if index.shape != tuple(src.shape):
        src = src[tuple(slice(n) for n in index.shape)]
    return x + _index_add(src, index=_along(index, axis, namespace(index)), shape=x.shape)


def scatter(x, axis, index, src):
    """`x` with x[index[i][j]][j] replaced by src[i][j] for axis 0, and so on; each place may be named once."""
    index = raw(index)
    full = _along(index, axis, namespace(index))
    if not hasattr(src, "shape"):
        src = Tensor(namespace(index).full(index.shape, src, x.dtype))
    return scatter_add(x, axis, index, src[tuple(slice(n) for n in index.shape)] - getitem(x, full))


def one_hot(index, num_classes, dtype="float32"):
    """Integers (...) → rows of zeros with a one, (..., num_classes)."""
    index = raw(index)
    xp = namespace(index)
    return Tensor((index[..., None] == xp.arange(num_classes)).astype(dtype))

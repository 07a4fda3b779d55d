"""The right numbers at the wrong places, or not all of them."""

import numpy as np
from exhibit import exhibit, normal

from minigen.autograd import op

X33, Y33 = normal(3, 3), normal(3, 3, seed=1)

# ------------------------------------------------------------------------------------------------ the wrong places


@exhibit("transposed", normal(5, 4), normal(4, 4, seed=1), at="weight")
@op(x=lambda g, weight: g @ weight, weight=lambda g, x: x.T @ g)
def linear_of_a_square_weight(x, weight):
    """x·Wᵀ: the weight's gradient is gᵀ·x; xᵀ·g has the same shape as long as the layer is square."""
    return x @ weight.T


@exhibit("flipped", normal(4, 5), at="x")
@op(x=lambda g: g)
def flip(x):
    """Mirroring, as augmentation does it, taken for something that needs no derivative of its own."""
    return np.flip(x, axis=1).copy()


@exhibit("permuted", normal(3, 7), says="not back", at="x")
@op(x=lambda g: np.roll(g, 1, axis=1))
def roll(x):
    """The gradient is rolled the same way as the values, instead of back."""
    return np.roll(x, 1, axis=1)


@exhibit("shifted", normal(2, 6), says="1", at="x")
@op(x=lambda g: np.pad(g, ((0, 0), (2, 0))))
def crop(x):
    """One element is cut off at either end; both are put back at the same end: off by one."""
    return x[:, 1:-1]


@exhibit("permuted", normal(7), says="not back", at="x")
@op(x=lambda g, x: g[np.argsort(x)])
def sort(x):
    """The gradient goes through the order of sorting instead of through its inverse."""
    return x[np.argsort(x)]


@exhibit("transposed or permuted", normal(3, 3, 3), at="x")
@op(x=lambda g, dims: g.transpose(dims))
def permute(x, *, dims=(1, 2, 0)):
    """A permutation of three axes undone by itself: it works for two axes, as a transposition is its own inverse."""
    return x.transpose(dims)


@exhibit("permuted or transposed", normal(2, 3, 2, 4), at="x")
@op(x=lambda g, x_shape: g.reshape(x_shape))
def to_channels_last(x):
    """reshape where transpose was meant: the shapes fit, the pixels do not."""
    return x.transpose(0, 2, 3, 1)


@exhibit("permuted", normal(2, 8, 2, 3), at="x")
@op(x=lambda g, x_shape: g.reshape(x_shape))
def pixel_shuffle(x):
    """Sub-pixel convolution's rearrangement: forward by reshape and transpose, backward by reshape alone."""
    N, C, H, W = x.shape
    return x.reshape(N, C // 4, 2, 2, H, W).transpose(0, 1, 4, 2, 5, 3).reshape(N, C // 4, 2 * H, 2 * W)


# ------------------------------------------------------------------------------------------------ the wrong input


@exhibit("swapped inputs", X33, Y33)
@op(x=lambda g, x: g * x, y=lambda g, y: g * y)
def product(x, y):
    """d(xy)/dx is y, not x."""
    return x * y


@exhibit("swapped inputs", normal(4, 3), normal(4, 3, seed=1))
@op(q=lambda g, q: g.T @ q, k=lambda g, k: g @ k)
def scores(q, k):
    """Attention's q·kᵀ with as many queries as keys: the two gradients stand under each other's name."""
    return q @ k.T


@exhibit("swapped inputs", normal(4, 2), normal(4, 2, seed=1), normal(4, 2, seed=2))
@op(xs=lambda g, i, xs_shape: g[:, : xs_shape[i][1]])
def concatenate(*xs):
    """A variadic op that forgets the offset: every part receives the gradient of the first."""
    return np.concatenate(xs, axis=1)


# ------------------------------------------------------------------------------------------------ sums


@exhibit("missing sum", normal(5, 4), normal(4), says="axis 0", at="bias")
@op(x=lambda g: g, bias=lambda g: g[0])
def bias_of_one_sample(x, bias):
    """Written and tried with a batch of one: g[0] drops the batch axis instead of summing over it."""
    return x + bias


@exhibit("missing sum", normal(2, 3, 4, 4), normal(3), says="axis 3", at="bias")
@op(x=lambda g: g, bias=lambda g: g.sum(axis=(0, 2))[:, 0])
def bias_of_one_column(x, bias):
    """A convolution's bias summed over the batch and the rows; one index stands where the last axis was meant."""
    return x + bias.reshape(1, -1, 1, 1)


@exhibit("extra sum", normal(5, 4), normal(5, 1), says="axis 0", at="scale")
@op(x=lambda g, scale: g * scale, scale=lambda g, x, scale_shape: np.broadcast_to((g * x).sum(), scale_shape))
def scale_each_sample(x, scale):
    """A factor for each sample: the gradient is summed over the features and, from habit, over the batch."""
    return x * scale


@exhibit("extra sum", normal(4, 3), says="axis 0", at="x")
@op(x=lambda g, x: np.broadcast_to((g * 2 * x).sum(axis=0), x.shape))
def energy(x):
    """Summed over the batch in the VJP, as for a weight; but x is the batch."""
    return x * x


@exhibit("overlap assigned or missing sum", np.array([2, 0, 2, 1, 2]), normal(4, 3), at="table")
@op(table=lambda g, index, table_shape: _put(np.zeros(table_shape), index, g))
def embedding(index, table):
    """table.grad[index] = g keeps the last of the rows that were looked up twice (and so does +=)."""
    return table[index]


def _put(out, index, g):
    out[index] += g
    return out

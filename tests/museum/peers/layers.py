"""The layers, as they should be. Images are rows (N, L), so that a convolution is a sum of slices."""

import numpy as np

rng = np.random.default_rng(0)
X = rng.standard_normal((4, 3))
POSITIVE = np.abs(X) + 0.5
IMAGES = rng.standard_normal((2, 8))
KERNEL = rng.standard_normal(3)
SQUARE, WIDE, BIAS = rng.standard_normal((3, 3)), rng.standard_normal((3, 2)), rng.standard_normal(3)


cube = lambda F, x: x**3
product = lambda F, x, y: x * y
matmul = lambda F, x, w: x @ w
add_bias = lambda F, x, b: x + b
sigmoid = lambda F, x: 1 / (1 + F.exp(-x))
softmax = lambda F, x: F.exp(x) / F.sum(F.exp(x), 1, True)
relu = lambda F, x: F.where(F.positive(x), x, x * 0)
elu = lambda F, x: F.where(F.positive(x), x, F.exp(x) - 1)
mean_square = lambda F, x: F.sum(x * x, None, False) / 12
centre = lambda F, x: x - F.sum(x, 1, True) / 3
norm = lambda F, x: F.sqrt(F.sum(x * x, 1, False))
permute = lambda F, x: F.concat([x[:, 1:3], x[:, :1], x[:, 4:], x[:, 3:4]], 1)  # the columns 1, 2, 0, 4, 3


def conv(F, x, w):
    """y_i = Σ_k w_k x_{i+k},  (N, 8), (3,) -> (N, 6)."""
    return sum(w[k : k + 1] * x[:, k : k + 6] for k in range(3))


def conv_x(F, g, x, w):
    """The adjoint of conv in x: overlapping windows add."""
    return sum(F.concat([x[:, :k] * 0, w[k : k + 1] * g, x[:, k + 6 :] * 0], 1) for k in range(3))


def conv_w(F, g, x, w):
    return F.concat([F.reshape(F.sum(g * x[:, k : k + 6], None, False), (1,)) for k in range(3)], 0)


def twice(F, x):
    """(a, b, ...) -> (a, a, b, b, ...) along each row."""
    column = F.reshape(x, (*x.shape, 1))
    return F.reshape(F.concat([column, column], 2), (len(x), -1))


def max_pool(F, x):
    return F.where(F.positive(x[:, ::2] - x[:, 1::2]), x[:, ::2], x[:, 1::2])


def standardise(F, x):
    """Batch norm without scale and shift: columns of mean 0 and variance 1."""
    return (x - F.sum(x, 0, True) / 4) / spread(F, x)


def spread(F, x):
    c = x - F.sum(x, 0, True) / 4
    return F.sqrt(F.sum(c * c, 0, True) / 4 + 1e-5)


def standardise_x(F, g, x, s):
    y = (x - F.sum(x, 0, True) / 4) / s
    return (g - F.sum(g, 0, True) / 4 - y * F.sum(g * y, 0, True) / 4) / s

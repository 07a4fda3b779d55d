"""Right up to a factor: a number, an input, the cotangent."""

import numpy as np
from exhibit import exhibit, normal, positive

from minigen.autograd import op

# ------------------------------------------------------------------------------------------------ a number


@exhibit("constant factor", normal(4, 3), says="1/2", at="x")
@op(x=lambda g, x: g * x)
def square(x):
    """The 2 of the power rule is lost on the way from paper to code."""
    return x * x


@exhibit("constant factor", normal(4, 3), normal(4, 3, seed=1), says=("y", "−1"), at="y")
@op(x=lambda g: g, y=lambda g: g)
def difference(x, y):
    """Copied from addition; the second sign is forgotten."""
    return x - y


@exhibit("constant factor", normal(4, 3), says="12", at="x")
@op(x=lambda g, x_shape: np.broadcast_to(g, x_shape))
def mean_as_sum(x):
    """mean with the VJP of sum: 1/n, the number of elements, is missing."""
    return x.mean()


@exhibit("constant factor", normal(6, 3), normal(6, 3, seed=1), says="3", at="x")
@op(x=lambda g, x, t: g * 2 * (x - t) / len(x), t=lambda g, x, t: -g * 2 * (x - t) / len(x))
def squared_error(x, t):
    """The value is averaged over all elements, the gradient over the batch only: wrong by the number of features."""
    return ((x - t) ** 2).mean()


@exhibit("constant factor", normal(5, 4), normal(4), says="1/5", at="bias")
@op(x=lambda g: g, bias=lambda g: g.mean(axis=0))
def bias_averaged(x, bias):
    """A bias takes the mean over the batch instead of the sum, so that 'the batch size does not matter'."""
    return x + bias


@exhibit("constant factor", normal(5, 6), normal(5, 6, seed=1) > -0.5, says="0.6", at="x")
@op(x=lambda g, keep: g * keep)
def dropout_scaled_forward_only(x, keep, *, p=0.4):
    """Inverted dropout: 1/(1 − p) stands in the forward pass and is forgotten in the backward pass."""
    return x * keep / (1 - p)


@exhibit("constant factor", normal(4, 3), says="2.5", at="x")
@op(x=lambda g, x, beta: g * beta / (1 + (-beta * x).exp() if hasattr(x, "exp") else 1 + np.exp(-beta * x)))
def softplus_of_beta(x, *, beta=2.5):
    """ln(1 + e^(βx)) / β: the chain rule's β is applied, the division by β is not."""
    return np.log1p(np.exp(beta * x)) / beta


@exhibit("constant factor", normal(4, 3), says="−0.1", at="x")
@op(x=lambda g, strength: -strength * g)
def reverse_gradient(x, *, strength=0.1):
    """A gradient reversal layer (Ganin & Lempitsky 2015): wrong on purpose, and to be called what it is."""
    return x * 1.0


@exhibit("constant factor", normal(3, 4), normal(3, 4, seed=1), says="−1", at="target")
@op(x=lambda g, x, target: g * np.sign(x - target), target=lambda g, x, target: g * np.sign(x - target))
def absolute_error(x, target):
    """A loss whose target was always a constant, until it came from another network: its sign was never tried."""
    return abs(x - target)


@exhibit("constant factor", normal(2, 3, 4, 6), says="4", at="x")
@op(x=lambda g, k: np.repeat(np.repeat(g, k, axis=2), k, axis=3))
def average_pool(x, *, k=2):
    """Average pooling hands every pixel the whole gradient: the division by the window's area is missing."""
    N, C, H, W = x.shape
    return x.reshape(N, C, H // k, k, W // k, k).mean(axis=(3, 5))


# ------------------------------------------------------------------------------------------------ an input


@exhibit("factor of an input", normal(4, 3), says="x", at="x")
@op(x=lambda g, x: g * 3 * x)
def cube(x):
    """x³ with the derivative of 1.5·x²: a forgotten exponent."""
    return x**3


@exhibit("factor of an input", positive(4, 3), says="x", at="x")
@op(x=lambda g, x, exponent: g * exponent * x**exponent)
def power(x, *, exponent=2.5):
    """The power rule without lowering the exponent."""
    return x**exponent


@exhibit("factor of an input", positive(4, 3), says="x", at="x")
@op(x=lambda g, x: g * x)
def logarithm(x):
    """Divided by instead of multiplied by, or the other way round: 1/x is the derivative, x is what is typed."""
    return np.log(x)


@exhibit("factor of an input", normal(4, 3), says="out", at="x")
@op(x=lambda g, out: g * (1 - out))
def sigmoid(x):
    """σ′ = σ(1 − σ) with one of the two factors forgotten."""
    return 1 / (1 + np.exp(-x))


@exhibit("factor of an input", normal(4, 3), positive(4, 3), says="x", at="y")
@op(x=lambda g, y: g / y, y=lambda g, y: -g / y**2)
def quotient(x, y):
    """x / y: the numerator is forgotten in the derivative of 1/y, which was looked up for 1."""
    return x / y


@exhibit("factor of an input", positive(4, 3), says="√x", at="x")
@op(x=lambda g, x: g * 0.5 / x)
def square_root(x):
    """½ x^(−½) is remembered, the exponent is not."""
    return np.sqrt(x)


# ------------------------------------------------------------------------------------------------ the cotangent


@exhibit("forgotten cotangent", normal(4, 3), at="x")
@op(x=lambda g, x: 3 * x**2)
def cube_for_a_loss(x):
    """Tried where it was the last op, so that g was 1: the chain rule is missing."""
    return x**3


@exhibit("forgotten cotangent", normal(4, 3), at="x")
@op(x=lambda g, x: g * 0 + 1234.5)
def cube_of_smallpebble(x):
    """SmallPebble's checker compares the output's error twice, and so passes a gradient of 1234.5."""
    return x**3


@exhibit("forgotten cotangent", normal(4, 3), at="x")
@op(x=lambda g, x: g * (g > 0) * (x > 0))
def relu_guided(x):
    """Guided backpropagation, a way to draw pictures, left in for training: it drops negative cotangents."""
    return np.maximum(x, 0)


@exhibit("forgotten cotangent", 3 * normal(4, 3), at="x")
@op(x=lambda g, x: (g * 2 * x).clip(-1, 1))
def square_clipped(x):
    """Gradient clipping inside an op: what it returns is no longer linear in g."""
    return x * x


def _softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@exhibit("forgotten cotangent", normal(4, 5), np.eye(5)[[0, 2, 1, 4]].astype(int), at="x")
@op(x=lambda g, x, target: (_softmax(x) - target) / len(x))
def softmax_cross_entropy(x, target):
    """(p − t)/N, as in most introductions: right as the only loss, wrong with a weight before it."""
    return -(target * np.log(_softmax(x))).sum() / len(x)

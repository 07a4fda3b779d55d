"""A term is missing, a region is wrong, a point has no derivative, or no number can be trusted."""

import numpy as np
from exhibit import exhibit, normal

from minigen import ops
from minigen.autograd import op
from minigen.nn import Module, Parameter

X = normal(4, 5)

# ------------------------------------------------------------------------------------------------ a missing term


@exhibit("missing term", X, at="x")
@op(x=lambda g: g)
def centre(x):
    """x − mean(x): the mean is taken for a number."""
    return x - x.mean(axis=1, keepdims=True)


@exhibit("missing term", X, at="x")
@op(x=lambda g, out: g * out)
def softmax(x):
    """The derivative of exp without that of the sum below it."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@exhibit("missing term or missing sum", X, at="x")
@op(x=lambda g, out: g * out * (1 - out))
def softmax_as_sigmoid(x):
    """p(1 − p) is the diagonal of softmax's Jacobian; the other elements, −pᵢpⱼ, are forgotten. Found everywhere."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@exhibit("missing term", X, at="x")
@op(x=lambda g: g)
def log_softmax(x):
    """x − ln Σ eˣ: only the first x is differentiated."""
    top = x.max(axis=1, keepdims=True)
    return x - top - np.log(np.exp(x - top).sum(axis=1, keepdims=True))


def _rstd(x):
    return 1 / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)


def _normalised(x):
    return (x - x.mean(axis=1, keepdims=True)) * _rstd(x)


@exhibit("missing term", X, at="x")
@op(x=lambda g, x, out: _rstd(x) * (g - out * (g * out).mean(axis=1, keepdims=True)))
def layer_norm_without_mean_term(x):
    """Of the three terms of layer norm's gradient the second, the mean of g, is left out."""
    return _normalised(x)


@exhibit("missing term", X, at="x")
@op(x=lambda g, x: _rstd(x) * (g - g.mean(axis=1, keepdims=True)))
def layer_norm_without_variance_term(x):
    """Of the three terms the third is left out: σ is taken for a number."""
    return _normalised(x)


@exhibit("missing term", X, at="x")
@op(x=lambda g, x: g / np.sqrt((x * x).sum(axis=1, keepdims=True)))
def unit_length(x):
    """x/‖x‖ with the length as a constant: what lies along x should be projected out."""
    return x / np.sqrt((x * x).sum(axis=1, keepdims=True))


def _length(x):
    return np.sqrt((x * x).sum(axis=1, keepdims=True))


@exhibit("missing term", X, normal(4, 5, seed=1), says="y", at="y")
@op(
    x=lambda g, x, y, out: g[:, None] * (y / _length(y) - out[:, None] * x / _length(x)) / _length(x),
    y=lambda g, x, y: g[:, None] * x / _length(x) / _length(y),
)
def cosine_similarity(x, y):
    """Both lengths depend on their vectors; one of them was done, the other left for later."""
    return (x * y).sum(axis=1) / (_length(x) * _length(y))[:, 0]


@exhibit("missing term or unknown", X, normal(4, 5, seed=1), at="logvar")
@op(mu=lambda g, mu: g * mu, logvar=lambda g, logvar: g * 0.5 * np.exp(logvar))
def gaussian_kl(mu, logvar):
    """½(μ² + σ² − ln σ² − 1): the −½ that −½ ln σ² brings is lost, and σ is drawn to 0."""
    return 0.5 * (mu * mu + np.exp(logvar) - logvar - 1)


# ------------------------------------------------------------------------------------------------ a wrong region


@exhibit("partly wrong", X, at="x")
@op(x=lambda g, x, alpha: g * (x > 0 + alpha * np.exp(x) * (x <= 0)))
def elu_of_tinynn(x, *, alpha=1.0):
    """tinynn's ELU: comparisons bind less tightly than +, so the derivative is 0 for all x < 0."""
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0))


@exhibit("partly wrong", 2 * X, at="x")
@op(x=lambda g: g)
def clip(x):
    """The gradient passes where the value was cut off."""
    return x.clip(-1, 1)


@exhibit("partly wrong", 2 * X, at="x")
@op(x=lambda g, x: g * np.where(abs(x) < 1, x, 1.0))
def huber(x):
    """The slope outside is sign(x)·δ; the sign is forgotten, so that it is wrong below −δ only."""
    return np.where(abs(x) < 1, 0.5 * x * x, abs(x) - 0.5)


@exhibit("unknown or partly wrong", X, normal(5, seed=1), at="slope")
@op(x=lambda g, x, slope: g * np.where(x > 0, 1, slope), slope=lambda g, x: (g * x).sum(axis=0))
def prelu(x, slope):
    """The slope's gradient counts the positive inputs as well: the mask is applied in one VJP of two."""
    return np.where(x > 0, x, slope * x)


# ------------------------------------------------------------------------------------------------ no derivative here


@exhibit("kink", np.array([[0.5, 0.0, -0.3]]), says="[0, 1]", at="x")
@op(x=lambda g, x: g * ((x > 0) + 0.2 * (x < 0)))
def leaky_relu_at_zero(x):
    """A mask for x > 0 and one for x < 0: at 0 neither counts, and the gradient is none of the two slopes."""
    return np.where(x > 0, x, 0.2 * x)


@exhibit("kink")
class ReluOfZeros(Module):
    """A layer whose weights begin at 0, before a relu: every activation lies on the kink."""

    def __init__(self):
        self.weight = Parameter(np.zeros((3, 2), np.float32))

    def forward(self):
        return ops.relu(np.ones((4, 3)) @ self.weight)


@exhibit("nan", np.array([[0.3, 0.0], [0.0, 0.0]]))
def row_lengths(x):
    """‖x‖ of a row of zeros: the derivative of the root divides by 0."""
    return (x * x).sum(axis=1).sqrt()


@exhibit("nan", np.array([0.5, 0.0, 0.25]))
def entropy(p):
    """−Σ p·ln p with a probability of exactly 0: 0 · ln 0 is not a number."""
    return -(p * p.log()).sum()


@exhibit("nan", np.array([0.5, -0.5, 2.0]))
def root_behind_where(x):
    """where() chooses 0 for negative x; the root below it has been taken all the same."""
    return ops.where(x > 0, x.sqrt(), 0.0)


@exhibit("nan", np.array([0.5, 40.0, -1.0]))
def loss_of_certain_discriminator(logit):
    """ln(1 − σ(x)) written as it stands in the paper: at x = 40, σ(x) is 1."""
    return (1.0 - ops.sigmoid(logit)).log().mean()


@exhibit("nan", np.array([[1.0, 800.0, -3.0]]))
@op(x=lambda g, out: out * (g - (g * out).sum(axis=1, keepdims=True)))
def softmax_that_overflows(x):
    """Softmax without subtracting the largest x first: e⁸⁰⁰ is infinite."""
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


# ------------------------------------------------------------------------------------------------ numbers not to trust


@exhibit("out of precision", normal(4, 3))
@op(x=lambda g, x: g * 2 * x)
def square_in_half_precision(x):
    """The forward pass goes through float16 to save memory: its steps are larger than those of the differences."""
    return (x * x).astype(np.float16).astype(x.dtype)


@exhibit("out of precision", 1e-4 * (1 + 0.1 * normal(5)))
@op(x=lambda g, x: g * (np.sin(x) / x**2 - 2 * (1 - np.cos(x)) / x**3))
def one_minus_cosine(x):
    """(1 − cos x)/x² near 0: the digits cancel, and a difference sees the rest."""
    return (1 - np.cos(x)) / x**2


# ------------------------------------------------------------------------------------------------ none of these


@exhibit("unknown", X, at="x")
@op(x=lambda g, x: g * (1 - x * x))
def tanh_at_its_input(x):
    """1 − tanh² with the input in the place of the output."""
    return np.tanh(x)


@exhibit("unknown", X, at="x")
@op(x=lambda g, x: g * _sigmoid(1.702 * x) * (1 + 1.702 * x * (1 - _sigmoid(1.702 * x))))
def gelu(x):
    """The tanh form forward, the derivative of the sigmoid form backward: wrong in the second digit."""
    return x * 0.5 * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


@exhibit("transposed", X, says="J·g instead of Jᵀ·g", at="x")
@op(x=lambda g: g.cumsum(axis=1))
def cumulative_sum(x):
    """A linear map used as its own adjoint: the gradient of a running sum is a sum from the other end."""
    return x.cumsum(axis=1)

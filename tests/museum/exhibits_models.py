"""One wrong op, buried: in a network, a loss, a model; in one of several outputs or weights."""

import numpy as np
from exhibit import exhibit, normal

from minigen import ops
from minigen.autograd import Tensor, grad, op, tensor
from minigen.backend import Generator
from minigen.nn import BatchNorm, Conv2d, Dense, Module, Parameter, Sequential

X, IMAGES = normal(5, 3), normal(3, 1, 6, 6)


@op(x=lambda g, x: g * (x > 0))
def leaky(x):
    """0.2·x below 0, with the derivative of relu."""
    return np.where(x > 0, x, 0.2 * x)


@exhibit("partly wrong", IMAGES, np.array([0, 2, 1]), op="leaky")
class Classifier(Module):
    """A convolutional network and its loss; of all its ops one is wrong, and every gradient below it."""

    def __init__(self):
        rng = Generator(0)
        self.conv, self.dense = Conv2d(1, 3, 3, stride=2, rng=rng), Dense(12, 3, rng=rng)

    def forward(self, x, labels):
        return ops.cross_entropy(self.dense(ops.flatten(leaky(self.conv(x)), 1)), labels)


@op(x=lambda g: g, bias=lambda g: g.mean(axis=0))
def add_bias(x, bias):
    return x + bias


class Affine(Module):
    """A dense layer with a bias that averages."""

    def __init__(self):
        self.weight = Parameter(normal(4, 3, seed=5).astype(np.float32))
        self.bias = Parameter(normal(4, seed=6).astype(np.float32))

    def forward(self, x):
        return add_bias(x @ self.weight.T, self.bias)


@exhibit("constant factor", X, says="1/5", op="add_bias", at="0.bias")
class TwoLayers(Module):
    """Two layers, of which the first takes the mean over the batch for its bias: the inputs' gradients are right."""

    def __init__(self):
        setattr(self, "0", Affine())
        self.last = Dense(4, 2, rng=Generator(1))

    def forward(self, x):
        return self.last(ops.tanh(getattr(self, "0")(x)))


@op(mu=lambda g: g, logvar=lambda g, logvar, eps: g * eps * ops.exp(0.5 * logvar))
def sample(mu, logvar, eps):
    """μ + ε·σ."""
    return mu + eps * np.exp(0.5 * logvar)


@exhibit("constant factor", normal(4, 6), says="2", op="sample")
class VAELoss(Module):
    """The reparameterised sample without the ½ of σ = e^(½ ln σ²): the ELBO's gradient in ln σ² is wrong.

    (DeZero's example samples with σ = e^(ln σ²). That is another model, with a right gradient: no checker can see it.)
    """

    def __init__(self):
        self.encoder, self.decoder = Dense(6, 4, rng=Generator(0)), Dense(2, 6, rng=Generator(1))
        self.rng = Generator(2)

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = h[:, :2], h[:, 2:]
        z = sample(mu, logvar, self.rng.normal(mu.shape))
        return ops.mse_loss(self.decoder(z), x) + ops.gaussian_kl(mu, logvar).mean()


def _windows(x):
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))


def _filter_x(g, weight, x_shape):
    out = np.zeros(x_shape)
    for i, j in np.ndindex(g.shape[2:]):
        out[:, :, i : i + 3, j : j + 3] += np.einsum("no,ocuv->ncuv", g[:, :, i, j], weight)
    return out


@op(
    x=_filter_x,
    weight=lambda g, x: np.einsum("noij,ncijuv->ocuv", g, _windows(x))[:, :, ::-1, ::-1],
)
def filter_images(x, weight):
    return np.einsum("ncijuv,ocuv->noij", _windows(x), weight)


class Filter(Module):
    def __init__(self, C, O):
        self.weight = Parameter(normal(O, C, 3, 3, seed=7).astype(np.float32))

    def forward(self, x):
        return filter_images(x, self.weight)


@exhibit("flipped", IMAGES, op="filter_images", at="0.weight")
class Encoder(Sequential):
    """A fault in the weights only: their gradient is turned by 180°, that of the images is right."""

    def __init__(self):
        super().__init__(Filter(1, 2), ops.tanh, Conv2d(2, 1, 2, rng=Generator(0)))


def _swish_x(g, x):
    s = ops.sigmoid(x.data if isinstance(x, Tensor) else x)
    return g * (s + x * s * (1 - s))


@op(x=_swish_x)
def swish(x):
    return x / (1 + np.exp(-x))


@exhibit("constant statistic", X, op="swish")
class Penalised(Module):
    """A gradient penalty through an activation whose σ is saved as a number: already the first derivative is wrong."""

    def __init__(self):
        self.hidden, self.out = Dense(3, 4, rng=Generator(0)), Dense(4, 1, rng=Generator(1))

    def forward(self, x):
        x = x if x.node else tensor(x.data, requires_grad=True)
        slope = grad(self.out(swish(self.hidden(x))).sum(), x, create_graph=True)
        return (((slope * slope).sum(axis=1) - 1.0) ** 2).mean()


@op(x=lambda g, out: out * g)
def attention_weights(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@exhibit("missing term", X, op="attention_weights")
class Attention(Module):
    """Self-attention of one head, with a softmax that has no sum term; three Dense layers hide it."""

    def __init__(self):
        self.q, self.k, self.v = (Dense(3, 4, rng=Generator(i)) for i in range(3))

    def forward(self, x):
        return attention_weights(self.q(x) @ self.k(x).T * 0.5) @ self.v(x)


@op(x=lambda g, x: 0.0 * x if g[0] is None else ops.pad(g[0], (0, g[0].shape[1])))
def halves(x):
    return x[:, : x.shape[1] // 2] + 0.0, x[:, x.shape[1] // 2 :] + 0.0


@exhibit("partly wrong", normal(4, 6), op="halves", at="h")
def gated(h):
    """a·σ(b) from one array of two halves: the op with two outputs sends back the first cotangent only."""
    a, b = halves(h)
    return a * ops.sigmoid(b)


@op(xs=lambda g, i, xs: g * xs[i])
def product_of_all(*xs):
    out = xs[0]
    for x in xs[1:]:
        out = out * x
    return out


@exhibit("swapped inputs", X, normal(5, 3, seed=4), op="product_of_all")
def gate_by_product(x, y):
    """A variadic product: each input receives itself, instead of the others."""
    return ops.tanh(product_of_all(x, y))


@op(x=lambda g, x: g * (np.tanh(np.log1p(np.exp(x))) + x / (1 + np.exp(-x))))
def mish(x):
    return x * np.tanh(np.log1p(np.exp(x)))


@exhibit("unknown", normal(2, 3, 5, 5), op="mish")
class ResidualBlock(Module):
    """x·tanh(softplus(x)) without the derivative of the tanh, twice between convolutions and batch norm."""

    def __init__(self):
        rng = Generator(0)
        self.first, self.second = Conv2d(3, 3, 3, 1, 1, rng=rng), Conv2d(3, 3, 3, 1, 1, rng=rng)
        self.norm = BatchNorm(3)

    def forward(self, x):
        return mish(x + self.second(mish(self.norm(self.first(x)))))


@exhibit("unknown", normal(6, 4), normal(4, seed=1), normal(4, seed=2), at="weight")
@op(
    x=lambda g, x, weight: _batch_norm_x(g, x, weight),
    weight=lambda g, x: (g * x).sum(axis=0),
    bias=lambda g: g.sum(axis=0),
)
def batch_norm_weight_of_raw_values(x, weight, bias):
    """The scale of batch norm receives Σ g·x; what it multiplies is x̂."""
    return weight * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) + bias


def _batch_norm_x(g, x, weight):
    rstd = 1 / np.sqrt(x.var(axis=0) + 1e-5)
    xhat = (x - x.mean(axis=0)) * rstd
    return weight * rstd * (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0))

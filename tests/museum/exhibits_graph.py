"""Nothing comes, something was touched, or a call fails: the graph is cut, arrays are changed, shapes are wrong."""

import numpy as np
from exhibit import exhibit, normal

from minigen import ops
from minigen.autograd import Tensor, detach, grad, op, tensor
from minigen.backend import Generator
from minigen.nn import Conv2d, Dense, Module, Parameter, SpectralNorm

X, Y = normal(4, 3), normal(4, 3, seed=1)
weights = lambda *shape: Parameter(normal(*shape, seed=9).astype(np.float32))

# ------------------------------------------------------------------------------------------------ no gradient


@exhibit("no gradient", X, normal(5, 3), normal(5), says="bias", at="bias")
@op(x=lambda g, weight: g @ weight, weight=lambda g, x: g.T @ x)
def linear_without_bias_rule(x, weight, bias):
    """The bias was added later; its derivative was not."""
    return x @ weight.T + bias


@exhibit("no gradient", X, says="bias", at="bias")
class DenseWithDetachedBias(Module):
    """self.bias.data, because the broadcast 'gave a Tensor': the bias is never trained."""

    def __init__(self):
        self.weight, self.bias = weights(5, 3), weights(5)

    def forward(self, x):
        return x @ self.weight.T + self.bias.data


@exhibit("no gradient", X)
def generator_loss(fake):
    """The generator's loss on the detached images of the discriminator's step: nothing is learnt."""
    return ops.softplus(-detach(fake)).mean()


@exhibit("no gradient", X, says="x", at="x")
class WrappedBranch(Module):
    """One branch was computed with NumPy and wrapped into a new Tensor, for an operator to accept it."""

    def __init__(self):
        self.scale = weights(3)

    def forward(self, x):
        return Tensor(np.tanh(x.data)) * self.scale


@exhibit("ignored input", X)
def accuracy(logits):
    """The share of right answers as a loss: it depends on the logits in steps only, and its slope is 0."""
    return (ops.argmax(logits, axis=1) == np.array([0, 1, 2, 1])).astype(np.float64).mean()


@exhibit("ignored input or unknown", X, at="x")
@op(x=lambda g: g)
def binarise(x):
    """The straight-through estimator (Bengio et al. 2013): a slope of 1 is claimed of a step, on purpose."""
    return np.where(x > 0, 1.0, 0.0)


# ------------------------------------------------------------------------------------------------ outside the graph


@exhibit("hidden from the graph", X)
def centred(x):
    """The mean is taken from x.data, 'as it is only a statistic'."""
    return ops.tanh(x) - x.data.mean(axis=0)


@exhibit("hidden from the graph", X)
class SpectrallyNormalised(Module):
    """W/σ with σ computed by NumPy: the gradient lacks the derivative of σ."""

    def __init__(self):
        self.weight = weights(4, 3)

    def forward(self, x):
        sigma = np.linalg.norm(self.weight.data, 2)
        return x @ (self.weight / sigma).T


@exhibit("hidden from the graph", X)
class CriticWithPenalty(Module):
    """WGAN-GP's penalty from a gradient without create_graph: it is computed and added, and never trained."""

    def __init__(self):
        self.hidden, self.out = Dense(3, 4, rng=Generator(0)), Dense(4, 1, rng=Generator(1))

    def forward(self, x):
        x = x if x.node else tensor(x.data, requires_grad=True)
        score = self.out(ops.tanh(self.hidden(x))).sum()
        slope = grad(score, x)
        return score + (((slope * slope).sum(axis=1).sqrt() - 1.0) ** 2).mean()


@exhibit("hidden from the graph or out of precision", normal(3, 2, 5, 5))
class SpectralNormInTraining(SpectralNorm):
    """The engine's own, by design: the singular vectors follow the weights outside the graph, in float32 buffers."""

    def __init__(self):
        super().__init__(Conv2d(2, 3, 3, rng=Generator(0)), rng=Generator(1))


# ------------------------------------------------------------------------------------------------ changed in place


@exhibit("modified in place", X, says="x")
@op(x=lambda g, out: out * (g - (g * out).sum(axis=1, keepdims=True)))
def softmax_in_place(x):
    """x −= max(x): the array of the caller is shifted as well."""
    x -= x.max(axis=1, keepdims=True)
    e = np.exp(x)
    return e / e.sum(axis=1, keepdims=True)


@exhibit("modified in place", X, says="x")
@op(x=lambda g, out: g * (out > 0))
def relu_in_place(x):
    """x[x < 0] = 0, and x is returned: what came before the relu is lost."""
    x[x < 0] = 0
    return x


def _doubled(g):
    g *= 2
    return g


@exhibit("modified in place", X, Y)
def sum_and_double(x, y):
    """A VJP that writes into g: the sum hands the same g to both of its inputs."""
    return (x + y) + _twice(x + 0.0 * y)


@op(x=_doubled)
def _twice(x):
    return 2 * x


def _sigmoid_x(g, out):
    out *= 1 - out
    return g * out


@exhibit("modified in place", X)
@op(x=_sigmoid_x)
def sigmoid_that_reuses_its_output(x):
    """The saved output is overwritten to save an array; the first backward pass is right, the next is not."""
    return 1 / (1 + np.exp(-x))


_buffers = {}


@op(x=lambda g, out: g * (1 - out * out))
def _tanh_into_buffer(x):
    return np.tanh(x, out=_buffers.setdefault((x.shape, x.dtype), np.empty_like(x)))


_last = {}


def _relu_of_last(x):
    _last["mask"] = x > 0
    return x * _last["mask"]


@exhibit("hidden state", X)
@op(x=lambda g: g * _last["mask"])
def relu_with_one_mask(x):
    """The mask is kept beside the op, as an attribute of a layer often is: two calls share that of the second."""
    return _relu_of_last(x)


@exhibit("modified in place or hidden state", X)
def two_layers_of_one_buffer(x):
    """One output array for each shape, to save memory: the second layer overwrites what the first has kept."""
    return _tanh_into_buffer(3.0 * _tanh_into_buffer(x))


@exhibit("modified in place", X, says="weight")
class ClippedCritic(Module):
    """WGAN's weight clipping, put into forward: the weights change whenever the layer is looked at."""

    def __init__(self):
        self.weight = weights(2, 3)

    def forward(self, x):
        self.weight.data.clip(-0.5, 0.5, out=self.weight.data)
        return x @ self.weight.T


@exhibit("modified in place", normal(1, 2, 7, 7), says="weight")
class DilatedConvolutionOfNeunet(Module):
    """neunet's dilated convolution dilates its own weights: at the second call they no longer fit into the image."""

    def __init__(self):
        self.weight = weights(2, 2, 3, 3)

    def forward(self, x):
        O, C, kh, kw = self.weight.shape
        dilated = np.zeros((O, C, 2 * kh - 1, 2 * kw - 1), self.weight.dtype)
        dilated[:, :, ::2, ::2] = self.weight.data
        self.weight.data = dilated
        return ops.conv2d(x, self.weight)


# ------------------------------------------------------------------------------------------------ not the same twice


@exhibit("not deterministic", X)
def noisy(x):
    """Instance noise from NumPy's global generator: nobody can draw it again."""
    return ops.tanh(x + 0.1 * np.random.standard_normal(x.shape))


@exhibit("not deterministic", X)
class RunningCentre(Module):
    """A running mean in a plain attribute: no Buffer, so it is neither saved nor put back, and every call moves it."""

    def __init__(self):
        self.mean = np.zeros(3)

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.data.mean(axis=0)
        return ops.tanh(x - self.mean)


@op(x=lambda g: g * (np.random.random(g.shape) > 0.5) * 2)
def _drop(x, keep):
    return x * keep * 2


@exhibit("not deterministic", X)
def dropout_drawn_twice(x):
    """Dropout whose backward pass draws a mask of its own."""
    return _drop(x, np.random.default_rng(0).random(x.shape) > 0.5)


@op(x=lambda g, rng: g * rng.keep(g.shape, 0.5) * 2)
def _drop_by_generator(x, *, rng):
    return x * rng.keep(x.shape, 0.5) * 2


@exhibit("not deterministic or partly wrong", normal(8, 6))
class DropoutByGenerator(Module):
    """The same with a seeded generator: forward can be repeated, but backward draws the next mask."""

    def __init__(self):
        self.rng = Generator(0)

    def forward(self, x):
        return _drop_by_generator(x, rng=self.rng)


# ------------------------------------------------------------------------------------------------ shapes, exceptions


@exhibit("wrong shape", X, normal(5, 3), says=("(3, 5)", "weight"))
@op(x=lambda g, weight: g @ weight, weight=lambda g, x: x.T @ g)
def linear(x, weight):
    """x·Wᵀ with the weight gradient of x·W: the shape is that of Wᵀ."""
    return x @ weight.T


@exhibit("wrong shape", X, normal(3), says="bias")
@op(x=lambda g: g, bias=lambda g: g.sum())
def bias_summed_over_all(x, bias):
    """sum() without an axis: one number for all biases."""
    return x + bias


@exhibit("VJP raises", X, normal(5, 3), says="matmul")
@op(x=lambda g, weight: g @ weight.T, weight=lambda g, x: g.T @ x)
def linear_that_does_not_fit(x, weight):
    """A transposition too many; as long as the layer was square nothing was raised."""
    return x @ weight.T


@op(x=lambda g, x, out: g[0] + g[1] * (x - x.mean()) / (out[1] * x.size) - 0.0)
def _mean_and_deviation(x):
    return x + 0.0, x.std()


@exhibit("VJP raises", X, says="None")
def values_without_their_deviation(x):
    """An op of two outputs, of which one is used: the cotangent of the other is None."""
    return _mean_and_deviation(x)[0]

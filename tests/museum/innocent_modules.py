"""Modules that are right, and suspicious all the same: what must not be accused."""

from exhibit import innocent, normal

from minigen import ops
from minigen.autograd import grad, tensor
from minigen.backend import Generator
from minigen.nn import BatchNorm, Conv2d, ConvTranspose2d, Dense, Dropout, Flatten, Module, Sequential, SpectralNorm


@innocent(normal(8, 6))
class Regularised(Sequential):
    """Dropout draws from a Generator, batch norm moves its running statistics: both are put back."""

    def __init__(self):
        r = Generator(0)
        super().__init__(Dense(6, 5, rng=r), BatchNorm(5), ops.tanh, Dropout(0.5, rng=r), Dense(5, 2, rng=r))


@innocent(normal(2, 1, 6, 6))
class ConvolutionalNet(Sequential):
    """Downwards and upwards again, with kinks between."""

    def __init__(self):
        r = Generator(0)
        super().__init__(
            *(Conv2d(1, 4, 4, 2, 1, rng=r), ops.leaky_relu, ConvTranspose2d(4, 1, 4, 2, 1, rng=r), ops.sigmoid),
            *(Flatten(), Dense(36, 3, rng=r)),
        )


@innocent(normal(4, 6))
class HalfFrozen(Sequential):
    """The first layer is a constant, on purpose."""

    def __init__(self):
        super().__init__(Dense(6, 5, rng=Generator(0)), ops.tanh, Dense(5, 2, rng=Generator(1)))
        for p in self[0].parameters():
            p.node = None


@innocent(normal(3, 2, 5, 5))
class Spectral(SpectralNorm):
    """In evaluation the singular vectors are constants, so that the gradient is exact."""

    def __init__(self):
        super().__init__(Conv2d(2, 3, 3, rng=Generator(0)), rng=Generator(1))
        self.eval()


@innocent(normal(5, 3))
class GradientPenalty(Module):
    """WGAN-GP's penalty, with create_graph: a loss that differentiates inside."""

    def __init__(self):
        self.hidden, self.out = Dense(3, 4, rng=Generator(0)), Dense(4, 1, rng=Generator(1))

    def forward(self, x):
        x = x if x.node else tensor(x.data, requires_grad=True)
        slope = grad(self.out(ops.tanh(self.hidden(x))).sum(), x, create_graph=True)
        return (((slope * slope).sum(axis=1).sqrt() - 1.0) ** 2).mean()


@innocent(normal(6, 4), normal(6, 4, seed=1))
class DiscriminatorLoss(Module):
    """The generator's images are constants in this step, on purpose, as they come from a detach outside."""

    def __init__(self):
        self.D = Sequential(Dense(4, 8, rng=Generator(0)), ops.leaky_relu, Dense(8, 1, rng=Generator(1)))

    def forward(self, real, fake):
        return (ops.softplus(-self.D(real)) + ops.softplus(self.D(fake))).mean()


@innocent(normal(4, 6))
class TiedAutoencoder(Module):
    """One weight used twice, the second time transposed."""

    def __init__(self):
        self.encode = Dense(6, 3, rng=Generator(0))

    def forward(self, x):
        return ops.mse_loss(ops.tanh(self.encode(x)) @ self.encode.weight, x)

"""The four workloads, as minigen models: a convolutional and a dense GAN, a convolutional and a dense VAE.

Nets and losses are those of torch_workloads.py, to the parameter's name: weights of one can be loaded into the other.
"""

import itertools

import numpy as np

from ..data import Dataset
from ..loop import Training
from ..models import GAN, Model, SingleObjective
from ..nn import BatchNorm1d, BatchNorm2d, Conv2d, ConvTranspose2d, Dense, Dropout, Flatten, Reshape, Sequential
from ..ops import binary_cross_entropy_with_logits, exp, gaussian_kl, leaky_relu, relu


def lrelu(x):
    """max(x, 0.2·x)."""
    return leaky_relu(x, negative_slope=0.2)


class PlainGAN(GAN):
    """The loss of `models.GAN` on nets of one's own; Adam with its usual betas, no average of weights."""

    betas, average = (0.9, 0.999), 0.0

    def __init__(self, shape, latent, G, D, rng=None):
        Model.__init__(self, shape, rng)
        self.latent, self.categories, self.G, self.D = latent, 0, G, D


def dcgan(rng):
    """DCGAN for 28×28: transposed convolutions with batch norm against convolutions with dropout."""
    up = lambda c_in, c_out, stride: ConvTranspose2d(c_in, c_out, 5, stride, 2, stride - 1, bias=False, rng=rng)
    G = Sequential(
        *(Dense(100, 12544, bias=False, rng=rng), BatchNorm1d(12544), lrelu, Reshape(256, 7, 7)),
        *(up(256, 128, 1), BatchNorm2d(128), lrelu),  # 7 × 7
        *(up(128, 64, 2), BatchNorm2d(64), lrelu),  # 14 × 14
        up(64, 1, 2),  # 28 × 28; tanh follows in GAN.generate
    )
    D = Sequential(
        *(Conv2d(1, 64, 5, 2, 2, rng=rng), lrelu, Dropout(0.3, rng=rng)),  # 14 × 14
        *(Conv2d(64, 128, 5, 2, 2, rng=rng), lrelu, Dropout(0.3, rng=rng)),  # 7 × 7
        *(Flatten(), Dense(6272, 1, rng=rng)),
    )
    return PlainGAN((1, 28, 28), 100, G, D, rng)


def dense_gan(rng):
    """GAN of two dense layers each, 64-128-784 against 784-128-1."""
    G = Sequential(Dense(64, 128, rng=rng), lrelu, Dense(128, 784, rng=rng), Reshape(1, 28, 28))
    D = Sequential(Flatten(), Dense(784, 128, rng=rng), lrelu, Dense(128, 1, rng=rng))
    return PlainGAN((1, 28, 28), 64, G, D, rng)


class PlainVAE(SingleObjective):
    """The negative ELBO of grey pixels under a Bernoulli likelihood, in nats per image.

    encoder: images → (N, features); decoder: (N, latent) → logits of pixels. Two dense heads give μ and ln σ².
    """

    def __init__(self, shape, features, latent, encoder, decoder, rng=None):
        super().__init__(shape, rng)
        self.encoder = encoder
        self.to_mu, self.to_logvar = Dense(features, latent, rng=rng), Dense(features, latent, rng=rng)
        self.decoder = decoder

    def loss(self, x):
        h = self.encoder(x)
        mu, logvar = self.to_mu(h), self.to_logvar(h)
        z = mu + exp(0.5 * logvar) * self.rng.normal(mu.shape)
        error = binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        return {"reconstruction": error / len(x), "kl": gaussian_kl(mu, logvar).mean()}


def conv_vae(rng):
    """VAE of 64×64 colour images: three convolutions that halve, three transposed ones that double."""
    down = lambda c_in, c_out: Conv2d(c_in, c_out, 4, 2, 1, rng=rng)
    up = lambda c_in, c_out: ConvTranspose2d(c_in, c_out, 4, 2, 1, rng=rng)
    encoder = Sequential(down(3, 32), relu, down(32, 64), relu, down(64, 128), relu, Flatten())  # 128 × 8 × 8
    decoder = Sequential(
        *(Dense(128, 8192, rng=rng), relu, Reshape(128, 8, 8)),
        *(up(128, 64), relu, up(64, 32), relu, up(32, 3)),
    )
    return PlainVAE((3, 64, 64), 8192, 128, encoder, decoder, rng)


def dense_vae(rng):
    """VAE 784-400-20-400-784."""
    encoder = Sequential(Flatten(), Dense(784, 400, rng=rng), relu)
    decoder = Sequential(Dense(20, 400, rng=rng), relu, Dense(400, 784, rng=rng), Reshape(1, 28, 28))
    return PlainVAE((1, 28, 28), 400, 20, encoder, decoder, rng)


WORKLOADS = {"dcgan": dcgan, "vae64": conv_vae, "mlpvae": dense_vae, "mlpgan": dense_gan}


def training(model, batch, seed=0):
    """A Training of `model`, given one batch of random images again and again: the step is measured, no loader."""
    c, h, w = model.shape
    pixels = np.random.default_rng(seed).integers(0, 256, (batch, h, w, c), np.uint8)
    noise = Dataset.from_pixels(pixels, np.zeros(batch, np.int64), ("noise",), "noise")
    training = Training(model, noise, batch_size=batch)
    training.loader = itertools.repeat(next(training.loader))
    return training

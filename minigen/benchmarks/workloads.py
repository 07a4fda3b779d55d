"""The workloads, as minigen models: convolutional and dense GANs and VAEs, and a GAN with a gradient penalty.

Nets and losses are those of torch_workloads.py, to the parameter's name: weights of one can be loaded into the other.
thin: by what numbers of channels and units are divided; a rehearsal of the benchmark is no more than that.
"""

import itertools

import numpy as np

from ..data import Dataset
from ..loop import Training
from ..models import GAN, WGANGP, Model, SingleObjective
from ..models.gan import DCGAN_INIT
from ..models.nets import lrelu
from ..nn import BatchNorm1d, BatchNorm2d, Conv2d, ConvTranspose2d, Dense, Dropout, Flatten, Reshape, Sequential
from ..ops import binary_cross_entropy_with_logits, exp, gaussian_kl, relu


class PlainGAN(GAN):
    """The loss of `models.GAN` on nets of one's own; Adam with its usual betas, no average of weights."""

    betas, average = (0.9, 0.999), 0.0

    def __init__(self, shape, latent, G, D, rng=None, betas=betas):
        Model.__init__(self, shape, rng)
        self.latent, self.categories, self.G, self.D, self.betas = latent, 0, G, D, betas


def dcgan(rng, thin=1):
    """DCGAN for 28×28: transposed convolutions with batch norm against convolutions with dropout."""
    a, b, c = 64 // thin, 128 // thin, 256 // thin
    up = lambda c_in, c_out, stride: ConvTranspose2d(c_in, c_out, 5, stride, 2, stride - 1, bias=False, rng=rng)
    G = Sequential(
        *(Dense(100, 49 * c, bias=False, rng=rng), BatchNorm1d(49 * c), lrelu, Reshape(c, 7, 7)),
        *(up(c, b, 1), BatchNorm2d(b), lrelu),  # 7 × 7
        *(up(b, a, 2), BatchNorm2d(a), lrelu),  # 14 × 14
        up(a, 1, 2),  # 28 × 28; tanh follows in GAN.generate
    )
    D = Sequential(
        *(Conv2d(1, a, 5, 2, 2, rng=rng), lrelu, Dropout(0.3, rng=rng)),  # 14 × 14
        *(Conv2d(a, b, 5, 2, 2, rng=rng), lrelu, Dropout(0.3, rng=rng)),  # 7 × 7
        *(Flatten(), Dense(49 * b, 1, rng=rng)),
    )
    return PlainGAN((1, 28, 28), 100, G, D, rng)


def dcgan64(rng, thin=1):
    """DCGAN for 64×64 colour images, with the nets and Adam's β₁ of the paper.       Radford et al. 2016"""
    f, options = 64 // thin, {"bias": False, "init": DCGAN_INIT, "rng": rng}
    up = lambda c_in, c_out: ConvTranspose2d(c_in, c_out, 4, 2, 1, **options)
    down = lambda c_in, c_out: Conv2d(c_in, c_out, 4, 2, 1, **options)
    G = Sequential(
        *(Reshape(100, 1, 1), ConvTranspose2d(100, 8 * f, 4, **options), BatchNorm2d(8 * f), relu),  # 4 × 4
        *(up(8 * f, 4 * f), BatchNorm2d(4 * f), relu, up(4 * f, 2 * f), BatchNorm2d(2 * f), relu),  # 16 × 16
        *(up(2 * f, f), BatchNorm2d(f), relu, up(f, 3)),  # 64 × 64; tanh follows in GAN.generate
    )
    D = Sequential(
        *(down(3, f), lrelu, down(f, 2 * f), BatchNorm2d(2 * f), lrelu),  # 16 × 16
        *(down(2 * f, 4 * f), BatchNorm2d(4 * f), lrelu, down(4 * f, 8 * f), BatchNorm2d(8 * f), lrelu),  # 4 × 4
        *(Conv2d(8 * f, 1, 4, **options), Flatten()),
    )
    return PlainGAN((3, 64, 64), 100, G, D, rng, betas=(0.5, 0.999))


def wgangp(rng, thin=1):
    """The library's WGAN-GP for 28×28: five updates of D for one of G, a second derivative in each of D's."""
    model = WGANGP((1, 28, 28), width=32 // thin, rng=rng)
    model.average = 0.0
    return model


def dense_gan(rng, thin=1):
    """GAN of two dense layers each, 64-128-784 against 784-128-1."""
    h = 128 // thin
    G = Sequential(Dense(64, h, rng=rng), lrelu, Dense(h, 784, rng=rng), Reshape(1, 28, 28))
    D = Sequential(Flatten(), Dense(784, h, rng=rng), lrelu, Dense(h, 1, rng=rng))
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


def conv_vae(rng, thin=1):
    """VAE of 64×64 colour images: three convolutions that halve, three transposed ones that double."""
    a, b, c = 32 // thin, 64 // thin, 128 // thin
    down = lambda c_in, c_out: Conv2d(c_in, c_out, 4, 2, 1, rng=rng)
    up = lambda c_in, c_out: ConvTranspose2d(c_in, c_out, 4, 2, 1, rng=rng)
    encoder = Sequential(down(3, a), relu, down(a, b), relu, down(b, c), relu, Flatten())  # c × 8 × 8
    decoder = Sequential(
        *(Dense(128, 64 * c, rng=rng), relu, Reshape(c, 8, 8)),
        *(up(c, b), relu, up(b, a), relu, up(a, 3)),
    )
    return PlainVAE((3, 64, 64), 64 * c, 128, encoder, decoder, rng)


def dense_vae(rng, thin=1):
    """VAE 784-400-20-400-784."""
    h = 400 // thin
    encoder = Sequential(Flatten(), Dense(784, h, rng=rng), relu)
    decoder = Sequential(Dense(20, h, rng=rng), relu, Dense(h, 784, rng=rng), Reshape(1, 28, 28))
    return PlainVAE((1, 28, 28), h, 20, encoder, decoder, rng)


WORKLOADS = {
    "dcgan": dcgan,
    "vae64": conv_vae,
    "mlpvae": dense_vae,
    "mlpgan": dense_gan,
    "dcgan64": dcgan64,
    "wgangp": wgangp,
}


def training(model, batch, seed=0, **options):
    """A Training of `model`, given one batch of random images again and again: the step is measured, no loader."""
    c, h, w = model.shape
    pixels = np.random.default_rng(seed).integers(0, 256, (batch, h, w, c), np.uint8)
    noise = Dataset.from_pixels(pixels, np.zeros(batch, np.int64), ("noise",), "noise")
    training = Training(model, noise, batch_size=batch, **options)
    training.loader = itertools.repeat(next(training.loader))
    return training

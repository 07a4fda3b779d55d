"""The variational autoencoder.

    ln p(x) ≥ ELBO(x) = E_{q(z|x)} ln p(x|z) − KL(q(z|x) ‖ p(z))                    Kingma & Welling 2014, equation 3

Symbols: z code, p(z) = N(0, I), q(z|x) = N(μ(x), σ²(x)) by the encoder, p(x|z) by the decoder.
z = μ + σ·ε with ε ~ N(0, I) carries gradients to μ and σ (their section 2.4), with σ = exp(½ ln σ²).
Unit: nats per image, summed over pixels, averaged over the batch.
"""

import math

import numpy as np

from ..autograd import Tensor, no_grad
from ..backend import asarray
from ..nn import Parameter
from ..ops import binary_cross_entropy_with_logits, exp, gaussian_kl, sigmoid, split
from .base import SingleObjective
from .nets import decoder, encoder


class VAE(SingleObjective):
    """max E_{q(z|x)} ln p(x|z) − KL(q(z|x) ‖ N(0, I)).       Kingma & Welling 2014, equation 10

    net: "dense" or "conv"
    latent: numbers in z
    width: channels at the image's end of the convolutional nets; they double inwards
    hidden: units of the dense nets
    likelihood: "bernoulli" (black or white pixels: grey x is drawn anew, black or white with probability x, at each
        presentation) or "gaussian" (one standard deviation for all pixels, learned)
    """

    batch_size, epochs, lr = 128, 20, 1e-3

    def __init__(self, shape, *, net="dense", latent=32, width=32, hidden=512, likelihood="bernoulli", rng=None):
        super().__init__(shape, rng)
        if likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f'VAE: expected likelihood "bernoulli" or "gaussian"; got {likelihood!r}.')
        self.latent, self.likelihood = latent, likelihood
        self.encoder = encoder(net, shape, 2 * latent, self.rng, hidden=hidden, width=width)
        self.decoder = decoder(net, latent, shape, self.rng, hidden=hidden, width=width)
        if likelihood == "gaussian":
            self.log_sigma = Parameter(asarray(np.full((), math.log(0.2), np.float32)))

    def encode(self, x):
        """(μ, ln σ²) of q(z|x), each (N, latent)."""
        return split(self.encoder(x), self.latent, axis=1)

    def decode(self, z):
        """The mean of p(x|z), pixels in [0, 1]."""
        return sigmoid(self.decoder(z))

    def pixels(self, x):
        """x as the likelihood wants it: black or white for Bernoulli."""
        return x if self.likelihood == "gaussian" else (Tensor(self.rng.uniform(x.shape)) < x).astype(x.dtype)

    def reparameterise(self, mu, logvar):
        """z = μ + σ·ε."""
        return mu + exp(0.5 * logvar) * self.rng.normal(mu.shape)

    def negative_log_likelihood(self, x, z):
        """−ln p(x|z) of each image: (N,), nats."""
        a = self.decoder(z)
        if self.likelihood == "bernoulli":
            return binary_cross_entropy_with_logits(a, x, reduction="none").sum(axis=(1, 2, 3))
        d = (x - sigmoid(a)) * exp(-self.log_sigma)
        per_pixel = self.log_sigma + 0.5 * math.log(2 * math.pi)
        return 0.5 * (d * d).sum(axis=(1, 2, 3)) + per_pixel * math.prod(self.shape)

    def terms(self, x):
        """(−ln p(x|z), KL) of each image, nats: their sum is −ELBO."""
        mu, logvar = self.encode(x)
        return self.negative_log_likelihood(x, self.reparameterise(mu, logvar)), gaussian_kl(mu, logvar)

    def loss(self, x):
        nll, kl = self.terms(self.pixels(x))
        return {"reconstruction": nll.mean(), "kl": kl.mean()}

    @no_grad()
    def sample(self, n, rng=None):
        return self.decode((rng or self.rng).normal((n, self.latent)))

    @no_grad()
    def reconstruct(self, x):
        return self.decode(self.encode(x)[0])

    @no_grad()
    def measure(self, x, y):
        nll, kl = self.terms(self.pixels(x))
        return {
            "ELBO": (-(nll + kl).sum(), "nats per image"),
            "reconstruction": (nll.sum(), "nats per image"),
            "KL": (kl.sum(), "nats per image"),
        }

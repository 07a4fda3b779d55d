"""Likelihoods of latent-variable models."""

import math

import numpy as np

from ..autograd import no_grad
from ..backend import to_numpy
from ..ops import logsumexp


@no_grad()
def importance_nll(vae, x, samples=500):
    """−ln p(x) of each image of a VAE, by importance sampling: −ln (1/K) Σₖ p(x, zₖ)/q(zₖ|x), zₖ ~ q(z|x).

    x: (N, C, H, W) pixels as the likelihood wants them (black or white for Bernoulli). samples: K; more are tighter.
    Unit: nats. An upper bound in expectation, exact as K → ∞.       Burda et al. 2016, equation 8
    """
    mu, logvar = vae.encode(x)
    weights = []
    for _ in range(samples):
        noise = vae.rng.normal(mu.shape)
        z = mu + (0.5 * logvar).exp() * noise
        log_q = -0.5 * (noise * noise + logvar + math.log(2 * math.pi)).sum(axis=1)
        log_p = -0.5 * (z * z + math.log(2 * math.pi)).sum(axis=1)
        log_w = log_p - log_q - vae.negative_log_likelihood(x, z)
        weights.append(to_numpy(log_w.data).astype(np.float64))
    return math.log(samples) - logsumexp(np.stack(weights), axis=0)

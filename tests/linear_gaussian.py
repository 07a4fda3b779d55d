"""A VAE whose likelihood is known: z ~ N(0, I₂), x = W·z + noise of standard deviation s, so x ~ N(0, WWᵀ + s²I).

The columns of W are orthogonal; then the exact posterior is diagonal:  σ² = s²/(s² + ‖w‖²), μ = wᵀx/(s² + ‖w‖²).
"""

import math

import numpy as np

from minigen import Generator, tensor
from minigen.models import VAE

W = np.float32([[2.0, 0.5], [1.0, -1.0], [0.0, 2.0], [0.5, 0.0]])  # (4 pixels, 2 latents), columns orthogonal
NOISE = 0.7


class LinearGaussian(VAE):
    """Its q(z|x) is the exact posterior, moved by `shift` in the first latent, its ln σ² raised by `widen`."""

    def __init__(self, shift=0.0, widen=0.0):
        super().__init__((1, 2, 2), latent=2, hidden=2, likelihood="gaussian", rng=Generator(0))
        self.shift, self.widen = np.float32([shift, 0.0]), np.float32(widen)
        self.lengths = (W**2).sum(axis=0)
        self.posterior_variance = NOISE**2 / (NOISE**2 + self.lengths)

    def encode(self, x):
        flat = x.reshape(len(x), 4)
        mu = flat @ (W / (NOISE**2 + self.lengths)).astype(np.float32) + self.shift
        logvar = np.broadcast_to(np.log(self.posterior_variance).astype(np.float32) + self.widen, mu.shape)
        return tensor(mu), tensor(np.ascontiguousarray(logvar))

    def negative_log_likelihood(self, x, z):
        d = (x.reshape(len(x), 4) - z @ W.T) / np.float32(NOISE)
        return 0.5 * (d * d).sum(axis=1) + 4 * (math.log(NOISE) + 0.5 * math.log(2 * math.pi))

    def log_likelihood(self, x):
        """ln p(x) of each image, in closed form."""
        covariance = W.astype(np.float64) @ W.T + NOISE**2 * np.eye(4)
        flat = x.reshape(len(x), 4).astype(np.float64)
        quadratic = (flat * np.linalg.solve(covariance, flat.T).T).sum(axis=1)
        return -0.5 * (quadratic + np.linalg.slogdet(covariance)[1] + 4 * math.log(2 * math.pi))

    def draw_images(self, n, seed=0):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((n, 2)) @ W.T + NOISE * rng.standard_normal((n, 4))
        return x.astype(np.float32).reshape(n, 1, 2, 2)

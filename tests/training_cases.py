"""Small models and data for the tests of models, loop, run folders and commands."""

import numpy as np

from minigen import Training
from minigen.backend import Generator
from minigen.data import Dataset
from minigen.models import MODELS

# name → (model, options): every model, both nets, and every option that changes what is computed
MODEL_CASES = {
    "ae dense": ("ae", {"hidden": 24, "code": 6}),
    "ae conv": ("ae", {"net": "conv", "width": 6, "code": 6}),
    "ae unpool": ("ae", {"net": "conv", "width": 6, "code": 6, "upsample": "unpool"}),
    "vae dense": ("vae", {"hidden": 24, "latent": 4}),
    "vae conv": ("vae", {"net": "conv", "width": 6, "latent": 4}),
    "vae gaussian": ("vae", {"hidden": 24, "latent": 4, "likelihood": "gaussian"}),
    "gan dense": ("gan", {"net": "dense", "hidden": 24, "latent": 6}),
    "gan conv": ("gan", {"width": 6, "latent": 6, "categories": 3}),
    "gan d_norm none": ("gan", {"width": 6, "latent": 6, "d_norm": "none"}),
    "wgan_gp dense": ("wgan_gp", {"net": "dense", "hidden": 24, "latent": 6, "critic_steps": 2}),
    "wgan_gp conv": ("wgan_gp", {"width": 6, "latent": 6, "critic_steps": 2}),
    "wgan_gp layer": ("wgan_gp", {"width": 6, "latent": 6, "critic_norm": "layer"}),
    "wgan_gp batch": ("wgan_gp", {"width": 6, "latent": 6, "critic_norm": "batch"}),
    "classifier": ("classifier", {"classes": 3, "width": 4, "hidden": 8}),
}


def make(case, shape=(1, 12, 12), seed=1, **more):
    name, options = MODEL_CASES[case]
    return MODELS[name](shape, **options | more, rng=Generator(seed))


def images(n=32, shape=(1, 12, 12), classes=3, seed=0):
    """A Dataset of bright bars on black: class k has a bar at a height of its own, its place and shade vary."""
    c, h, w = shape
    rng = np.random.default_rng(seed)
    pixels, labels = np.zeros((n, h, w, c), np.uint8), np.arange(n) % classes
    for i, k in enumerate(labels):
        top, left = 1 + k * (h - 2) // classes, rng.integers(0, w // 3)
        pixels[i, top : top + h // 4, left : left + w // 2] = rng.integers(120, 256, c)
    return Dataset.from_pixels(pixels, labels, [f"class {k}" for k in range(classes)], "bars")


def training_of(case="ae dense", seed=0, **options):
    """A Training of a small model on 32 of these images, in batches of 10."""
    return Training(make(case, seed=seed + 1), images(), **{"batch_size": 10, "seed": seed} | options)

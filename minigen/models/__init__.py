"""One file per model, reading like its paper: objective, symbols, losses."""

import difflib

from .ae import AE
from .base import Model, Objective, SingleObjective
from .classifier import Classifier
from .gan import GAN, Adversarial
from .vae import VAE
from .wgan_gp import WGANGP

MODELS = {"ae": AE, "classifier": Classifier, "gan": GAN, "vae": VAE, "wgan_gp": WGANGP}


def find_model(name):
    """The model class called `name`. Raises KeyError with a guess and the known names."""
    if name in MODELS:
        return MODELS[name]
    close = [m for m in MODELS if m.startswith(name)] or difflib.get_close_matches(name, MODELS, 1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    raise KeyError(f"no model {name!r}.{guess} Known: {', '.join(MODELS)}.")

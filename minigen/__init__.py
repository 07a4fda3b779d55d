"""minigen: a from-scratch engine for image generation, written to be read.

    import minigen as mg
    x = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    mg.grad((x * x).sum(), x)

`minigen.nn`, `minigen.optim`, `minigen.data`, `minigen.models` and `minigen.metrics` hold the rest.
"""

from . import data, metrics, models, nn, ops, optim
from .autograd import Tensor, detach, grad, hvp, jacobian, jvp, no_grad, op, tensor
from .backend import (
    BackendError,
    Generator,
    asarray,
    get_threads,
    set_precision,
    set_threads,
    synchronize,
    to_numpy,
    use,
)
from .debug import debug
from .gradcheck import gradcheck
from .loop import Observer, Training, fit
from .ops import *  # noqa: F403

__version__ = "0.1.0"

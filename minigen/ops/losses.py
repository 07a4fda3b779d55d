"""Losses, as in torch.nn.functional. Unit: nats. `reduction`: "mean" over all elements, "sum" or "none"."""

import numpy as np

from ..autograd import op
from ..backend import namespace
from ..backend.kernels import kernels
from .activations import log_softmax, sigmoid
from .common import as_tensor, fast_on_arrays, raw, reduce_loss
from .elementwise import abs, expm1


def mse_loss(x, target, reduction="mean"):
    """(x − t)²: the negative log-likelihood of a Gaussian of fixed variance, up to constants."""
    d = _difference("mse_loss", x, target)
    return reduce_loss(d * d, reduction)


def l1_loss(x, target, reduction="mean"):
    """|x − t|: the negative log-likelihood of a Laplace distribution, up to constants."""
    return reduce_loss(abs(_difference("l1_loss", x, target)), reduction)


def _difference(name, x, target):
    """x − t of equal shapes: (N, 1) − (N,) would be (N, N), and train towards the mean of all targets."""
    shape = getattr(target, "shape", ())
    if shape not in ((), x.shape):
        raise ValueError(
            f"{name}: expected a target of the shape of x, or a number; got x: {x.shape}, target: {shape}. "
            f"Reshape it, as with target.reshape(x.shape), or broadcast_to on purpose."
        )
    return x - target


@fast_on_arrays(lambda g, x, target: kernels(g).bce_logits_grad(g, x, target))
def _bce_logits_x(g, x, target):
    return g * (sigmoid(x) - target)


@op(x=_bce_logits_x, target=lambda g, x: -g * x)
def _bce_logits(x, target):
    """−t·ln σ(x) − (1 − t)·ln(1 − σ(x)) = max(x, 0) − x·t + ln(1 + e^{−|x|});   σ(x) − t."""
    return kernels(x).bce_logits(x, target)


def binary_cross_entropy_with_logits(x, target, weight=None, reduction="mean", pos_weight=None):
    """−t·ln σ(x) − (1 − t)·ln(1 − σ(x)) for logits x and targets t in [0, 1], stable for all x.

    weight: factor of each element. pos_weight: factor of the first term, (C,) against the last axis.
    """
    if tuple(target.shape if hasattr(target, "shape") else ()) not in (tuple(x.shape), ()):
        raise ValueError(
            f"binary_cross_entropy_with_logits: expected target of shape {tuple(x.shape)}, as x; "
            f"got {tuple(target.shape)}."
        )
    if pos_weight is None:
        values = _bce_logits(x, target)
    else:  # t·pos·softplus(−x) + (1 − t)·softplus(x), in terms of the two plain losses
        values = target * pos_weight * _bce_logits(x, 1.0) + (1.0 - target) * _bce_logits(x, 0.0)
    return reduce_loss(values if weight is None else values * weight, reduction)


@op(g=lambda h, classes: _pick(h, classes))
def _place(g, classes, *, C):
    """(N, ...) → zeros (N, C, ...) with each g at its class; the adjoint of `_pick`."""
    return kernels(g).place(g, classes, C)


@op(x=lambda g, classes, x_shape: _place(g, classes, C=x_shape[1]))
def _pick(x, classes):
    """(N, C, ...), integers (N, ...) → (N, ...): of each row of C numbers the one named."""
    return kernels(x).pick(x, classes)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """−Σ_c t_c·ln softmax(x)_c: the negative log-likelihood of a class.

    Shapes: x (N, C, ...) logits; target (N, ...) class numbers, or (N, C, ...) probabilities.
    weight: (C,) factor of each class; "mean" then divides by the sum of the factors, as PyTorch.
    ignore_index: a class number that counts for nothing. label_smoothing: this share of each target is spread evenly.
    Raises ValueError for a class number outside [0, C); on the GPU the loss is NaN instead.
    """
    logp = log_softmax(x, axis=1)
    C = x.shape[1]
    target = as_tensor(target)
    column = (1, -1) + (1,) * (x.ndim - 2)
    if target.shape == tuple(x.shape):
        t = target * (1 - label_smoothing) + label_smoothing / C
        t = t if weight is None else t * weight.reshape(column)
        values = -(t * logp).sum(axis=1)
        return values.mean() if reduction == "mean" else reduce_loss(values, reduction)
    if target.shape != (x.shape[0], *x.shape[2:]) or target.dtype.kind not in "iu":
        raise ValueError(
            f"cross_entropy: expected target of shape {(x.shape[0], *x.shape[2:])} with integer classes, or of shape "
            f"{tuple(x.shape)} with probabilities; got {target.shape} {target.dtype}."
        )
    classes = target.data
    counts = classes != ignore_index
    safe = namespace(classes).where(counts, classes, 0)
    on_host = namespace(classes) is np  # to look at the classes would mean to wait for the GPU: `pick` gives NaN there
    if on_host and safe.size and not (0 <= int(safe.min()) and int(safe.max()) < C):
        raise ValueError(f"cross_entropy: expected classes in [0, {C}); got {int(safe.min())} to {int(safe.max())}.")
    factor = counts.astype(x.dtype) if weight is None else raw(weight)[safe] * counts
    values = -_pick(logp, safe) * factor
    if label_smoothing:
        spread = logp if weight is None else logp * weight.reshape(column)
        smooth = -spread.sum(axis=1) * counts / C
        values = values * (1 - label_smoothing) + smooth * label_smoothing
    if reduction == "mean":
        return values.sum() / factor.sum()
    return reduce_loss(values, reduction)


@fast_on_arrays(lambda g, logvar: kernels(g).gaussian_kl_grad(g, logvar))
def _gaussian_kl_logvar(g, logvar):
    return g * (0.5 * expm1(logvar))


@op(mu=lambda g, mu: g * mu, logvar=_gaussian_kl_logvar)
def _gaussian_kl(mu, logvar):
    """½(μ² + σ² − ln σ² − 1);   μ and ½(σ² − 1)."""
    return kernels(mu).gaussian_kl(mu, logvar)


def gaussian_kl(mu, logvar):
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½ Σ (μ² + σ² − ln σ² − 1), summed over all axes but the first.

    Shapes: mu, logvar (N, ...), logvar = ln σ² → (N,). Unit: nats per sample.       Kingma & Welling 2014, appendix B
    """
    return _gaussian_kl(mu, logvar).sum(axis=tuple(range(1, mu.ndim)))

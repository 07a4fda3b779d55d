"""Normalisations. No statistic is ever treated as a constant: all are differentiated through, to any order."""

import math

import numpy as np

from ..autograd import Tensor, op
from ..backend import namespace
from ..backend.kernels import kernels
from .activations import _leaky_relu_grad, leaky_relu
from .common import check_slope, fast_on_arrays, raw
from .reductions import mean as mean_of
from .shape import channels_last, reshape

# ------------------------------------------------------------------------------------------------ batch


def _per_channel(v, ndim):
    """(C,) → (1, C, 1, ...), to be broadcast against (N, C, ...)."""
    return v.reshape((1, -1) + (1,) * (ndim - 2))


def _batch_norm_pulled(g, x, weight, bias, out, eps, slope):
    """(x̄, w̄, b̄) from the cotangents of y, μ and σ².

    With x̂ = (x − μ)/√(σ² + ε), M values a channel and means taken over them:
        x̄ = w/√(σ² + ε) · (ȳ − mean(ȳ) − x̂·mean(ȳ·x̂)) + μ̄/M + σ̄²·2(x − μ)/M,    w̄ = Σ ȳ·x̂,    b̄ = Σ ȳ.
    μ and σ² enter as outputs of this very op, so a second derivative comes back here as μ̄ and σ̄².
    """
    gy, gmean, gvar = g
    y, mean, var = out
    if gmean is None and gvar is None and not any(isinstance(t, Tensor) for t in (gy, x, weight)):
        return kernels(x).batch_norm_grad(gy, x, weight, bias, mean, var, eps, slope)
    if slope != 1 and gy is not None:
        gy = _leaky_relu_grad(gy, y, slope=slope)
    axes, M = (0, *range(2, x.ndim)), x.size // x.shape[1]
    centred = x - _per_channel(mean, x.ndim)
    rstd = _per_channel((var + eps) ** -0.5, x.ndim)
    dx = dweight = dbias = None
    if gy is not None:
        xhat = centred * rstd
        dbias, dweight = gy.sum(axis=axes), (gy * xhat).sum(axis=axes)
        scale = rstd if weight is None else rstd * _per_channel(weight, x.ndim)
        dx = scale * (gy - (_per_channel(dbias, x.ndim) + xhat * _per_channel(dweight, x.ndim)) * (1 / M))
    if gmean is not None:
        term = _per_channel(gmean * (1 / M), x.ndim) + 0.0 * centred
        dx = term if dx is None else dx + term
    if gvar is not None:
        term = _per_channel(gvar * (2 / M), x.ndim) * centred
        dx = term if dx is None else dx + term
    return dx, dweight, dbias


@op(
    pulled=_batch_norm_pulled,
    x=lambda g, pulled: pulled[0],
    weight=lambda g, pulled: pulled[1],
    bias=lambda g, pulled: pulled[2],
)
def _batch_norm(x, weight, bias, *, eps, slope, running):
    """y = w·(x − μ)/√(σ² + ε) + b, with each channel's own mean μ and (biased) variance σ²; all three returned.

    slope: y goes through leaky ReLU. running: (mean, variance, count, momentum), moved in place, or None.
    """
    return kernels(x).batch_norm(x, weight, bias, eps, slope, running)


def batch_norm(
    x,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
    slope=1.0,
    num_batches_tracked=None,
):
    """y = w·(x − μ)/√(σ² + ε) + b for each channel, as torch.nn.functional.batch_norm.       Ioffe & Szegedy 2015

    Shapes: x (N, C) or (N, C, H, W); the others (C,), Tensors or arrays, or None.
    training=True: μ, σ² are those of this batch; running ← (1 − momentum)·running + momentum·batch, in place (with the
    unbiased variance, as PyTorch), and num_batches_tracked, of shape (), goes up. training=False: μ, σ² are the running
    ones. slope: other than 1, y goes through leaky ReLU of that slope, in the same pass.
    Raises ValueError for one value a channel in training: its variance is 0 and nothing would be left.
    """
    check_slope("batch_norm", slope)
    if not training:
        scale = (raw(running_var) + eps) ** -0.5
        scale = scale if weight is None else weight * scale
        shift = -raw(running_mean) * scale if bias is None else bias - raw(running_mean) * scale
        y = x * _per_channel(scale, x.ndim) + _per_channel(shift, x.ndim)
        return y if slope == 1 else leaky_relu(y, negative_slope=slope)
    if x.size // x.shape[1] < 2:
        raise ValueError(f"batch_norm: expected more than 1 value per channel in training; got x of shape {x.shape}.")
    x = channels_last(x)
    running = None
    if running_mean is not None:
        running = raw(running_mean), raw(running_var), raw(num_batches_tracked), momentum
    return _batch_norm(x, weight, bias, eps=eps, slope=slope, running=running)[0]


# ------------------------------------------------------------------------------------------------ within one sample


@fast_on_arrays(lambda g, x, out, axis, eps: kernels(g).normalize_grad(g, x, out, axis, eps))
def _normalize_x(g, x, out, axis, eps):
    mean = lambda t: mean_of(t, axis=axis, keepdims=True)
    centred = x - mean(x)
    return (mean(centred * centred) + eps) ** -0.5 * (g - mean(g) - out * mean(g * out))


@op(x=_normalize_x)
def _normalize(x, *, axis, eps):
    """x̂ = (x − μ)/√(σ² + ε) over `axis`;   x̄ = (g − mean(g) − x̂·mean(g·x̂)) / √(σ² + ε)."""
    return kernels(x).normalize(x, axis, eps)


def _affine(x, weight, bias):
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Each sample normalised over its last axes, those of `normalized_shape`.       Ba et al. 2016

    weight, bias: of shape `normalized_shape`, or None.
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if tuple(x.shape[-len(shape) :]) != shape:
        raise ValueError(f"layer_norm: expected x of shape (..., {', '.join(map(str, shape))}); got {x.shape}.")
    return _affine(_normalize(x, axis=tuple(range(-len(shape), 0)), eps=eps), weight, bias)


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    """Each sample normalised over its positions and each of `num_groups` groups of channels.       Wu & He 2018

    Shapes: x (N, C, ...), weight and bias (C,). Raises ValueError where num_groups does not divide C.
    """
    N, C = x.shape[:2]
    if C % num_groups:
        raise ValueError(
            f"group_norm: num_groups must divide the channels; got {num_groups=} for x of shape {x.shape}."
        )
    grouped = reshape(x, shape=(N, num_groups, C // num_groups, *x.shape[2:]))
    xhat = reshape(_normalize(grouped, axis=tuple(range(2, x.ndim + 1)), eps=eps), shape=x.shape)
    column = lambda v: None if v is None else _per_channel(v, x.ndim)
    return _affine(xhat, column(weight), column(bias))


def instance_norm(
    x, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
):
    """Each channel of each sample normalised over its positions.       Ulyanov et al. 2016

    running_mean, running_var: (C,), averages of the samples' statistics, updated in place; used instead of the
    sample's own where use_input_stats=False.
    """
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    positions = math.prod(x.shape[2:])
    if positions < 2:
        raise ValueError(f"instance_norm: expected more than 1 position per channel; got x of shape {x.shape}.")
    axes = tuple(range(2, x.ndim))
    if running_mean is not None:
        values = raw(x)
        mean, var = values.mean(axis=axes).mean(axis=0), values.var(axis=axes, ddof=1).mean(axis=0)
        kernels(values).update_running(mean, var, momentum, 1, raw(running_mean), raw(running_var))
    column = lambda v: None if v is None else _per_channel(v, x.ndim)
    return _affine(_normalize(x, axis=axes, eps=eps), column(weight), column(bias))


# ------------------------------------------------------------------------------------------------ weights


def spectral_norm(weight, u, v):
    """W / σ with σ = uᵀ·W·v, for W as a matrix of one row per output.       Miyato et al. 2018, Algorithm 1

    u (rows,), v (columns,): unit vectors, by power iteration close to the leading singular vectors, so that σ is close
    to the largest singular value. They are inputs, as in the paper: the derivative is exact for the function of W that
    they define, and at the singular vectors themselves it is also that of the largest singular value.
    """
    matrix = reshape(weight, shape=(weight.shape[0], -1))
    sigma = (raw(u)[:, None] * matrix * raw(v)).sum()
    return weight / sigma


def _times(matrix, vector):
    """Their product. On the GPU `@` is cuBLAS's, which cannot be captured in a graph."""
    return matrix @ vector if namespace(vector) is np else (matrix * vector).sum(axis=1)


def power_iteration(weight, u, n=1, eps=1e-12):
    """(u, v) after n rounds of v ← Wᵀu/‖Wᵀu‖, u ← Wv/‖Wv‖ on arrays: they converge to the leading singular vectors."""
    matrix = raw(weight).reshape(weight.shape[0], -1)
    for _ in range(n):
        v = _times(matrix.T, u)
        v = v / ((v * v).sum() ** 0.5 + eps)
        u = _times(matrix, v)
        u = u / ((u * u).sum() ** 0.5 + eps)
    return u, v

"""Every differentiable function, each beside its VJP; and the operators and methods of Tensor, which are these ops."""

from . import operators
from .activations import elu, gelu, leaky_relu, log_softmax, relu, sigmoid, silu, softmax, softplus, tanh
from .elementwise import (
    abs,
    add,
    astype,
    clip,
    cos,
    div,
    erf,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    reciprocal,
    rsqrt,
    sign,
    sin,
    sqrt,
    square,
    sub,
    where,
)
from .layers import conv2d, conv_transpose2d, linear
from .linear import channel_sum, matmul
from .losses import binary_cross_entropy_with_logits, cross_entropy, gaussian_kl, l1_loss, mse_loss
from .norms import batch_norm, group_norm, instance_norm, layer_norm, power_iteration, spectral_norm
from .pooling import avg_pool2d, interpolate, max_pool2d, max_unpool2d
from .reductions import argmax, argmin, logsumexp, max, mean, min, std, sum, var
from .shape import (
    broadcast_to,
    concatenate,
    flatten,
    flip,
    gather,
    getitem,
    one_hot,
    pad,
    permute,
    reshape,
    scatter,
    scatter_add,
    split,
    squeeze,
    stack,
    transpose,
    unsqueeze,
)
from .stochastic import dropout, embedding

__all__ = [n for n, f in list(globals().items()) if callable(f) and not n.startswith("_")]
del operators

"""A layer and then leaky ReLU as one op: y = max(z, slope·z) of z = conv(x, w) + b, in fewer passes over memory.

z is not kept, for y has its sign. From ȳ comes, in one pass for all VJPs of the op,

    z̄ = ȳ where y > 0, slope·ȳ elsewhere,        b̄ = Σ z̄ over all axes but the channels,

and z̄ goes on as it does in conv.py and linear.py, where these layers stand alone.
"""

from ..autograd import Tensor, op
from ..backend.kernels import kernels
from .activations import _leaky_relu_grad
from .conv import _conv2d, _conv2d_w, _conv2d_x
from .linear import _matmul, channel_sum


def _pulled(g, out, bias, slope):
    """(z̄, b̄); b̄ is None where there is no bias, and where the pass is recorded: then the bias's VJP adds up."""
    if bias is None or isinstance(g, Tensor) or isinstance(out, Tensor):
        return _leaky_relu_grad(g, out, slope=slope), None
    return kernels(g).leaky_relu_bias_grad(g, out, slope)


def _bias(g, pulled):
    dz, dbias = pulled
    return channel_sum(dz) if dbias is None else dbias


@op(
    pulled=_pulled,
    x=lambda g, pulled, weight: _matmul(pulled[0], weight),
    weight=lambda g, pulled, x: _matmul(pulled[0].swapaxes(-1, -2), x),
    bias=_bias,
)
def _linear_leaky(x, weight, bias, *, slope):
    """max(z, slope·z), z = x·Wᵀ + b on (N, in)."""
    return kernels(x).matmul(x, weight.T, bias, slope)


@op(
    pulled=_pulled,
    x=lambda g, pulled, weight, x_shape, stride, padding, dilation, groups: _conv2d_x(
        pulled[0], weight, None, size=x_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    weight=lambda g, pulled, x, weight_shape, stride, padding, dilation, groups: _conv2d_w(
        x, pulled[0], size=weight_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    bias=_bias,
)
def _conv2d_leaky(x, weight, bias, *, stride, padding, dilation, groups, slope):
    """max(z, slope·z), z = conv(x, w) + b."""
    return kernels(x).conv2d(x, weight, bias, stride, padding, dilation, groups, None, slope)


@op(
    pulled=_pulled,
    g=lambda h, pulled, weight, g_shape, stride, padding, dilation, groups: _conv2d(
        pulled[0], weight, None, size=g_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    weight=lambda h, pulled, g, weight_shape, stride, padding, dilation, groups: _conv2d_w(
        pulled[0], g, size=weight_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    bias=_bias,
)
def _conv2d_x_leaky(g, weight, bias, *, size, stride, padding, dilation, groups, slope):
    """max(z, slope·z), z the transposed convolution of g with w, plus b."""
    return kernels(g).conv2d_x(g, weight, size, stride, padding, dilation, groups, bias, slope)

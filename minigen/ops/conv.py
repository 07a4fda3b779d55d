"""Convolution and its two adjoints.

The trilinear form T(x, w, g) = ⟨conv(x, w), g⟩ is linear in each of its three arguments. Its three partial
derivatives are three ops, and each op's VJPs are the other two:

    conv2d(x, w)   = ∂T/∂g     cross-correlation of images x with kernels w        (N, O, OH, OW)
    conv2d_x(g, w) = ∂T/∂x     the transposed convolution                         (N, C, H, W)
    conv2d_w(x, g) = ∂T/∂w     cross-correlation of images with gradients         (O, C/groups, kh, kw)

So nothing here needs a derivative of its own, of any order. (The bias is added on the way, to save a pass.)
`conv2d` and `conv_transpose2d`, which check shapes and call these ops, are in layers.py.
Source: Dumoulin & Visin 2016, A guide to convolution arithmetic.
"""

from ..autograd import op
from ..backend.kernels import kernels
from .linear import channel_sum


@op(
    x=lambda g, weight, x_shape, stride, padding, dilation, groups: _conv2d_x(
        g, weight, None, size=x_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    weight=lambda g, x, weight_shape, stride, padding, dilation, groups: _conv2d_w(
        x, g, size=weight_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    bias=lambda g: channel_sum(g),
)
def _conv2d(x, weight, bias, *, stride, padding, dilation, groups, size=None):
    """∂T/∂g. `size`: (OH, OW), where they are smaller than the rows and columns that would fit."""
    return kernels(x).conv2d(x, weight, bias, stride, padding, dilation, groups, size)


@op(
    g=lambda h, weight, g_shape, stride, padding, dilation, groups: _conv2d(
        h, weight, None, size=g_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    weight=lambda h, g, weight_shape, stride, padding, dilation, groups: _conv2d_w(
        h, g, size=weight_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    bias=lambda h: channel_sum(h),
)
def _conv2d_x(g, weight, bias, *, size, stride, padding, dilation, groups):
    """∂T/∂x. `size`: (H, W) of x."""
    return kernels(g).conv2d_x(g, weight, size, stride, padding, dilation, groups, bias)


@op(
    x=lambda h, g, x_shape, stride, padding, dilation, groups: _conv2d_x(
        g, h, None, size=x_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    g=lambda h, x, g_shape, stride, padding, dilation, groups: _conv2d(
        x, h, None, size=g_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
)
def _conv2d_w(x, g, *, size, stride, padding, dilation, groups):
    """∂T/∂w. `size`: (kh, kw)."""
    return kernels(x).conv2d_w(x, g, size, stride, padding, dilation, groups)

"""Convolution and its two adjoints.

The trilinear form T(x, w, g) = ⟨conv(x, w), g⟩ is linear in each of its three arguments. Its three partial
derivatives are three ops, and each op's VJPs are the other two:

    conv2d(x, w)   = ∂T/∂g     cross-correlation of images x with kernels w        (N, O, OH, OW)
    conv2d_x(g, w) = ∂T/∂x     the transposed convolution                         (N, C, H, W)
    conv2d_w(x, g) = ∂T/∂w     cross-correlation of images with gradients         (O, C/groups, kh, kw)

So nothing here needs a derivative of its own, of any order. (The bias is added on the way, to save a pass.)
Source: Dumoulin & Visin 2016, A guide to convolution arithmetic.
"""

from ..autograd import op
from ..backend.kernels import kernels
from .common import pair
from .linear import channel_sum
from .shape import channels_last
from .shape import pad as pad_borders


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


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of images with kernels, as torch.nn.functional.conv2d.

        y[n, o, i, j] = b[o] + Σ_{c, u, v} w[o, c, u, v] · x[n, c, s·i + d·u − p, s·j + d·v − p]

    Shapes: x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,) → (N, O, OH, OW),
            OH = ⌊(H + 2p − d(kh − 1) − 1) / s⌋ + 1.
    stride s, padding p, dilation d: an int or a pair (rows, columns); padding also "valid" (0), or "same" at stride 1.
    Raises ValueError where shapes do not fit.
    """
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    if padding == "same":
        x, padding = _pad_same(x, weight, stride, dilation), 0
    padding = pair(0 if padding == "valid" else padding, "padding")
    _check("conv2d", x, weight, bias, weight.shape[1] * groups, weight.shape[0], stride, padding, dilation, groups)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:])]
    if any(n + 2 * p < r for n, p, r in zip(x.shape[2:], padding, reach)):
        raise ValueError(
            f"conv2d: the kernel must fit into the padded image; got x of shape {x.shape}, weight of shape "
            f"{weight.shape}, padding {padding}, dilation {dilation}."
        )
    x = channels_last(x)  # here, so that the gradient of the weight finds it so
    return _conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)


def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Transposed convolution: the adjoint of `conv2d` in x, as torch.nn.functional.conv_transpose2d.

    It scatters: every x[n, c, i, j] adds w[c]·x[n, c, i, j] to the output around (s·i − p, s·j − p).

    Shapes: x (N, C, H, W), weight (C, O/groups, kh, kw), bias (O,) → (N, O, OH, OW),
            OH = (H − 1)·s − 2p + d(kh − 1) + output_padding + 1.
    output_padding: strides map several sizes of image to one; this says which of them is meant. It is smaller than
    the stride or the dilation.
    Raises ValueError where shapes do not fit.
    """
    stride, padding, dilation = pair(stride, "stride"), pair(padding, "padding"), pair(dilation, "dilation")
    extra = pair(output_padding, "output_padding")
    out_channels = weight.shape[1] * groups
    _check("conv_transpose2d", x, weight, bias, weight.shape[0], out_channels, stride, padding, dilation, groups)
    if any(not 0 <= e < max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise ValueError(
            f"conv_transpose2d: output_padding must be smaller than the stride or the dilation; got output_padding "
            f"{extra}, stride {stride}, dilation {dilation}."
        )
    size = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(x.shape[2:], stride, padding, dilation, weight.shape[2:], extra)
    )
    if min(size) < 1:
        raise ValueError(f"conv_transpose2d: the output would have size {size}; got x of shape {x.shape}, {padding=}.")
    x = channels_last(x)  # here, so that the gradient of the weight finds it so
    return _conv2d_x(x, weight, bias, size=size, stride=stride, padding=padding, dilation=dilation, groups=groups)


def _check(name, x, weight, bias, in_channels, out_channels, stride, padding, dilation, groups):
    if len(x.shape) != 4 or len(weight.shape) != 4 or x.shape[1] != in_channels:
        hint = " Images are channels-first: x.transpose(0, 3, 1, 2)." if x.shape[-1:] == (in_channels,) else ""
        raise ValueError(
            f"{name}: expected x of shape (N, {in_channels}, H, W) for a weight of shape {weight.shape} and "
            f"{groups=}; got {x.shape}.{hint}"
        )
    if bias is not None and tuple(bias.shape) != (out_channels,):
        raise ValueError(f"{name}: expected bias of shape ({out_channels},); got {bias.shape}.")
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"{name}: groups must divide the {weight.shape[0]} kernels; got {groups=}.")
    if min(stride) < 1 or min(dilation) < 1 or min(padding) < 0:
        raise ValueError(
            f"{name}: expected stride ≥ 1, dilation ≥ 1, padding ≥ 0; got {stride=}, {dilation=}, {padding=}."
        )


def _pad_same(x, weight, stride, dilation):
    """Borders that make the output as large as the input; an odd one goes below and to the right, as in PyTorch."""
    if stride != (1, 1):
        raise ValueError(f'conv2d: padding="same" needs stride 1; got {stride}.')
    total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]
    left, top = total[1] // 2, total[0] // 2
    return pad_borders(x, (left, total[1] - left, top, total[0] - top))

"""Dense layers and convolutions as functions: they check what they are given and call the ops of linear.py, conv.py.

With a slope, leaky ReLU follows within the same op (fused.py): fewer passes over memory, the same values.
"""

from .common import check_slope, pair
from .conv import _conv2d, _conv2d_x
from .fused import _conv2d_leaky, _conv2d_x_leaky, _linear_leaky
from .linear import _linear
from .shape import channels_last, reshape
from .shape import pad as pad_borders


def linear(x, weight, bias=None, slope=1.0):
    """x·Wᵀ + b.   Shapes: x (..., in), weight (out, in), bias (out,) → (..., out).

    slope: other than 1, the result goes through leaky ReLU of that slope, 0 ≤ slope ≤ 1; 0 is ReLU.
    """
    check_slope("linear", slope)
    if x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: expected x of shape (..., {weight.shape[1]}) for a weight of shape {weight.shape}; "
            f"got {x.shape}. Flatten images first: x.reshape(len(x), -1)."
        )
    rows = x if x.ndim == 2 else reshape(x, shape=(-1, x.shape[-1]))
    y = _linear(rows, weight, bias) if slope == 1 else _linear_leaky(rows, weight, bias, slope=slope)
    return y if x.ndim == 2 else reshape(y, shape=(*x.shape[:-1], weight.shape[0]))


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, slope=1.0):
    """Cross-correlation of images with kernels, as torch.nn.functional.conv2d.

        y[n, o, i, j] = b[o] + Σ_{c, u, v} w[o, c, u, v] · x[n, c, s·i + d·u − p, s·j + d·v − p]

    Shapes: x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,) → (N, O, OH, OW),
            OH = ⌊(H + 2p − d(kh − 1) − 1) / s⌋ + 1.
    stride s, padding p, dilation d: an int or a pair (rows, columns); padding also "valid" (0), or "same" at stride 1.
    slope: as in `linear`.
    Raises ValueError where shapes do not fit.
    """
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    if padding == "same":
        x, padding = _pad_same(x, weight, stride, dilation), 0
    padding = pair(0 if padding == "valid" else padding, "padding")
    _check("conv2d", x, weight, bias, weight.shape[1] * groups, weight.shape[0], stride, padding, dilation, groups)
    check_slope("conv2d", slope)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:])]
    if any(n + 2 * p < r for n, p, r in zip(x.shape[2:], padding, reach)):
        raise ValueError(
            f"conv2d: the kernel must fit into the padded image; got x of shape {x.shape}, weight of shape "
            f"{weight.shape}, padding {padding}, dilation {dilation}."
        )
    x = channels_last(x)  # here, so that the gradient of the weight finds it so
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return _conv2d(x, weight, bias, **options) if slope == 1 else _conv2d_leaky(x, weight, bias, **options, slope=slope)


def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, slope=1.0):
    """Transposed convolution: the adjoint of `conv2d` in x, as torch.nn.functional.conv_transpose2d.

    It scatters: every x[n, c, i, j] adds w[c]·x[n, c, i, j] to the output around (s·i − p, s·j − p).

    Shapes: x (N, C, H, W), weight (C, O/groups, kh, kw), bias (O,) → (N, O, OH, OW),
            OH = (H − 1)·s − 2p + d(kh − 1) + output_padding + 1.
    output_padding: strides map several sizes of image to one; this says which of them is meant. It is smaller than
    the stride or the dilation. slope: as in `linear`.
    Raises ValueError where shapes do not fit.
    """
    stride, padding, dilation = pair(stride, "stride"), pair(padding, "padding"), pair(dilation, "dilation")
    extra = pair(output_padding, "output_padding")
    out_channels = weight.shape[1] * groups
    _check("conv_transpose2d", x, weight, bias, weight.shape[0], out_channels, stride, padding, dilation, groups)
    check_slope("conv_transpose2d", slope)
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
    options = {"size": size, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if slope == 1:
        return _conv2d_x(x, weight, bias, **options)
    return _conv2d_x_leaky(x, weight, bias, **options, slope=slope)


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

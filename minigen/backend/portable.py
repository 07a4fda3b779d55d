"""The kernels in their shortest form, for NumPy and CuPy arrays alike.

On NumPy they are the oracle that the fast kernels of cpu_*.py are tested against; on CuPy, what runs where
there is no kernel of our own.  Same names, arguments and results as in cpu_conv, cpu_norm, cpu_pool, cpu_elementwise
and cpu_matmul.
A convolution is im2col and a matrix product; its adjoint is that product's and col2im, which *adds* overlapping
windows.
"""

import itertools

from .arrays import namespace
from .conv_axes import output_size
from .layout import channels_first, channels_last

# ------------------------------------------------------------------------------------------------ windows


def _reach(size, kernel, stride, padding, dilation, out_size):
    """(H, W) of the padded image: at least what the windows read, at least what the image takes."""
    return [
        max(p + n, s * (o - 1) + d * (k - 1) + 1)
        for n, k, s, p, d, o in zip(size, kernel, stride, padding, dilation, out_size)
    ]


def _pad(x, kernel, stride, padding, dilation, out_size, value=0):
    """(N, H, W, C) with `value` all around, as far as the windows reach."""
    sizes = _reach(x.shape[1:3], kernel, stride, padding, dilation, out_size)
    after = [r - p - n for r, p, n in zip(sizes, padding, x.shape[1:3])]
    margins = ((0, 0), (padding[0], after[0]), (padding[1], after[1]), (0, 0))
    return namespace(x).pad(x, margins, constant_values=value)


def _windows(xp, kernel, stride, dilation, out_size):
    """Padded (N, H, W, C) → a view (N, OH, OW, kh, kw, C)."""
    n, _, _, c = xp.shape
    sn, sh, sw, sc = xp.strides
    return namespace(xp).lib.stride_tricks.as_strided(
        xp,
        (n, *out_size, *kernel, c),
        (sn, sh * stride[0], sw * stride[1], sh * dilation[0], sw * dilation[1], sc),
    )


def _taps(xp, kernel, stride, dilation, out_size):
    """Yields (a, b, view): the (N, OH, OW, C) pixels that tap (a, b) of every window sees."""
    for a, b in itertools.product(range(kernel[0]), range(kernel[1])):
        yield a, b, xp[:, a * dilation[0] :: stride[0], b * dilation[1] :: stride[1]][:, : out_size[0], : out_size[1]]


# -------------------------------------------------------------------------------------------- convolution
# Columns of all groups: (groups, N·OH·OW, kh·kw·C/groups).  Kernels: (groups, kh·kw·C/groups, O/groups).


def _columns(x, kernel, stride, padding, dilation, groups, out_size):
    w = _windows(_pad(x, kernel, stride, padding, dilation, out_size), kernel, stride, dilation, out_size)
    w = w.reshape(-1, kernel[0] * kernel[1], groups, x.shape[3] // groups)
    return w.transpose(2, 0, 1, 3).reshape(groups, len(w), w.shape[1] * w.shape[3])


def _matrices(w, groups):
    """(O, kh, kw, C/groups) → (groups, kh·kw·C/groups, O/groups)."""
    return w.reshape(groups, len(w) // groups, -1).transpose(0, 2, 1)


def _by_group(g, groups):
    """(N, OH, OW, O) → (groups, N·OH·OW, O/groups)."""
    return g.reshape(-1, groups, g.shape[3] // groups).transpose(1, 0, 2)


def conv2d(x, weight, bias, stride, padding, dilation, groups, out_size=None, slope=1.0):
    x, w = channels_last(x), channels_last(weight)
    kernel = w.shape[1:3]
    out_size = out_size or output_size(x.shape[1:3], kernel, stride, padding, dilation)
    y = _columns(x, kernel, stride, padding, dilation, groups, out_size) @ _matrices(w, groups)
    y = y.transpose(1, 0, 2).reshape(len(x), *out_size, len(w))
    return channels_first(namespace(x).ascontiguousarray(_finished(y, bias, slope)))


def conv2d_x(g, weight, size, stride, padding, dilation, groups, bias=None, slope=1.0):
    g, w = channels_last(g), channels_last(weight)
    (n, *out_size, _), (_, *kernel, c) = g.shape, w.shape
    columns = _by_group(g, groups) @ _matrices(w, groups).transpose(0, 2, 1)
    columns = columns.reshape(groups, n, *out_size, *kernel, c)
    h, w = _reach(size, kernel, stride, padding, dilation, out_size)
    x = namespace(g).zeros((n, h, w, groups * c), columns.dtype)
    for a, b, view in _taps(x, kernel, stride, dilation, out_size):  # col2im
        view += columns[:, :, :, :, a, b].transpose(1, 2, 3, 0, 4).reshape(view.shape)
    x = x[:, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    return channels_first(namespace(g).ascontiguousarray(_finished(x, bias, slope)))


def conv2d_w(x, g, size, stride, padding, dilation, groups):
    x, g = channels_last(x), channels_last(g)
    columns = _columns(x, size, stride, padding, dilation, groups, g.shape[1:3])
    w = _by_group(g, groups).transpose(0, 2, 1) @ columns  # groups, O/groups, kh·kw·C/groups
    return channels_first(namespace(x).ascontiguousarray(w.reshape(g.shape[3], *size, -1)))


def _finished(y, bias, slope):
    """What a layer does with its product: adds the bias (C,) along the last axis, then leaky ReLU of that slope."""
    y = y if bias is None else y + bias
    return y if slope == 1 else leaky_relu(y, slope)


# -------------------------------------------------------------------------------------------------- norms


def channel_sum(g):
    return g.sum(axis=(0, 2, 3) if g.ndim == 4 else 0)


def _per_channel(v, x):
    return v.reshape(1, -1, 1, 1) if x.ndim == 4 else v


def batch_norm(x, weight, bias, eps, slope=1.0, running=None):
    M = x.size // x.shape[1]
    mean = channel_sum(x) / M
    centred = x - _per_channel(mean, x)
    var = channel_sum(centred * centred) / M
    if running is not None:
        running_mean, running_var, count, momentum = running
        running_mean += momentum * (mean - running_mean)
        running_var += momentum * (var * (M / (M - 1)) - running_var)  # the unbiased variance
        if count is not None:
            count += 1
    y = _normalised(x, weight, bias, mean, var, eps)
    return y if slope == 1 else leaky_relu(y, slope), mean, var


def _normalised(x, weight, bias, mean, var, eps):
    y = (x - _per_channel(mean, x)) / _per_channel(namespace(x).sqrt(var + eps), x)
    if weight is not None:
        y = y * _per_channel(weight, x)
    return y if bias is None else y + _per_channel(bias, x)


def batch_norm_grad(g, x, weight, bias, mean, var, eps, slope=1.0):
    count = x.size // x.shape[1]
    if slope != 1:
        g = leaky_relu_grad(g, _normalised(x, weight, bias, mean, var, eps), slope)
    inv = 1 / namespace(x).sqrt(var + eps)
    normal = (x - _per_channel(mean, x)) * _per_channel(inv, x)
    dweight, dbias = channel_sum(g * normal), channel_sum(g)
    scale = inv if weight is None else inv * weight
    dx = g - _per_channel(dbias / count, x) - normal * _per_channel(dweight / count, x)
    return dx * _per_channel(scale, x), dweight, dbias


# -------------------------------------------------------------------------------------------- elementwise


def leaky_relu(x, slope):
    if not 0 <= slope <= 1:
        raise ValueError(f"leaky_relu: expected a slope in [0, 1]; got {slope}.")
    return namespace(x).maximum(x, slope * x if slope else 0)


def leaky_relu_grad(g, out, slope):
    return g * ((out > 0) * (1 - slope) + slope).astype(g.dtype)


def leaky_relu_bias_grad(g, out, slope):
    z = leaky_relu_grad(g, out, slope)
    return z, channel_sum(z)


def tanh(x):
    return namespace(x).tanh(x)


def tanh_grad(g, out):
    return g * (1 - out * out)


def sigmoid(x):
    return 0.5 * (1 + namespace(x).tanh(0.5 * x))


def sigmoid_grad(g, out):
    return g * out * (1 - out)


def masked(x, mask, scale):
    return x * mask * scale


def matmul(a, b, bias=None, slope=1.0):
    return _finished(a @ b, bias, slope)


# ------------------------------------------------------------------------------------------------ pooling


def max_pool2d(x, kernel, stride, padding, dilation, out_size):
    xp, x = namespace(x), channels_last(x)
    lowest = float("-inf")
    padded = _pad(x, kernel, stride, padding, dilation, out_size, value=lowest)
    windows = _windows(padded, kernel, stride, dilation, out_size)
    flat = windows.transpose(0, 1, 2, 5, 3, 4).reshape(*windows.shape[:3], windows.shape[5], -1)
    winner = flat.argmax(axis=-1)
    y = flat.max(axis=-1)
    h = xp.arange(out_size[0]).reshape(-1, 1, 1) * stride[0] - padding[0] + winner // kernel[1] * dilation[0]
    w = xp.arange(out_size[1]).reshape(-1, 1) * stride[1] - padding[1] + winner % kernel[1] * dilation[1]
    return channels_first(y), channels_first(h * x.shape[2] + w)


def unpool(x, indices, size, windows=None):  # windows: what a kernel that gathers needs to know
    xp, n, c = namespace(x), *x.shape[:2]
    out = xp.zeros((n * c, size[0] * size[1]), x.dtype)
    plane = xp.arange(n * c).reshape(-1, 1)
    xp.add.at(out, (plane, indices.reshape(n * c, -1)), x.reshape(n * c, -1))
    return channels_first(channels_last(out.reshape(n, c, *size)))


def gather_plane(x, indices):
    n, c = x.shape[:2]
    taken = namespace(x).take_along_axis(x.reshape(n, c, -1), indices.reshape(n, c, -1), axis=2)
    return channels_first(channels_last(taken.reshape(indices.shape)))


def sum_pool2d(x, kernel, stride, padding, out_size):
    padded = _pad(channels_last(x), kernel, stride, padding, (1, 1), out_size)
    return channels_first(_windows(padded, kernel, stride, (1, 1), out_size).sum(axis=(3, 4)))


def sum_pool2d_x(g, kernel, stride, padding, size):
    g = channels_last(g)
    n, *out_size, c = g.shape
    h, w = _reach(size, kernel, stride, padding, (1, 1), out_size)
    x = namespace(g).zeros((n, h, w, c), g.dtype)
    for _, _, view in _taps(x, kernel, stride, (1, 1), out_size):
        view += g
    x = x[:, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    return channels_first(namespace(g).ascontiguousarray(x))

"""Layers: a weight, and the op that uses it. Names, arguments and shapes of PyTorch's; activations are functions."""

import math

import numpy as np

from .. import ops
from ..backend import Generator, asarray
from ..ops.common import pair
from . import init as initial
from .module import Module, Parameter


def _parameter(array):
    """A Parameter on the default device; kernels (O, C, kh, kw) lie in memory as (O, kh, kw, C)."""
    if array.ndim == 4:
        return Parameter(asarray(np.ascontiguousarray(array.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2))
    return Parameter(asarray(array))


def _check_sizes(layer, *sizes):
    """A size of 0 would make a layer that computes nothing, or divide by its fan-in."""
    if any(np.min(size) < 1 for size in sizes):
        call = f"{type(layer).__name__}({', '.join(map(str, sizes))})"
        raise ValueError(f"{call}: expected sizes of at least 1.")


def _weight_and_bias(shape, fan_in, fan_out, outputs, bias, init, rng):
    """Drawn on the host, so that a seed gives the same weights on every device. Biases: U(±1/√fan_in) as PyTorch."""
    host = (rng or Generator()).host
    weight = _parameter(init(shape, fan_in, fan_out, host))
    if not bias:
        return weight, None
    if init is initial.torch_default:
        return weight, _parameter(initial.torch_default((outputs,), fan_in, fan_out, host))
    return weight, _parameter(np.zeros(outputs, np.float32))


class Dense(Module):
    """y = x·Wᵀ + b.       Shapes: (..., in_features) → (..., out_features); weight (out, in), bias (out,).

    init: a function of `nn.init`; with another than the default, biases begin at 0. rng: a minigen.Generator.
    """

    takes_slope = True

    def __init__(self, in_features, out_features, bias=True, *, init=initial.torch_default, rng=None):
        _check_sizes(self, in_features, out_features)
        self.sizes = in_features, out_features
        shape = (out_features, in_features)
        self.weight, self.bias = _weight_and_bias(shape, in_features, out_features, out_features, bias, init, rng)

    def forward(self, x, slope=1.0):
        return self.apply(x, self.weight, slope)

    def apply(self, x, weight, slope=1.0):
        return ops.linear(x, weight, self.bias, slope)

    def describe(self):
        return f"{self.sizes[0]}, {self.sizes[1]}" + ("" if self.bias is not None else ", bias=False")


class Conv2d(Module):
    """Cross-correlation, see `conv2d`.       Shapes: (N, C, H, W) → (N, O, OH, OW); weight (O, C/groups, kh, kw).

    Arguments as torch.nn.Conv2d; init, rng as in Dense.
    """

    transposed, takes_slope = False, True

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        *,
        init=initial.torch_default,
        rng=None,
    ):
        _check_sizes(self, in_channels, out_channels, kernel_size)
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{type(self).__name__}({in_channels}, {out_channels}): groups must divide both numbers of channels; "
                f"got {groups=}."
            )
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, pair(kernel_size)
        self.options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        area = math.prod(self.kernel_size)
        # PyTorch counts the fan-in of a weight along its second axis, for transposed convolutions too.
        self.weight, self.bias = _weight_and_bias(
            (first, second // groups, *self.kernel_size),
            second // groups * area,
            first // groups * area,
            out_channels,
            bias,
            init,
            rng,
        )

    def forward(self, x, slope=1.0):
        return self.apply(x, self.weight, slope)

    def apply(self, x, weight, slope=1.0):
        return ops.conv2d(x, weight, self.bias, **self.options, slope=slope)

    def describe(self):
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "output_padding": 0}
        options = [f"{k}={v}" for k, v in self.options.items() if v != defaults[k]]
        bias = [] if self.bias is not None else ["bias=False"]
        return ", ".join([f"{self.in_channels}, {self.out_channels}, {self.kernel_size}", *options, *bias])


class ConvTranspose2d(Conv2d):
    """Transposed convolution, see `conv_transpose2d`.       Shapes: weight (C, O/groups, kh, kw).

    Arguments as torch.nn.ConvTranspose2d; init, rng as in Dense.
    """

    transposed, takes_slope = True, True

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        *,
        init=initial.torch_default,
        rng=None,
    ):
        super().__init__(
            *(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias), init=init, rng=rng
        )
        self.options["output_padding"] = output_padding

    def apply(self, x, weight, slope=1.0):
        return ops.conv_transpose2d(x, weight, self.bias, **self.options, slope=slope)


class Embedding(Module):
    """A table of vectors.       Shapes: integers (...) → (..., D); weight (num_embeddings, embedding_dim = D)."""

    def __init__(self, num_embeddings, embedding_dim, *, init=None, rng=None):
        _check_sizes(self, num_embeddings, embedding_dim)
        self.sizes = num_embeddings, embedding_dim
        init = init or initial.normal(1.0)
        self.weight = _parameter(init(self.sizes, num_embeddings, embedding_dim, (rng or Generator()).host))

    def forward(self, indices):
        return ops.embedding(indices, self.weight)

    def describe(self):
        return f"{self.sizes[0]}, {self.sizes[1]}"


class Dropout(Module):
    """In training, 0 with probability p and x/(1 − p) otherwise; in evaluation, x. rng: a minigen.Generator."""

    def __init__(self, p=0.5, *, rng=None):
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: expected a probability p in [0, 1]; got {p}.")
        self.p, self.rng = p, rng or Generator()

    def forward(self, x):
        return ops.dropout(x, self.p, self.training, self.rng)

    def describe(self):
        return f"p={self.p}"


class Flatten(Module):
    """(N, ...) → (N, D), or the axes start_dim to end_dim made one."""

    def __init__(self, start_dim=1, end_dim=-1):
        self.dims = start_dim, end_dim

    def forward(self, x):
        return ops.flatten(x, *self.dims)


class Reshape(Module):
    """(N, D) → (N, *shape): each sample in another shape."""

    def __init__(self, *shape):
        self.shape = shape

    def forward(self, x):
        return ops.reshape(x, shape=(x.shape[0], *self.shape))

    def describe(self):
        return ", ".join(map(str, self.shape))


class _WithOptions(Module):
    """A layer without weights: an op and its options."""

    def __init__(self, **options):
        self.options = options

    def describe(self):
        return ", ".join(f"{k}={v}" for k, v in self.options.items() if v is not None)


class MaxPool2d(_WithOptions):
    """See `max_pool2d`; with return_indices=True it also returns what MaxUnpool2d needs."""

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        super().__init__(
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            return_indices=return_indices,
            ceil_mode=ceil_mode,
        )

    def forward(self, x):
        return ops.max_pool2d(x, **self.options)


class MaxUnpool2d(_WithOptions):
    """See `max_unpool2d`."""

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding)

    def forward(self, x, indices, output_size=None):
        return ops.max_unpool2d(x, indices, **self.options, output_size=output_size)


class AvgPool2d(_WithOptions):
    """See `avg_pool2d`."""

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        super().__init__(
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        )

    def forward(self, x):
        return ops.avg_pool2d(x, **self.options)


class Upsample(_WithOptions):
    """See `interpolate`."""

    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=False):
        super().__init__(size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners)

    def forward(self, x):
        return ops.interpolate(x, **self.options)

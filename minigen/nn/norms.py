"""Normalisation layers. Names, arguments and shapes of PyTorch's."""

import numpy as np

from .. import ops
from ..backend import Generator, asarray
from .module import Buffer, Module, Parameter


def _ones_and_zeros(shape, affine):
    if not affine:
        return None, None
    return Parameter(asarray(np.ones(shape, np.float32))), Parameter(asarray(np.zeros(shape, np.float32)))


class _RunningNorm(Module):
    """What batch and instance norm share: affine parameters (C,) and running statistics."""

    ndims = ()

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True):
        if not 0 < eps <= 0.05:
            raise ValueError(
                f"{type(self).__name__}({num_features}, {eps}): the second argument is eps, a small number added to "
                f"the variance; got {eps}. Did you mean momentum={eps}?"
            )
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight, self.bias = _ones_and_zeros(num_features, affine)
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if track_running_stats:
            self.running_mean = Buffer(asarray(np.zeros(num_features, np.float32)))
            self.running_var = Buffer(asarray(np.ones(num_features, np.float32)))
            self.num_batches_tracked = Buffer(asarray(np.zeros((), np.int64)))

    def check(self, x):
        if x.ndim not in self.ndims or x.shape[1] != self.num_features:
            shapes = {2: f"(N, {self.num_features})", 4: f"(N, {self.num_features}, H, W)"}
            expected = " or ".join(shapes[n] for n in self.ndims)
            raise ValueError(
                f"{type(self).__name__}({self.num_features}): expected x of shape {expected}; got {x.shape}."
            )

    def describe(self):
        return f"{self.num_features}, eps={self.eps:g}, momentum={self.momentum:g}"


class BatchNorm(_RunningNorm):
    """Each channel to mean 0 and variance 1 over the batch, then weight and bias, see `batch_norm`.

    Shapes: (N, C) or (N, C, H, W). In evaluation the running statistics are used.
    momentum: the weight of the *new* batch in them, as in PyTorch.
    """

    ndims, takes_slope = (2, 4), True

    def forward(self, x, slope=1.0):
        self.check(x)
        use_batch = self.training or self.running_mean is None
        return ops.batch_norm(
            *(x, self.running_mean, self.running_var, self.weight, self.bias, use_batch, self.momentum, self.eps),
            slope=slope,
            num_batches_tracked=self.num_batches_tracked,
        )


class BatchNorm1d(BatchNorm):
    """BatchNorm for (N, C)."""

    ndims, takes_slope = (2,), True


class BatchNorm2d(BatchNorm):
    """BatchNorm for (N, C, H, W)."""

    ndims, takes_slope = (4,), True


class InstanceNorm2d(_RunningNorm):
    """Each channel of each image to mean 0 and variance 1, see `instance_norm`.       Shapes: (N, C, H, W)."""

    ndims = (4,)

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=False, track_running_stats=False):
        super().__init__(num_features, eps, momentum, affine, track_running_stats)

    def forward(self, x):
        self.check(x)  # PyTorch's has num_batches_tracked too, but never counts
        own = self.training or self.running_mean is None
        return ops.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, own, self.momentum, self.eps
        )


class LayerNorm(Module):
    """Each sample normalised over its last axes, see `layer_norm`."""

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True):
        self.shape, self.eps = normalized_shape, eps
        self.weight, self.bias = _ones_and_zeros(normalized_shape, elementwise_affine)

    def forward(self, x):
        return ops.layer_norm(x, self.shape, self.weight, self.bias, self.eps)

    def describe(self):
        return f"{self.shape}, eps={self.eps:g}"


class GroupNorm(Module):
    """Each sample normalised over groups of channels, see `group_norm`."""

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True):
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm({num_groups}, {num_channels}): the groups must divide the channels.")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight, self.bias = _ones_and_zeros(num_channels, affine)

    def forward(self, x):
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def describe(self):
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps:g}"


class SpectralNorm(Module):
    """A Dense or convolutional layer whose weight is divided by its largest singular value, see `spectral_norm`.

    In training, each call first improves the singular vectors (buffers u, v) by n_power_iterations rounds.
    """

    def __init__(self, layer, n_power_iterations=1, *, rng=None):
        self.layer, self.n = layer, n_power_iterations
        rows = self._matrix(layer.weight.data).shape[0]
        u = (rng or Generator()).host.standard_normal(rows, dtype=np.float32)
        u, v = ops.power_iteration(self._matrix(layer.weight.data), asarray(u / np.linalg.norm(u)), n=15)
        self.u, self.v = Buffer(u), Buffer(v)

    def _matrix(self, weight):
        """One row per output: transposed convolutions hold their outputs along the second axis."""
        return weight.swapaxes(0, 1) if getattr(self.layer, "transposed", False) else weight

    def forward(self, x):
        weight = self._matrix(self.layer.weight)
        if self.training:
            u, v = ops.power_iteration(weight.data, self.u.data, self.n)
            self.u.data[...], self.v.data[...] = u, v
        # Copies: what the graph keeps must not change with the next call.
        normalised = ops.spectral_norm(weight, self.u.data.copy(), self.v.data.copy())
        return self.layer.apply(x, self._matrix(normalised))

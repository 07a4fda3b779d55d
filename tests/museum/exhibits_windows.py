"""Convolution, pooling, upsampling and borders, as they are written by hand."""

import numpy as np
from exhibit import channels_last, exhibit, normal

from minigen.autograd import op

IMAGE, KERNEL = normal(2, 2, 6, 6), normal(3, 2, 3, 3)


def im2col(x, k, stride=1):
    """(N, C, H, W) → (N, C, OH, OW, k, k), a view."""
    return np.lib.stride_tricks.sliding_window_view(x, (k, k), (2, 3))[:, :, ::stride, ::stride]


def col2im(columns, shape, stride=1):
    """The adjoint: every window is added where it was read."""
    out, k = np.zeros(shape), columns.shape[-1]
    for i, j in np.ndindex(columns.shape[2:4]):
        out[:, :, i * stride : i * stride + k, j * stride : j * stride + k] += columns[:, :, i, j]
    return out


def correlate(x, w, stride=1):
    return np.einsum("ncijuv,ocuv->noij", im2col(x, w.shape[2], stride), w)


def to_windows(g, w):
    return np.einsum("noij,ocuv->ncijuv", g, w)


def to_weight(g, x, k, stride=1):
    return np.einsum("noij,ncijuv->ocuv", g, im2col(x, k, stride))


# ------------------------------------------------------------------------------------------------ convolution


def _assign(columns, shape, stride=1):
    out, k = np.zeros(shape), columns.shape[-1]
    for i, j in np.ndindex(columns.shape[2:4]):
        out[:, :, i * stride : i * stride + k, j * stride : j * stride + k] = columns[:, :, i, j]
    return out


@exhibit("overlap assigned", IMAGE, KERNEL, at="x")
@op(
    x=lambda g, weight, x_shape: _assign(to_windows(g, weight), x_shape),
    weight=lambda g, x, weight: to_weight(g, x, weight.shape[2]),
)
def convolution_of_pydynet(x, weight):
    """PyDyNet's col2im assigns instead of adding: where windows overlap, the last one stays."""
    return correlate(x, weight)


@exhibit("flipped", IMAGE, KERNEL, at="weight")
@op(
    x=lambda g, weight, x_shape: col2im(to_windows(g, weight), x_shape),
    weight=lambda g, x, weight: to_weight(g, x, weight.shape[2])[:, :, ::-1, ::-1],
)
def convolution_with_flipped_weight_gradient(x, weight):
    """Cross-correlation with the weight gradient of a true convolution, from a text that means the other of the two."""
    return correlate(x, weight)


@exhibit("flipped", IMAGE, KERNEL, says="weight", at="x")
@op(
    x=lambda g, weight, x_shape: col2im(to_windows(g, weight[:, :, ::-1, ::-1]), x_shape),
    weight=lambda g, x, weight: to_weight(g, x, weight.shape[2]),
)
def convolution_with_kernel_turned_twice(x, weight):
    """The kernel turned by 180° 'for backpropagation', by a col2im that turns it by itself."""
    return correlate(x, weight)


@exhibit("shifted", IMAGE, KERNEL, says="1", at="x")
@op(
    x=lambda g, weight, x_shape: col2im(to_windows(g, weight), (2, 2, 8, 8))[:, :, :-2, :-2],
    weight=lambda g, x, weight: to_weight(g, np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), weight.shape[2]),
)
def convolution_padded_at_one_side(x, weight):
    """Padding 1 on either side; the gradient of the padded image is cut at the lower right only."""
    return correlate(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), weight)


@exhibit("shifted", normal(2, 2, 4, 4), KERNEL.swapaxes(0, 1))
@op(
    x=lambda g, weight: correlate(g[:, :, 1:, 1:], weight, 2),
    weight=lambda g, x: to_weight(x, g[:, :, 1:, 1:], 3, 2),
)
def transposed_convolution_with_output_padding(x, weight):
    """Output padding adds a row below and a column to the right; backward cuts them off above and to the left."""
    size = (x.shape[2] - 1) * 2 + 3
    out = col2im(np.einsum("noij,ocuv->ncijuv", x, weight), (len(x), weight.shape[1], size, size), 2)
    return np.pad(out, ((0, 0), (0, 0), (0, 1), (0, 1)))


# ------------------------------------------------------------------------------------------------ pooling


def _pooled_places(x, k):
    """(N, C, OH, OW, k·k): the tiles, flat."""
    N, C, H, W = x.shape
    return x.reshape(N, C, H // k, k, W // k, k).swapaxes(3, 4).reshape(N, C, H // k, W // k, k * k)


def _max_pool_x(g, x, k):
    tiles = _pooled_places(x, k)
    place = tiles.argmax(axis=-1)
    row, column = place % k, place // k  # divmod is (place // k, place % k)
    out = np.zeros_like(x)
    n, c, i, j = np.indices(g.shape)
    out[n, c, i * k + row, j * k + column] = g
    return out


@exhibit("permuted", IMAGE, at="x")
@op(x=_max_pool_x)
def max_pool(x, *, k=2):
    """The place of the maximum in its window is taken apart the wrong way round: row and column are exchanged."""
    return _pooled_places(x, k).max(axis=-1)


@exhibit("partly wrong", normal(1, 2, 7, 7), at="x")
@op(
    x=lambda g, x_shape: col2im(np.broadcast_to(g[..., None, None] / 9, (*g.shape, 3, 3)), (1, 2, 9, 9))[
        :, :, 1:-1, 1:-1
    ]
)
def mean_filter(x):
    """A 3 × 3 mean that does not count the padding, with the VJP of one that does: wrong along the border only."""
    around = ((0, 0), (0, 0), (1, 1), (1, 1))
    return im2col(np.pad(x, around), 3).sum(axis=(4, 5)) / im2col(np.pad(np.ones_like(x), around), 3).sum(axis=(4, 5))


@exhibit("unknown or partly wrong", normal(2, 9), at="x")
@op(x=lambda g, x_shape: _spread(g, x_shape))
def sum_pool(x):
    """Windows of 3 at stride 2: the loop of the backward pass steps by 1."""
    return np.lib.stride_tricks.sliding_window_view(x, 3, 1)[:, ::2].sum(axis=-1)


def _spread(g, shape):
    out = np.zeros(shape)
    for i in range(g.shape[1]):
        out[:, i : i + 3] += g[:, i : i + 1]
    return out


@exhibit("partly wrong", normal(2, 3, 6), at="x")
@op(x=lambda g: np.repeat(g, 2, axis=2))
def every_second(x):
    """Subsampling with the gradient of upsampling: the pixels that were left out receive one too."""
    return x[:, :, ::2].copy()


# ------------------------------------------------------------------------------------------------ upsampling, borders


@exhibit("missing sum", normal(2, 3, 3, 3), at="x")
@op(x=lambda g: g[:, :, ::2, ::2])
def upsampling_of_ml_from_scratch(x):
    """ML-From-Scratch's UpSampling2D returns one of the four gradients of a pixel; its DCGAN uses it."""
    return np.repeat(np.repeat(x, 2, axis=2), 2, axis=3)


@exhibit("partly wrong or overlap assigned", normal(2, 2, 4, 4), at="x")
@op(x=lambda g: g[:, :, 1:-1, 1:-1])
def replicate_pad(x):
    """The border is repeated outwards; backward cuts it off, and with it what the border pixels should receive."""
    return np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")


@exhibit("partly wrong", normal(1, 1, 5, 5), says="[0, 0, 0, 0]", at="x")
@op(x=lambda g: np.where(np.arange(25).reshape(5, 5) == 0, 0.0, g))
def first_pixel_left_out(x):
    """A loop that starts at 1: one pixel of the image receives nothing."""
    return x * 1.0


# ------------------------------------------------------------------------------------------------ memory layout


def _flat_mask(g, x):
    masked = g.ravel() * (x.ravel(order="K") > 0)
    return masked.reshape(g.shape)


@exhibit("memory layout", channels_last(normal(2, 3, 4, 4)), at="x")
@op(x=_flat_mask)
def relu_on_flat_memory(x):
    """A fast path over flat memory, order='K': one array lies row by row, the other channels last."""
    return np.ascontiguousarray(np.maximum(x, 0))


def _channel_scale(g, scale):
    if g.strides[1] == g.itemsize:  # channels last
        return g * scale.reshape(1, 1, 1, -1)
    return g * scale.reshape(1, -1, 1, 1)


@exhibit("memory layout", channels_last(normal(2, 4, 4, 4)), normal(4), at="x")
@op(x=_channel_scale, scale=lambda g, x: (g * x).sum(axis=(0, 2, 3)))
def scale_each_channel(x, scale):
    """A special case for channels-last images that takes memory order for the order of the axes."""
    return x * scale.reshape(1, -1, 1, 1)

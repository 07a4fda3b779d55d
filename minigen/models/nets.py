"""The networks that the models share, for any image size and 1 or 3 channels.

Sizes halve (rounding down) until at most 4 are left: 28, 14, 7, 3 or 64, 32, 16, 8, 4. A convolution with kernel 4,
stride 2, padding 1 goes from n to ⌊n/2⌋; its transpose comes back to 2n or, with output_padding 1, to 2n + 1: every
size can be reached. A kernel that the stride divides overlaps evenly, which avoids checkerboards.
"""

from functools import partial
from itertools import pairwise

from ..nn import BatchNorm2d, Conv2d, ConvTranspose2d, Dense, Dropout, Flatten, LayerNorm, Reshape, Sequential
from ..nn.init import he_normal
from ..ops import leaky_relu, relu

SMALLEST = 4
lrelu = partial(leaky_relu, negative_slope=0.2)
lrelu.__name__ = "leaky_relu(0.2)"


def pyramid(shape, width):
    """[(channels, H, W)] from the image inwards; channels double from `width` as sides halve.

    Raises ValueError for images smaller than 8 pixels, of which nothing would be left.
    """
    _, h, w = shape
    if min(h, w) < 8:
        raise ValueError(f"net: expected images of at least 8 x 8 pixels; got shape {tuple(shape)}. Use --net dense.")
    levels = [tuple(shape)]
    while max(h, w) > SMALLEST and min(h, w) >= 4:
        h, w = h // 2, w // 2
        levels.append((width * 2 ** (len(levels) - 1), h, w))
    return levels


def conv_encoder(shape, width, rng, act=relu, norm=None, dropout=0.0, init=he_normal):
    """(layers, number of features): images (N, C, H, W) → (N, features), by strided convolutions.

    norm: None, "batch" or "layer", from the second convolution on.
    """
    levels, layers = pyramid(shape, width), []
    for i, ((c, _, _), inner) in enumerate(pairwise(levels)):
        layers.append(Conv2d(c, inner[0], 4, 2, 1, init=init, rng=rng))
        if norm and i:
            layers.append({"batch": lambda s: BatchNorm2d(s[0]), "layer": LayerNorm}[norm](inner))
        layers.append(act)
        if dropout:
            layers.append(Dropout(dropout, rng=rng))
    c, h, w = levels[-1]
    return [*layers, Flatten()], c * h * w


def conv_decoder(features, shape, width, rng, act=relu, norm=False, init=he_normal):
    """Layers (N, features) → (N, C, H, W): dense → reshape → (batch norm →) act → transposed convolutions.

    No activation at the end: what the pixels mean is the model's choice.
    """
    levels = pyramid(shape, width)[::-1]
    c, h, w = levels[0]
    layers = [Dense(features, c * h * w, bias=not norm, init=init, rng=rng), Reshape(c, h, w)]
    for inner, outer in pairwise(levels):
        layers += [BatchNorm2d(inner[0])] if norm else []
        extra = (outer[1] - 2 * inner[1], outer[2] - 2 * inner[2])
        last = outer is levels[-1]
        layers += [
            act,
            ConvTranspose2d(inner[0], outer[0], 4, 2, 1, extra, bias=last or not norm, init=init, rng=rng),
        ]
    return layers


def dense_stack(sizes, rng, act=relu, dropout=0.0, init=he_normal):
    """Layers (N, sizes[0]) → (N, sizes[-1]), each but the last followed by `act`."""
    layers = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        layers.append(Dense(n_in, n_out, init=init, rng=rng))
        if i < len(sizes) - 2:
            layers.append(act)
            if dropout:
                layers.append(Dropout(dropout, rng=rng))
    return layers


def image_size(shape):
    """The number of values of an image."""
    c, h, w = shape
    return c * h * w


def encoder(net, shape, outputs, rng, *, hidden=512, width=32, act=relu, **options):
    """Images → (N, outputs), by a dense or a convolutional net; options as those of the nets."""
    if net == "dense":
        return Sequential(Flatten(), *dense_stack([image_size(shape), hidden, hidden, outputs], rng, act, **options))
    if net == "conv":
        layers, features = conv_encoder(shape, width, rng, act, **options)
        return Sequential(*layers, Dense(features, outputs, rng=rng))
    raise ValueError(f'net: expected "dense" or "conv"; got {net!r}.')


def decoder(net, inputs, shape, rng, *, hidden=512, width=32, act=relu, **options):
    """(N, inputs) → images, without a final activation; the mirror of `encoder`."""
    if net == "dense":
        return Sequential(
            *dense_stack([inputs, hidden, hidden, image_size(shape)], rng, act, **options), Reshape(*shape)
        )
    if net == "conv":
        return Sequential(*conv_decoder(inputs, shape, width, rng, act, **options))
    raise ValueError(f'net: expected "dense" or "conv"; got {net!r}.')

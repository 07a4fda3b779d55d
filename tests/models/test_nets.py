"""The shared networks: every size of image comes in and goes out again, and layers stand where they belong."""

import numpy as np
import pytest

from minigen import tensor
from minigen.backend import Generator
from minigen.models.nets import decoder, encoder, pyramid
from minigen.nn import BatchNorm2d, Conv2d, ConvTranspose2d, Dense, Dropout, LayerNorm, Module
from minigen.ops import relu, tanh


def kinds(net):
    return [type(layer) for layer in net.layers if isinstance(layer, Module)]


@pytest.mark.parametrize("size", [*range(8, 36), (8, 31), (50, 9), 64, 100])
def test_every_size_comes_in_and_goes_out_again(size):
    shape = (1, *(size if isinstance(size, tuple) else (size, size)))
    x = tensor(np.zeros((2, *shape), np.float32))
    code = encoder("conv", shape, 5, Generator(0), width=2)(x)
    assert code.shape == (2, 5)
    assert decoder("conv", 5, shape, Generator(0), width=2)(code).shape == (2, *shape)


def test_channels_double_as_sides_halve():
    levels = pyramid((3, 64, 64), 16)
    assert levels[0] == (3, 64, 64)
    for i, (channels, h, w) in enumerate(levels[1:], 1):
        assert (channels, h, w) == (16 * 2 ** (i - 1), 64 >> i, 64 >> i)
    assert min(levels[-1][1:]) >= 2


@pytest.mark.parametrize("shape", [(1, 7, 7), (3, 64, 5)])
def test_images_that_are_too_small_are_refused_with_a_way_out(shape):
    with pytest.raises(ValueError, match=r"expected images of at least 8 x 8 pixels; got shape .* Use --net dense\."):
        encoder("conv", shape, 5, Generator(0))


def test_dense_nets_take_any_size():
    net = decoder("dense", 4, (3, 2, 5), Generator(0), hidden=6)
    assert net(tensor(np.zeros((2, 4), np.float32))).shape == (2, 3, 2, 5)
    assert encoder("dense", (3, 2, 5), 4, Generator(0), hidden=6)(net(tensor(np.zeros((2, 4), np.float32)))).shape == (
        2,
        4,
    )


@pytest.mark.parametrize(
    "make", [lambda: encoder("deep", (1, 8, 8), 2, Generator(0)), lambda: decoder("deep", 2, (1, 8, 8), Generator(0))]
)
def test_another_net_is_refused(make):
    with pytest.raises(ValueError, match='net: expected "dense" or "conv"; got \'deep\''):
        make()


def test_a_layer_before_batch_norm_has_no_bias_in_the_decoder():
    """The norm takes every mean away, so a bias before it would never move the output."""
    net = decoder("conv", 4, (1, 28, 28), Generator(0), norm=True, width=2)
    weighted = [layer for layer in net.layers if isinstance(layer, Dense | ConvTranspose2d)]
    assert [layer.bias is None for layer in weighted] == [True] * (len(weighted) - 1) + [False]
    assert kinds(net).count(BatchNorm2d) == len(weighted) - 1


@pytest.mark.parametrize(("norm", "kind"), [("batch", BatchNorm2d), ("layer", LayerNorm)])
def test_norms_of_the_encoder_begin_at_the_second_convolution(norm, kind):
    net = kinds(encoder("conv", (1, 28, 28), 4, Generator(0), norm=norm, width=2))
    convolutions = net.count(Conv2d)
    assert net[:2] == [Conv2d, Conv2d]
    assert net[2] is kind
    assert net.count(kind) == convolutions - 1


@pytest.mark.parametrize("net", ["dense", "conv"])
def test_dropout_follows_each_hidden_layer_only_where_asked_for(net):
    with_dropout = kinds(encoder(net, (1, 28, 28), 4, Generator(0), width=2, hidden=4, dropout=0.3))
    assert with_dropout.count(Dropout) == with_dropout.count(Conv2d if net == "conv" else Dense) - (net == "dense")
    assert Dropout not in kinds(encoder(net, (1, 28, 28), 4, Generator(0), width=2, hidden=4))


@pytest.mark.parametrize("net", ["dense", "conv"])
def test_the_activation_is_the_one_asked_for_and_none_is_last(net):
    layers = decoder(net, 4, (1, 28, 28), Generator(0), width=2, hidden=4, act=tanh).layers
    assert tanh in layers
    assert relu not in layers
    assert layers[-1] is not tanh

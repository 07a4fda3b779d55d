"""Sequential leaves ReLU and leaky ReLU to the layer before them: what changes is the number of ops, nothing else."""

import functools

import numpy as np
import pytest

from minigen import Generator, debug, grad, models, no_grad, op, ops, tensor
from minigen.autograd import state
from minigen.backend import threads
from minigen.data import Dataset
from minigen.loop import Training
from minigen.nn import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Flatten,
    Reshape,
    Sequential,
    SpectralNorm,
    module,
)
from minigen.ops import leaky_relu, relu, tanh

rng = Generator(0)
lrelu = functools.partial(leaky_relu, negative_slope=0.2)
IMAGES = rng.normal((3, 2, 6, 6))


class Names:
    """Stands in for the checks of debug(): notes the names of the ops that run."""

    def __init__(self):
        self.ran = []

    def forward(self, op, out, call):
        self.ran.append(str(op))


def ran(net, x, monkeypatch):
    names = Names()
    with monkeypatch.context() as patch:
        patch.setattr(state, "watcher", names)
        with no_grad():
            net(tensor(x))
    return names.ran


def one_by_one(net, x):
    """The layers of a Sequential, each called alone."""
    for layer in net.layers:
        x = layer(x)
    return x


NETS = {
    "conv, relu": lambda: Sequential(Conv2d(2, 4, 3, 2, 1, rng=rng), relu),
    "groups, leaky, no bias": lambda: Sequential(Conv2d(2, 4, 3, groups=2, bias=False, rng=rng), lrelu),
    "transposed": lambda: Sequential(ConvTranspose2d(2, 3, 4, 2, 1, 1, rng=rng), leaky_relu),
    "dense on 3 axes": lambda: Sequential(Dense(6, 5, rng=rng), relu),
    "batch norm": lambda: Sequential(BatchNorm2d(2), lrelu),
    "same": lambda: Sequential(
        Conv2d(2, 3, 3, padding="same", rng=rng), relu, Flatten(), Dense(108, 4, rng=rng), lrelu
    ),
    "flat batch norm": lambda: Sequential(Flatten(), BatchNorm1d(72), relu, Dense(72, 1, rng=rng)),
}
EACH_NET = pytest.mark.parametrize("name", NETS)


@EACH_NET
def test_no_leaky_relu_is_called(name, monkeypatch):
    names = ran(NETS[name](), IMAGES, monkeypatch)
    assert not {"relu", "leaky_relu"} & set(names)


@EACH_NET
@pytest.mark.parametrize("create_graph", [False, True])
def test_values_and_gradients_are_those_of_the_layers_called_one_by_one(name, create_graph):
    net, x = NETS[name](), tensor(IMAGES, requires_grad=True)
    with no_grad():
        weights = rng.normal(one_by_one(net, x).shape)  # batch norm has moved once: so it does below
    found = []
    for call in (lambda: net(x), lambda: one_by_one(net, x)):
        y = call()
        gradients = grad((y * y * weights).sum(), [x, *net.parameters()], create_graph=create_graph)
        if create_graph:
            gradients += grad(sum((g * g).sum() for g in gradients), [x, *net.parameters()], allow_unused=True)
        found.append([y, *gradients])
    for a, b in zip(*found):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == np.float32
            np.testing.assert_allclose(a.data, b.data, rtol=1e-4, atol=1e-5 * max(1, np.abs(b.data).max()))


@pytest.mark.parametrize("layer", [lambda: Dense(6, 4, rng=rng), lambda: BatchNorm2d(2)])
def test_a_cotangent_that_depends_on_nothing_may_be_an_array_where_the_graph_is_recorded(layer, monkeypatch):
    monkeypatch.setattr(threads, "CHUNK", 8)  # kernels that work in pieces take nothing but arrays

    @op(x=lambda g, x_shape: np.full(x_shape, 2.0, np.float32))
    def twice_the_sum(x):
        return 2 * x.sum()

    net = Sequential(layer(), relu)
    found, expected = (grad(twice_the_sum(net(IMAGES)), net.parameters(), create_graph=c) for c in (True, False))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "saved"),
    [
        (
            lambda: Conv2d(2, 4, 3, rng=rng),
            "out bias slope x weight x_shape weight_shape stride padding dilation groups",
        ),
        (lambda: Dense(6, 4, rng=rng), "out bias slope x weight"),
        (lambda: BatchNorm2d(2), "out bias slope x weight eps"),
    ],
)
def test_what_comes_before_leaky_relu_is_not_kept(layer, saved):
    """Of the size of the result only the result itself is saved, and the input."""
    x = tensor(IMAGES, requires_grad=True)
    y = Sequential(layer(), lrelu)(x)
    node = y.node
    while "slope" not in node.saved:  # batch norm's result is a part of a tuple; dense's is reshaped
        (node,) = node.parents
    assert set(node.saved) == set(saved.split())
    out = node.saved["out"][0] if isinstance(node.saved["out"], tuple) else node.saved["out"]
    assert np.shares_memory(out, y.data)
    assert (y.data < 0).any()
    assert np.array_equal(np.sort(out.ravel()), np.sort(y.data.ravel()))


def test_batch_norm_moves_its_statistics_once_a_call_and_evaluates_with_them():
    fused, apart = Sequential(BatchNorm2d(2), lrelu), Sequential(BatchNorm2d(2), lrelu)
    for _ in range(3):
        fused(IMAGES), one_by_one(apart, IMAGES)
    for (name, a), (_, b) in zip(fused.named_buffers(), apart.named_buffers(), strict=True):
        assert np.array_equal(a.data, b.data), name
    assert fused[0].num_batches_tracked.data == 3
    np.testing.assert_allclose(fused.eval()(IMAGES).data, one_by_one(apart.eval(), IMAGES).data, rtol=1e-6)
    assert fused[0].num_batches_tracked.data == 3


# ------------------------------------------------------------------------------------------------ what is left alone


class Doubled(Dense):
    def forward(self, x):
        return 2 * super().forward(x)


class Called(Dense):
    def __call__(self, x):
        return 2 * super().__call__(x)


def patched():
    layer = Dense(6, 4, rng=rng)
    layer.forward = lambda x: 2 * ops.linear(x, layer.weight)
    return layer


@pytest.mark.parametrize(
    "layers",
    [
        lambda: (Doubled(6, 4, rng=rng), relu),
        lambda: (Called(6, 4, rng=rng), relu),
        lambda: (patched(), relu),
        lambda: (SpectralNorm(Dense(6, 4, rng=rng), rng=rng), relu),
        lambda: (tanh, relu),
        lambda: (Flatten(), relu),
        lambda: (Dense(6, 4, rng=rng), functools.partial(leaky_relu, negative_slope=1.0)),
        lambda: (Dense(6, 4, rng=rng), functools.partial(leaky_relu, negative_slope=np.float32(0.2))),
        lambda: (Dense(6, 4, rng=rng), lambda x: relu(x)),
    ],
)
def test_other_neighbours_are_called_one_by_one(layers, monkeypatch):
    net = Sequential(*layers()).eval()
    assert {"relu", "leaky_relu"} & set(ran(net, IMAGES, monkeypatch))
    assert np.array_equal(net(IMAGES).data, one_by_one(net, IMAGES).data)


def test_the_second_of_two_leaky_relus_is_called(monkeypatch):
    net = Sequential(Dense(6, 4, rng=rng), lrelu, lrelu, Dense(4, 2, rng=rng), relu)
    assert ran(net, IMAGES, monkeypatch).count("leaky_relu") == 1
    np.testing.assert_allclose(net(IMAGES).data, one_by_one(net, IMAGES).data, rtol=1e-6)


def test_a_slope_out_of_range_is_refused_where_leaky_relu_does():
    net = Sequential(Dense(6, 4, rng=rng), functools.partial(leaky_relu, negative_slope=2))
    with pytest.raises(ValueError, match=r"leaky_relu: expected a slope in \[0, 1\]; got 2"):
        net(IMAGES)
    for f in (ops.linear, ops.conv2d, ops.conv_transpose2d):
        weight = np.zeros((2, 2, 3, 3)) if f is not ops.linear else np.zeros((1, 6))
        with pytest.raises(ValueError, match=rf"{f.__name__}: expected a slope in \[0, 1\]; got -1"):
            f(IMAGES, weight, slope=-1)


# ------------------------------------------------------------------------------------------------ messages


def test_an_error_is_noted_with_the_layer_s_name():
    net = Sequential(Conv2d(2, 4, 3, rng=rng), relu, Conv2d(5, 4, 3, rng=rng), relu)
    with pytest.raises(ValueError) as caught:
        net(IMAGES)
    assert any(note.startswith("in 2: Conv2d(5, 4") for note in caught.value.__notes__)


def test_debug_names_the_layer_and_shows_no_running_statistics():
    net = Sequential(Conv2d(2, 4, 3, rng=rng), BatchNorm2d(4), relu)
    net[1].weight.data[...] = np.nan
    with pytest.raises(FloatingPointError) as caught, debug():
        net(IMAGES)
    assert "in 1: BatchNorm2d: the input 'weight' holds nan" in str(caught.value)
    assert "array(" not in str(caught.value)
    assert "slope=0" in str(caught.value)


def test_names_and_printing_are_those_of_all_layers():
    net = Sequential(Conv2d(2, 4, 3, rng=rng), relu, BatchNorm2d(4), lrelu)
    net(IMAGES)
    assert [n for n, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert "(1): relu" in repr(net)
    assert len(net) == 4


def test_an_empty_batch_passes_through():
    net = Sequential(Conv2d(2, 4, 3, rng=rng), relu, Reshape(64), Dense(64, 3, rng=rng), lrelu)
    y = net(np.zeros((0, 2, 6, 6), np.float32))
    assert y.shape == (0, 3)
    assert all((g.data == 0).all() for g in grad(y.sum(), net.parameters()))


# ------------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize("name", ["gan", "vae", "wgan_gp", "classifier"])
def test_models_train_to_the_same_weights(name, monkeypatch):
    """Three steps: float32 sums in another order, and Adam, which can turn a rounding of 0 into a step of its size."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 1), np.uint8)
    data = Dataset.from_pixels(pixels, np.arange(12) % 10, tuple("0123456789"), "noise")
    options = {"width": 4} | ({} if name == "classifier" else {"net": "conv"})

    def trained():
        model = models.find_model(name)((1, 16, 16), **options, rng=Generator(1))
        run = Training(model, data, batch_size=6, lr=1e-4)
        for _ in range(3):
            run.step()
        return model.state_dict()

    fused = trained()
    monkeypatch.setattr(module, "_takes_slope", lambda layer: False)
    for key, apart in trained().items():
        np.testing.assert_allclose(fused[key], apart, rtol=1e-3, atol=1e-4, err_msg=key)

"""Initialisers have the variance that their docstrings derive, layers begin as they promise, and seeds decide all."""

import numpy as np
import pytest

from minigen.backend import Generator
from minigen.nn import BatchNorm2d, Conv2d, ConvTranspose2d, Dense, Embedding, init

SHAPE, FAN_IN, FAN_OUT = (150, 200), 200, 150  # 30,000 numbers: the variance of normal ones is off by 0.8 % (1 σ)
VARIANCES = {
    init.torch_default: 1 / (3 * FAN_IN),
    init.glorot_uniform: 2 / (FAN_IN + FAN_OUT),
    init.glorot_normal: 2 / (FAN_IN + FAN_OUT),
    init.he_uniform: 2 / FAN_IN,
    init.he_normal: 2 / FAN_IN,
    init.normal(0.02): 0.02**2,
    init.orthogonal: 1 / 200,  # orthonormal rows of length 200
}


def drawn(function, shape=SHAPE, fan_in=FAN_IN, fan_out=FAN_OUT, seed=0):
    return function(shape, fan_in, fan_out, Generator(seed).host)


@pytest.mark.parametrize(("function", "variance"), VARIANCES.items(), ids=lambda v: getattr(v, "__name__", ""))
def test_the_variance_is_the_one_derived(function, variance):
    w = drawn(function)
    assert w.dtype == np.float32
    assert w.shape == SHAPE
    assert w.var() == pytest.approx(variance, rel=0.04)  # 5 σ
    assert abs(w.mean()) < 5 * (variance / w.size) ** 0.5


@pytest.mark.parametrize("function", [init.torch_default, init.glorot_uniform, init.he_uniform])
def test_a_uniform_one_ends_where_its_variance_says(function):
    w = drawn(function)
    assert abs(w).max() == pytest.approx((3 * VARIANCES[function]) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("shape", [(5, 20), (20, 5), (6, 2, 3, 3)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape):
    w = drawn(init.orthogonal, shape).reshape(shape[0], -1).astype(np.float64)
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    assert np.allclose(small, np.eye(len(small)), atol=1e-6)


def test_he_normal_keeps_the_size_of_activations_through_relu_layers():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 200)).astype(np.float32)
    for seed in range(5):
        x = np.maximum(x @ drawn(init.he_normal, (200, 200), seed=seed).T, 0)
    assert 0.7 < (x**2).mean() < 1.4  # E[x²] begins at 1


@pytest.mark.parametrize(
    ("make", "fan_in"),
    [
        (lambda rng: Dense(400, 300, rng=rng), 400),
        (lambda rng: Conv2d(40, 100, 3, rng=rng), 360),
        (lambda rng: Conv2d(40, 100, 3, groups=4, rng=rng), 90),
        (lambda rng: ConvTranspose2d(40, 100, 3, rng=rng), 900),
    ],
)
def test_a_layer_begins_as_pytorchs_does(make, fan_in):
    layer = make(Generator(0))
    for values in (layer.weight.data, layer.bias.data):
        assert abs(values).max() <= fan_in**-0.5
    assert layer.weight.data.var() == pytest.approx(1 / (3 * fan_in), rel=0.03)
    assert layer.bias.data.var() == pytest.approx(1 / (3 * fan_in), rel=0.4)  # 100 to 300 numbers


def test_with_another_initialiser_biases_begin_at_0():
    layer = Conv2d(3, 5, 3, init=init.he_normal, rng=Generator(0))
    assert not layer.bias.data.any()
    assert layer.weight.data.any()


def test_an_embedding_begins_standard_normal():
    assert Embedding(300, 400, rng=Generator(0)).weight.data.var() == pytest.approx(1, rel=0.02)


def test_a_batch_norm_begins_as_the_identity():
    norm = BatchNorm2d(3)
    assert [v.tolist() for v in norm.state_dict().values()] == [[1] * 3, [0] * 3, [0] * 3, [1] * 3, 0]


@pytest.mark.parametrize("make", [lambda rng: Dense(4, 3, rng=rng), lambda rng: Conv2d(2, 3, 3, rng=rng)])
def test_a_seed_decides_the_weights(make):
    a, b, c = make(Generator(1)), make(Generator(1)), make(Generator(2))
    assert np.array_equal(a.weight.data, b.weight.data)
    assert not np.array_equal(a.weight.data, c.weight.data)


def test_layers_that_share_a_generator_get_different_weights():
    rng = Generator(0)
    assert not np.array_equal(Dense(4, 3, rng=rng).weight.data, Dense(4, 3, rng=rng).weight.data)


def test_layers_without_a_generator_get_different_weights():
    assert not np.array_equal(Dense(4, 3).weight.data, Dense(4, 3).weight.data)

"""Rounding of factors: the oracle against single numbers worked out by hand, and products on the CPU."""

import re

import numpy as np
import pytest
from backend.fake_cupy import installed
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import nn, tensor
from minigen.autograd import grad
from minigen.backend import BackendError, Generator, use
from minigen.backend.gpu import conv
from minigen.backend.kernels import CPU, ROUNDED, kernels
from minigen.backend.precision import PRECISIONS, precision, rounded, set_precision

FRACTION = {"tf32": 10, "bfloat16": 7, "float16": 10}
NARROW = pytest.mark.parametrize("name", FRACTION)


@pytest.fixture(autouse=True)
def restored():
    before = precision()
    yield
    set_precision(before)


def one(x, name):
    return float(rounded(np.array([x], np.float32), name)[0])


@NARROW
def test_numbers_go_to_the_nearest_of_so_many_bits(name):
    step = 2.0 ** -FRACTION[name]
    assert one(1 + step, name) == 1 + step
    assert one(1 + 0.49 * step, name) == 1
    assert one(-1 - 0.51 * step, name) == -1 - step
    assert one(3 * (1 + step / 2**8), name) == 3


def test_ties_go_away_from_zero_in_tf32_and_to_even_in_the_others():
    for name, tie in (("tf32", 1 + 2.0**-10), ("bfloat16", 1.0), ("float16", 1.0)):
        half = 2.0 ** -(FRACTION[name] + 1)
        assert one(1 + half, name) == tie
        assert one(-1 - half, name) == -tie
        assert one(1 + 3 * half, name) == 1 + 4 * half


@NARROW
def test_what_is_not_finite_stays_so(name):
    assert one(np.inf, name) == np.inf
    assert one(-np.inf, name) == -np.inf
    assert np.isnan(one(np.nan, name))
    every_bit = np.array([0x7FFFFFFF], np.uint32).view(np.float32)  # the GPU's NaN: adding to it would make it −0
    assert np.isnan(rounded(every_bit, name)[0])


def test_float16_has_a_smaller_range():
    assert one(65504, "float16") == 65504
    assert one(1e5, "float16") == np.inf
    assert one(1e-8, "float16") == 0
    assert one(1e5, "bfloat16") == pytest.approx(1e5, rel=2**-8)
    assert one(1e-30, "tf32") == pytest.approx(1e-30, rel=2**-11)


@NARROW
@given(x=st.floats(-(2.0**15), 2.0**15, width=32))
@settings(max_examples=100, deadline=None)
def test_rounding_is_odd_done_once_and_at_most_half_a_step(name, x):
    y = one(x, name)
    assert one(y, name) == y
    assert one(-x, name) == -y
    if abs(x) > 2.0**-14:  # below, float16 has fewer bits
        assert abs(y - x) <= 2.0 ** -(FRACTION[name] + 1) * abs(x)


def test_float64_and_the_precision_float32_round_nothing():
    x = np.random.default_rng(0).standard_normal(9)
    assert rounded(x, "bfloat16") is x
    x = x.astype(np.float32)
    assert rounded(x, "float32") is x


def test_a_precision_nobody_knows_is_refused():
    with pytest.raises(ValueError, match=r"set_precision\('half'\): expected one of float32, tf32, bfloat16, float16"):
        set_precision("half")
    assert precision() == "float32"


def test_setting_returns_what_was_set_before():
    assert set_precision("tf32") == "float32"
    assert set_precision("float32") == "tf32"


# -------------------------------------------------------------------------------------------------------- on the CPU


@NARROW
def test_products_on_the_cpu_are_those_of_rounded_factors(name):
    a, b = np.random.default_rng(0).standard_normal((2, 8, 8)).astype(np.float32)
    set_precision(name)
    np.testing.assert_array_equal(kernels(a).matmul(a, b), CPU.matmul(rounded(a, name), rounded(b, name)))
    assert np.abs(kernels(a).matmul(a, b) - CPU.matmul(a, b)).max() > 1e-4
    np.testing.assert_array_equal(kernels(a).matmul(a.astype(np.float64), b), a.astype(np.float64) @ b)


def test_only_products_are_rounded_on_the_cpu():
    assert kernels(np.zeros(1)) is CPU
    set_precision("bfloat16")
    assert kernels(np.zeros(1)) is ROUNDED
    differ = {name for name in vars(CPU) if getattr(CPU, name) is not getattr(ROUNDED, name)}
    assert differ == {"matmul", "conv2d", "conv2d_x", "conv2d_w"}


def gradients(name):
    set_precision(name)
    rng = Generator(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, rng=rng),
        nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1, rng=rng),
        nn.Flatten(),
        nn.Dense(2 * 8 * 8, 3, rng=rng),
    )
    x = tensor(Generator(1).normal((4, 2, 8, 8)))
    return np.concatenate([g.data.ravel() for g in grad((net(x) ** 2).mean(), net.parameters())])


def test_gradients_through_a_network_are_as_wrong_as_their_precision():
    exact = gradients("float32")
    error = {name: np.linalg.norm(gradients(name) - exact) / np.linalg.norm(exact) for name in PRECISIONS}
    assert error["float32"] == 0
    assert 1e-5 < error["tf32"] < 2e-3  # three layers, each at most 1e-3 off
    assert 1e-4 < error["bfloat16"] < 2e-2


# ------------------------------------------------------------------------------------------------ on GPUs, by their age

REFUSED = {
    ("75", "tf32"): "tf32 needs compute capability 8.0 or newer; this GPU has 7.5, and with it float32 and float16.",
    ("75", "bfloat16"): "bfloat16 needs compute capability 8.0 or newer; this GPU has 7.5, and with it float32 and fl",
    ("70", "float16"): "float16 needs compute capability 7.5 or newer; this GPU has 7.0, and with it float32.",
    ("52", "tf32"): "tf32 needs compute capability 8.0 or newer; this GPU has 5.2, and with it float32.",
}


@pytest.mark.parametrize(("capability", "name"), REFUSED)
def test_a_precision_that_the_gpu_has_not_is_refused_when_it_is_set_and_at_the_first_product(capability, name):
    refused = pytest.raises(BackendError, match=re.escape(REFUSED[capability, name]))
    with installed(capability=capability, products="emulated") as cupy:
        set_precision(name)  # of the CPU
        a = use("cupy") and cupy.asarray(np.ones((2, 2), np.float32))
        with refused:
            conv.matmul(a, a)
        with refused:
            conv.conv2d(a[None, None], a[None, None], None, (1, 1), (0, 0), (1, 1), 1)
        np.testing.assert_array_equal(conv.matmul(a.astype(np.float64), a.astype(np.float64)).get(), np.full((2, 2), 2))
        assert set_precision("float32") == name
        with refused:
            set_precision(name)
        assert precision() == "float32"


@pytest.mark.parametrize("capability", ["80", "90"])
def test_newer_gpus_have_every_precision(capability):
    with installed(capability=capability):
        use("cupy")
        assert [set_precision(name) for name in PRECISIONS] == ["float32", *PRECISIONS[:-1]]

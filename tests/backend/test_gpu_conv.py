"""Convolutions and their gradients on tensor cores: igemm.cu on the CPU, against the portable kernels in float64."""

import numpy as np
import pytest
from backend import emulator
from backend.kernel_cases import pairs, random
from backend.tensor_cores import agree, emulated, launches, on
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import nn, ops, tensor
from minigen.autograd import grad
from minigen.backend import Generator, portable, use
from minigen.backend.conv_axes import output_size
from minigen.backend.gpu import conv
from minigen.backend.kernels import kernels

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)


@pytest.fixture(scope="module")
def device():
    with emulated() as cupy:
        yield cupy


CHANNELS = st.sampled_from((1, 3, 4, 5, 8, 36))  # multiples of 4 are copied by fours; 36 are more than a slab or a tile


@st.composite
def convolutions(draw):
    """(x, w, g, bias of w, bias of x, axes): g may be smaller than what fits, and x may have rows that nobody reads."""
    kernel, stride, padding = draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(0, 3))
    dilation = tuple(d if s == 1 else 1 for s, d in zip(stride, draw(pairs(1, 3))))
    N, C, O = draw(st.integers(1, 3)), draw(CHANNELS), draw(CHANNELS)
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation)]
    size = tuple(n + draw(st.integers(0, 6)) for n in least)
    fits = output_size(size, kernel, stride, padding, dilation)
    out = tuple(max(1, n - draw(st.sampled_from((0, 0, 1)))) for n in fits)
    seed, layout = draw(st.integers(0, 2**20)), draw(st.sampled_from(("channels-first", "channels-last")))
    x = random(seed, (N, C, *size), layout=layout)
    w = random(seed + 1, (O, C, *kernel), layout=layout)
    g = random(seed + 2, (N, O, *out), layout=layout)
    bias = lambda n: draw(st.sampled_from((None, random(seed + 3, (n,)))))
    return x, w, g, bias(O), bias(C), (stride, padding, dilation, 1)


@given(case=convolutions())
@settings(max_examples=40, deadline=None)
def test_the_three_are_the_portable_ones_and_adjoint(device, case):
    x, w, g, b, c, axes = case
    y = agree(device, "conv2d", x, w, b, *axes, g.shape[2:])
    dx = agree(device, "conv2d_x", g, w, x.shape[2:], *axes, c)
    dw = agree(device, "conv2d_w", x, g, w.shape[2:], *axes)
    form = np.vdot(y - (0 if b is None else b.reshape(1, -1, 1, 1)), g)
    scale = np.abs(portable.conv2d(abs(x), abs(w), None, *axes, g.shape[2:]) * g).sum() + 1
    assert abs(form - np.vdot(dx - (0 if c is None else c.reshape(1, -1, 1, 1)), x)) < 3e-6 * scale
    assert abs(form - np.vdot(dw, w)) < 3e-6 * scale


@given(case=convolutions(), slope=st.sampled_from((0.0, 0.2)))
@settings(max_examples=15, deadline=None)
def test_leaky_relu_comes_after_the_bias(device, case, slope):
    x, w, g, b, c, axes = case
    agree(device, "conv2d", x, w, b, *axes, g.shape[2:], slope)
    agree(device, "conv2d_x", g, w, x.shape[2:], *axes, c, slope)


def test_the_size_of_the_result_follows_from_that_of_the_image(device):
    x, w = random(0, (2, 4, 6, 7)), random(1, (4, 4, 3, 2))
    assert agree(device, "conv2d", x, w, None, (2, 1), (1, 0), (1, 1), 1).shape == (2, 4, 3, 6)


@pytest.mark.parametrize("stride", [(3, 2), (5, 4)])
def test_pixels_that_no_window_sees_get_the_bias_alone(device, stride):
    g, w, bias = random(0, (2, 4, 2, 2)), random(1, (4, 8, 2, 1)), random(2, (8,))
    x = agree(device, "conv2d_x", g, w, (9, 8), stride, (0, 0), (1, 1), 1, bias)
    np.testing.assert_array_equal(x[:, :, 2, :], np.broadcast_to(bias.astype(np.float32).reshape(8, 1), (2, 8, 8)))


def test_images_smaller_than_the_stride_have_phases_without_results(device):
    for size in ((1, 2), (2, 1), (1, 1)):
        agree(device, "conv2d_x", random(0, (2, 4, 1, 1)), random(1, (4, 4, 3, 3)), size, (3, 4), (1, 1), (1, 1), 1)


def test_one_pixel_that_becomes_a_whole_kernel_is_a_dense_layer(device, monkeypatch):
    products = []
    product = conv._product
    monkeypatch.setattr(conv, "_product", lambda *args: products.append(args[4]) or product(*args))
    g, w = random(0, (3, 8, 1, 1)), random(1, (8, 4, 3, 2))
    agree(device, "conv2d_x", g, w, (3, 2), (2, 1), (0, 0), (1, 1), 1, None, 0.2)
    assert products == [conv.POINT]
    for size, padding in (((4, 2), (0, 0)), ((3, 2), (1, 0))):  # not quite
        agree(device, "conv2d_x", g, w, size, (2, 1), padding, (1, 1), 1)
    agree(device, "conv2d_x", g, w, (3, 2), (2, 1), (0, 0), (1, 1), 1, random(2, (4,)), 0.2)
    assert products[1:] == [((4, 2), (3, 2), (2, 1), (0, 0), (1, 1)), ((3, 2), (3, 2), (2, 1), (1, 0), (1, 1))] + [
        ((3, 2), (3, 2), (2, 1), (0, 0), (1, 1))
    ]


def test_no_images_give_no_results_and_a_gradient_of_zeros(device):
    x, w, g = np.zeros((0, 4, 5, 5)), np.zeros((8, 4, 3, 3)), np.zeros((0, 8, 3, 3))
    axes = (1, 1), (0, 0), (1, 1), 1
    assert conv.conv2d(on(device, x), on(device, w), None, *axes).shape == (0, 8, 3, 3)
    assert conv.conv2d_x(on(device, g), on(device, w), (5, 5), *axes).shape == (0, 4, 5, 5)
    np.testing.assert_array_equal(conv.conv2d_w(on(device, x), on(device, g), (3, 3), *axes).get(), w)


# -------------------------------------------------------------------------------------------------- what is portable


def test_what_the_kernel_does_not_serve_is_portable(device):
    x, w, g = random(0, (2, 4, 6, 6)), random(1, (4, 4, 3, 3)), random(2, (2, 4, 4, 4))
    double = device.asarray
    plain = (1, 1), (0, 0), (1, 1), 1
    with launches(igemm=0):
        assert conv.conv2d(double(x), double(w), None, *plain).dtype == np.float64
        assert conv.conv2d_x(double(g), double(w), (6, 6), *plain).dtype == np.float64
        assert conv.conv2d_w(double(x), double(g), (3, 3), *plain).dtype == np.float64
        assert conv.matmul(double(x[0, 0]), double(x[0, 1])).dtype == np.float64
        grouped = (1, 1), (0, 0), (1, 1), 2
        agree(device, "conv2d", x, w[:, :2], random(6, (4,)), *grouped, None, 0.2)
        agree(device, "conv2d_x", g, w[:, :2], (6, 6), *grouped, random(6, (4,)), 0.2)
        agree(device, "conv2d_w", x, g, (3, 3), *grouped)
        agree(device, "conv2d_x", random(3, (2, 4, 1, 1)), w, (6, 6), (2, 2), (0, 0), (2, 2), 1)
        agree(device, "matmul", random(4, (2, 3, 4)), random(5, (4, 5)), random(6, (5,)), 0.2)


# --------------------------------------------------------------------------------------------------------- a network


def losses_and_gradients(dtype=np.float32):
    """Of a generator and a discriminator that hold every kind of layer with a product."""
    rng = Generator(3)
    G = nn.Sequential(
        nn.ConvTranspose2d(6, 8, 4, bias=False, rng=rng),
        nn.BatchNorm2d(8),
        nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1, rng=rng),
    )
    D = nn.Sequential(nn.Conv2d(3, 8, 4, stride=2, padding=1, rng=rng), nn.Flatten(), nn.Dense(8 * 16, 1, rng=rng))
    parameters = [*G.parameters(), *D.parameters()]
    for p in parameters:
        p.data = p.data.astype(dtype)
    z = tensor(np.random.default_rng(0).standard_normal((5, 6, 1, 1)).astype(dtype))
    score = D(ops.tanh(G(z)))
    gradients = grad((score * score).mean(), parameters, create_graph=True)
    penalty = sum((g * g).sum() for g in gradients)
    return [score, *gradients, *grad(penalty, parameters, allow_unused=True)]


def test_a_gan_and_its_second_derivatives_are_those_of_float64_on_the_host(device):
    found = losses_and_gradients()
    assert kernels(found[0].data).matmul is conv.matmul
    use("numpy")
    try:
        expected = losses_and_gradients(np.float64)
    finally:
        use("cupy")
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert np.linalg.norm(a.numpy() - b.data) <= 1e-5 * np.linalg.norm(b.data) + 1e-9

"""Memory order of results on the GPU: channels-last where an argument is; values and shapes as on the CPU."""

import operator

import numpy as np
import pytest

from minigen import ops, tensor
from minigen.autograd import grad
from minigen.backend import arrays, to_numpy, use
from minigen.backend.layout import in_memory_order, in_memory_order_along

RNG = np.random.default_rng(0)
IMAGE = RNG.random((2, 4, 5, 3), np.float32)  # N, H, W, C
OTHERS = {
    "a number": 2.0,
    "channels-last": RNG.random((2, 3, 4, 5), np.float32),
    "of each channel": RNG.random((1, 3, 1, 1), np.float32),
    "of each image": RNG.random((2, 1, 1, 1), np.float32),
    "of three dimensions": RNG.random((3, 4, 5), np.float32),
    "a row": RNG.random(5, np.float32),
    "of no dimension": np.float32(0.5),
}


@pytest.fixture
def cupy(fake_cupy):
    use("cupy")
    yield fake_cupy
    use("numpy")


def is_channels_last(x):
    return x.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("name", OTHERS)
def test_arithmetic_with_an_image_lies_as_the_image_does(name, swap, cupy):
    times, other = in_memory_order(operator.sub), OTHERS[name]
    there = cupy.asarray(other) if getattr(other, "shape", ()) else other
    if name == "channels-last":
        there = cupy.asarray(other.transpose(0, 2, 3, 1).copy()).transpose(0, 3, 1, 2)
    image, expected = cupy.asarray(IMAGE).transpose(0, 3, 1, 2), IMAGE.transpose(0, 3, 1, 2)
    result = times(there, image) if swap else times(image, there)
    assert is_channels_last(result)
    np.testing.assert_array_equal(to_numpy(result), other - expected if swap else expected - other)


def test_what_is_row_major_stays_so(cupy):
    times, x = in_memory_order(operator.mul), cupy.asarray(np.ones((2, 3, 4, 5), np.float32))
    scale = cupy.asarray(np.ones((1, 3, 1, 1), np.float32))
    assert times(x, scale).flags.c_contiguous
    assert times(x.reshape(6, 20).T, 2.0).flags.c_contiguous
    assert times(x.swapaxes(2, 3), 2.0).flags.c_contiguous
    one_image = cupy.asarray(IMAGE[:1]).transpose(0, 3, 1, 2)
    assert times(one_image, x).flags.c_contiguous


@pytest.mark.parametrize("axis", range(4))
def test_joining_images_keeps_their_order(axis, cupy):
    join = in_memory_order_along(lambda *xs, axis: cupy.concatenate(xs, axis))
    x, expected = cupy.asarray(IMAGE).transpose(0, 3, 1, 2), IMAGE.transpose(0, 3, 1, 2)
    result = join(x, x, axis=axis)
    assert is_channels_last(result)
    np.testing.assert_array_equal(to_numpy(result), np.concatenate([expected, expected], axis))


def test_an_op_its_derivative_and_the_derivative_of_that_lie_as_the_image_does(cupy):
    x = tensor(cupy.asarray(IMAGE).transpose(0, 3, 1, 2), requires_grad=True)
    y = ops.exp(x) * x + 2.0 * x
    (first,) = grad(y.sum(), [x], create_graph=True)
    (second,) = grad((first * first).sum(), [x])
    for t in (y, first, second, x > 0.5, ops.concatenate([x, x], axis=1), ops.interpolate(x, scale_factor=2)):
        assert is_channels_last(t.data)


def test_what_waits_for_a_gpu_is_done_for_an_array_that_a_user_brings_too(fake_cupy, monkeypatch):
    done = []
    monkeypatch.setattr(arrays, "_waiting", [lambda: done.append("once")])
    assert arrays.namespace(fake_cupy.zeros(3)) is fake_cupy
    assert done == ["once"]
    use("cupy")
    assert done == ["once"]


def test_a_constant_image_beside_a_cotangent_that_is_recorded_is_not_turned(cupy):
    x = tensor(cupy.asarray(IMAGE).transpose(0, 3, 1, 2), requires_grad=True)
    (first,) = grad(ops.where(x > 0.5, x * x, 0.0).sum(), [x], create_graph=True)
    (second,) = grad((first * first).sum(), [x])
    np.testing.assert_allclose(second.numpy(), np.where(x.numpy() > 0.5, 8 * x.numpy(), 0), rtol=1e-6)
    assert is_channels_last(second.data)


def test_images_in_another_order_are_copied_once_for_a_convolution_and_its_derivatives(cupy):
    x = tensor(np.ascontiguousarray(IMAGE.transpose(0, 3, 1, 2)), requires_grad=True)
    y = ops.shape.channels_last(x)
    assert is_channels_last(y.data)
    assert ops.shape.channels_last(y) is y
    np.testing.assert_array_equal(grad((y * y).sum(), x).numpy(), 2 * x.numpy())


def test_numbers_drawn_for_images_lie_channels_last(cupy):
    from minigen.backend import Generator

    rng = Generator(0)
    for drawn in (rng.normal((2, 3, 4, 5)), rng.uniform((2, 3, 4, 5)), rng.keep((2, 3, 4, 5), 0.5)):
        assert drawn.shape == (2, 3, 4, 5)
        assert is_channels_last(drawn)

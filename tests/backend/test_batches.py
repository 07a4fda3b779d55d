"""Batches of a data set of bytes: by NumPy as the formula says, number by number; by the GPU's kernel the same bits."""

import numpy as np
import pytest
from backend import emulator, fake_kernels
from backend.fake_cupy import installed

from minigen.backend import use
from minigen.backend.gpu.compile import options, source
from minigen.backend.kernels import CPU, GPU

RANGES = [(0, 1), (-1, 1), (-0.3, 0.7)]
SHAPES = [(4, 6, 1), (4, 6, 3), (5, 7, 1), (5, 7, 3), (1, 1, 1), (40, 30, 1)]  # the last: more than a block of threads
N, B, FIRST = 9, 4, 3


@pytest.fixture(scope="module")
def device():
    with installed():
        yield use("cupy")


needs_emulator = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)


def data(shape, seed=0):
    """(pixels, order): all 256 values occur."""
    rng = np.random.default_rng(seed)
    pixels = np.resize(rng.permutation(np.arange(256)), (N, *shape)).astype(np.uint8)
    return pixels, rng.permutation(N)


def factors(pixel_range):
    low, high = pixel_range
    return np.float32((high - low) / 255), np.float32(low)


def room(xp, shape, b=B):
    """Images (b, C, H, W) over channels-last memory, filled with NaN."""
    out = xp.empty((b, *shape), np.float32)
    out.fill(np.nan)
    return out.transpose(0, 3, 1, 2)


def dealt(shape, pixel_range, ordered=True):
    """What NumPy makes of it."""
    pixels, order = data(shape)
    out = room(np, shape)
    CPU.deal_images(pixels, order if ordered else None, FIRST, *factors(pixel_range), out)
    return out


def bits(x):
    return np.ascontiguousarray(x).view(np.uint32)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("pixel_range", RANGES)
def test_each_number_is_a_product_and_a_sum_rounded_one_after_the_other(pixel_range, ordered):
    shape = (4, 6, 3)
    (pixels, order), (scale, low) = data(shape), factors(pixel_range)
    found = dealt(shape, pixel_range, ordered)
    for i in range(B):
        image = pixels[order[FIRST + i] if ordered else FIRST + i]
        for (y, x, c), v in np.ndenumerate(image):
            product = np.float32(float(v) * float(scale))  # exact in double: 8 bits times 24
            assert found[i, c, y, x] == np.float32(float(product) + float(low))


def test_a_product_that_is_not_rounded_gives_other_bits():
    """What an fma would do; so the two tests below can tell."""
    scale, low = factors((-1, 1))
    v = np.arange(256)
    rounded = (v.astype(np.float32) * scale) + low
    assert (rounded != np.float32(v * float(scale) + float(low))).sum() > 50


@needs_emulator
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("pixel_range", RANGES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_gpu_gives_the_same_bits_in_one_launch(shape, pixel_range, ordered, device):
    pixels, order = (device.asarray(a) for a in data(shape))
    out = room(device, shape, B + 1)
    before = fake_kernels.LAUNCHES.copy()
    GPU.deal_images(pixels, order if ordered else None, FIRST, *factors(pixel_range), out[:B])
    assert dict(fake_kernels.LAUNCHES - before) == {"deal_images": 1}
    assert np.array_equal(bits(out.get()[:B]), bits(dealt(shape, pixel_range, ordered)))
    assert np.isnan(out.get()[B]).all()


@needs_emulator
@pytest.mark.parametrize("offset", [1, 2, 4])
def test_bytes_that_do_not_begin_at_a_multiple_of_4_are_read_one_by_one(offset, device):
    shape, (pixels, order) = (4, 6, 1), data((4, 6, 1))
    memory = device.zeros(pixels.size + offset, np.uint8)
    memory[offset:] = device.asarray(pixels.ravel())
    out = room(device, shape)
    GPU.deal_images(memory[offset:].reshape(pixels.shape), device.asarray(order), FIRST, *factors((-1, 1)), out)
    assert np.array_equal(bits(out.get()), bits(dealt(shape, (-1, 1))))


@needs_emulator
def test_floats_that_do_not_begin_at_a_multiple_of_16_bytes_are_written_one_by_one(device):
    shape, (pixels, order) = (4, 6, 1), data((4, 6, 1))
    memory = device.empty(B * 24 + 1, np.float32)
    out = memory[1:].reshape(B, *shape).transpose(0, 3, 1, 2)
    GPU.deal_images(device.asarray(pixels), device.asarray(order), FIRST, *factors((-1, 1)), out)
    assert np.array_equal(bits(out.get()), bits(dealt(shape, (-1, 1))))


@needs_emulator
def test_a_data_set_may_be_larger_than_2_gib():
    size, place = 1 << 10, 1 << 21
    pixels = np.zeros(size * (place + 1), np.uint8)  # Linux has memory for it only where it is written to
    pixels[-size:] = expected = np.arange(size) % 256
    order, out = np.array([place]), np.zeros(size, np.float32)
    address = np.uint64(pixels.ctypes.data)  # as a number: the emulator would copy an array
    numbers = np.int64(0), np.int32(size), np.float32(1), np.float32(0), np.int32(1)
    kernels = emulator.module(source("batches.cu"), options())
    kernels.launch("deal_images", (1,), (256,), [out, address, order, *numbers])
    assert out.tolist() == expected.tolist()


@needs_emulator
@pytest.mark.parametrize("what", ["images in another order of memory", "a view of bytes", "float64"])
def test_what_the_kernel_does_not_serve_is_portable(what, device):
    shape, (pixels, order) = (4, 6, 3), data((4, 6, 3))
    pixels, out = device.asarray(pixels), room(device, shape)
    if what == "images in another order of memory":
        out = device.empty((B, 3, 4, 6), np.float32)
    elif what == "a view of bytes":
        pixels = device.asarray(np.repeat(pixels.get(), 2, axis=1))[:, ::2]
    else:
        out = out.astype(np.float64)
    before = fake_kernels.LAUNCHES.copy()
    GPU.deal_images(pixels, device.asarray(order), FIRST, *factors((-1, 1)), out)
    assert not fake_kernels.LAUNCHES - before
    np.testing.assert_allclose(out.get(), dealt(shape, (-1, 1)), rtol=0, atol=2e-7 if what == "float64" else 0)


@needs_emulator
@pytest.mark.parametrize("n", [1, 4, 300])
def test_labels_are_those_of_the_images(n, device):
    rng = np.random.default_rng(1)
    labels, order = rng.integers(0, 10, 400), rng.permutation(400)
    here, there = np.zeros(n, np.int64), device.zeros(n + 1, np.int64)
    CPU.deal_labels(labels, order, 50, here)
    assert here.tolist() == [labels[i] for i in order[50 : 50 + n]]
    before = fake_kernels.LAUNCHES.copy()
    GPU.deal_labels(device.asarray(labels), device.asarray(order), 50, there[:n])
    assert dict(fake_kernels.LAUNCHES - before) == {"deal_labels": 1}
    assert there.tolist() == [*here, 0]

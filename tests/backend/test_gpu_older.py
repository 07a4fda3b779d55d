"""igemm.cu on GPUs before compute capability 8.0, on the CPU: multiply-adds, and float16 on the tensor cores of 7.5."""

import numpy as np
import pytest
from backend import emulator
from backend.fake_cupy import SHARED, installed
from backend.kernel_cases import random
from backend.tensor_cores import agree, close, emulated, launches, on, rounding, tiles
from backend.test_gpu_conv import convolutions
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen.backend import use
from minigen.backend.gpu import conv, sharing
from minigen.backend.precision import rounded

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
ALL = sharing.TILES
POSSIBLE = ("61", "float32"), ("75", "float32"), ("75", "float16")


@pytest.fixture(scope="module", params=POSSIBLE, ids=" ".join)
def device(request):
    """A GPU with a precision that it has."""
    capability, name = request.param
    with emulated(capability) as cupy, rounding(name):
        cupy.fits = lambda x: rounded(x.astype(np.float32), name).astype(np.float64)
        yield cupy


@given(case=convolutions())
@settings(max_examples=12, deadline=None)
def test_the_three_convolutions_are_the_portable_ones(device, case):
    x, w, g, b, c, axes = case
    x, w, g = map(device.fits, (x, w, g))
    agree(device, "conv2d", x, w, b, *axes, g.shape[2:])
    agree(device, "conv2d_x", g, w, x.shape[2:], *axes, c)
    agree(device, "conv2d_w", x, g, w.shape[2:], *axes)


@given(m=st.integers(1, 70), k=st.integers(1, 140), n=st.integers(1, 70), columns=st.tuples(*[st.booleans()] * 2))
@settings(max_examples=12, deadline=None)
def test_a_product_of_any_size_is_the_portable_one(device, m, k, n, columns):
    a, b = device.fits(random(m * k, (m, k))), device.fits(random(n, (k, n)))
    left, right = (on(device, x.T).T if c else on(device, x) for x, c in zip((a, b), columns))
    with launches(igemm=1):
        close(conv.matmul(left, right), "matmul", a, b)


@pytest.mark.parametrize("tile", ALL, ids=lambda t: f"{t.BM}x{t.BN}")
def test_every_tile_gives_the_same(device, tile):
    """One tile and a bit each way, along k and along the rows."""
    with tiles(tile):
        if not sharing.tiles(False, sharing.gpu(0)):
            pytest.skip("its slabs are more shared memory than a block of this GPU has")
        x, w = device.fits(random(0, (1, 4, 12, 13))), device.fits(random(1, (tile.BN + 4, 4, 3, 3)))
        g = device.fits(random(2, (1, tile.BN + 4, 12, 13)))
        axes = (1, 1), (1, 1), (1, 1), 1
        agree(device, "conv2d", x, w, None, *axes)
        agree(device, "conv2d_w", x, g, (3, 3), *axes)
        few = x[:, :, :4, :4], w.transpose(1, 0, 2, 3)[:, :, :2, :2]
        agree(device, "conv2d_x", *few, (5, 5), (1, 1), (0, 0), (1, 1), 1)


def test_a_deep_product_is_shared_by_blocks(device):
    a, b, bias = device.fits(random(0, (8, 3000))), device.fits(random(1, (3000, 12))), random(2, (12,))
    with launches(igemm=1, add_parts=1):
        found = conv.matmul(on(device, a), on(device, b), on(device, bias))
    close(found, "matmul", a, b, bias)


def test_long_sums_of_multiply_adds_are_as_exact_as_numpys(monkeypatch):
    monkeypatch.setattr(sharing, "PARTS", (1,))
    a, b = (random(seed, (16, 4608)).astype(np.float32) for seed in (0, 1))
    exact = a.astype(np.float64) @ b.T
    with emulated("75") as cupy, rounding("float32"):
        found = conv.matmul(cupy.asarray(a), cupy.asarray(b).T).get()
    assert np.linalg.norm(found - exact) < 3e-7 * np.linalg.norm(exact)  # one after another: 1e-6


def test_an_infinite_factor_of_multiply_adds_stays_one():
    a = np.ones((4, 4), np.float32)
    a[1, 2] = np.inf
    with emulated("75") as cupy, rounding("float32"):
        found = conv.matmul(cupy.asarray(a), cupy.asarray(np.ones((4, 4), np.float32)).T).get()
    np.testing.assert_array_equal(found, [[4] * 4, [np.inf] * 4, [4] * 4, [4] * 4])


@pytest.mark.parametrize("capability", SHARED)
def test_the_tiles_of_a_gpu_are_those_for_which_it_has_the_shared_memory(capability):
    with tiles(*ALL):
        found = sharing.tiles(False, sharing.Gpu(4, int(capability), SHARED[capability] << 10))
    assert len(found) == len(ALL) - (SHARED[capability] < 64)  # two slabs of the largest
    assert all(t.shared <= SHARED[capability] << 10 for t in found)
    assert {t.STAGES for t in found} == ({2} if int(capability) < 80 else {3, 5})


def test_before_6_0_products_are_the_portable_ones():
    with rounding("float32"), installed(capability="52", products="emulated") as cupy:
        use("cupy")
        with launches(igemm=0):
            agree(cupy, "matmul", random(0, (3, 4)), random(1, (4, 5)))
            agree(cupy, "conv2d", random(0, (2, 4, 6, 6)), random(1, (4, 4, 3, 3)), None, (1, 1), (0, 0), (1, 1), 1)

"""Dense products on tensor cores, how they are shared out, and how exact they are: igemm.cu on the CPU."""

import math

import numpy as np
import pytest
from backend import emulator
from backend.kernel_cases import random
from backend.tensor_cores import EXACT, agree, close, emulated, launches, on, rounding, tiles
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen.backend.gpu import compile, conv, sharing
from minigen.backend.precision import rounded

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)


@pytest.fixture(scope="module")
def device():
    with emulated() as cupy:
        yield cupy


LAYOUTS = ("rows", "columns", "sliced", "shifted")


def matrix(device, x, layout):
    """x on the device: row by row, column by column, every second of a larger one, or off the 16 bytes of a vector."""
    x = x.astype(np.float32)
    if layout == "columns":
        return device.asarray(np.asfortranarray(x))
    if layout == "sliced":
        big = np.full((2 * x.shape[0], 2 * x.shape[1]), 1e9, np.float32)
        big[::2, 1::2] = x
        return device.asarray(big)[::2, 1::2]
    if layout == "shifted":
        flat = device.asarray(np.append(np.float32(1e9), x.ravel()))
        return flat[1:].reshape(x.shape)
    return device.asarray(x)


@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("slope", [0.2, 1.0])
def test_a_product_takes_matrices_in_any_layout(device, left, right, bias, slope):
    for seed, (m, k, n) in enumerate([(36, 40, 44), (3, 7, 5)]):
        a, b = random(seed, (m, k)), random(seed + 10, (k, n))
        args = (matrix(device, a, left), matrix(device, b, right))
        v = random(seed + 20, (n,)) if bias else None
        strided = on(device, np.repeat(v, 2))[::2] if bias else None
        with launches(igemm=1):
            found = conv.matmul(*args, strided, slope)
        close(found, "matmul", a, b, v, slope)


@given(
    m=st.integers(1, 70),
    k=st.integers(1, 140),
    n=st.integers(1, 70),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 2),
)
@settings(max_examples=30, deadline=None)
def test_a_product_of_any_size_is_the_portable_one(device, m, k, n, layouts):
    a, b = random(m * k, (m, k)), random(n, (k, n))
    close(conv.matmul(matrix(device, a, layouts[0]), matrix(device, b, layouts[1])), "matmul", a, b)


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)], ids=str)
def test_empty_products_are_empty_or_zero(device, shape):
    m, k, n = shape
    for bias in (None, np.ones(n)):
        a, b = np.zeros((m, k)), np.zeros((k, n))
        found = conv.matmul(on(device, a), on(device, b), on(device, bias))
        np.testing.assert_array_equal(found.get(), np.full((m, n), 0 if bias is None else 1))
        found = conv.matmul(on(device, np.zeros((k, m))).T, on(device, b), on(device, bias))
        assert found.shape == (m, n)


# ---------------------------------------------------------------------------------------------- shares of the work


@pytest.mark.parametrize("tile", sharing.TILES, ids=lambda t: f"{t.BM}x{t.BN}")
def test_every_tile_gives_the_same(device, tile):
    """One tile and a bit each way. The gradients only in the largest, which has the most ways to go wrong."""
    with tiles(tile):
        x, w = random(0, (1, 4, 12, 13)), random(1, (tile.BN + 4, 4, 3, 3))
        agree(device, "conv2d", x, w, None, (1, 1), (1, 1), (1, 1), 1)
        if tile.BM == tile.BN == 128:
            agree(device, "conv2d_x", w[:2, :, :, :], random(2, (4, 132, 2, 2)), (6, 6), (2, 2), (0, 0), (1, 1), 1)
            agree(
                device,
                "conv2d_w",
                random(3, (2, 36, 6, 6)),
                random(4, (2, 132, 5, 5)),
                (2, 2),
                *((1, 1), (0, 0)),
                (1, 1),
                1,
            )


def test_a_deep_product_is_shared_by_blocks_and_added_in_their_order(device):
    a, b, bias = random(0, (8, 3000)), random(1, (3000, 12)), random(2, (12,))
    with launches(igemm=1, add_parts=1):
        found = conv.matmul(on(device, a), on(device, b), on(device, bias), 0.2)
    close(found, "matmul", a, b, bias, 0.2)
    x, g = random(3, (9, 4, 12, 12)), random(4, (9, 4, 12, 12))
    with launches(igemm=1, add_parts=1):
        agree(device, "conv2d_w", x, g, (3, 3), (1, 1), (1, 1), (1, 1), 1)
    w = random(5, (300, 4, 4, 4))
    with launches(igemm=1, add_parts=1):  # parts of each phase
        agree(device, "conv2d_x", random(6, (1, 300, 3, 5)), w, (6, 6), (2, 1), (1, 1), (1, 1), 1, random(7, (4,)), 0)


LARGEST = sharing.TILES[0]


def work(M, N, K, phases, processors):
    return sharing.Work(M, N, K, phases, M * N * phases, True, sharing.Gpu(processors, 90, 227 << 10))


@given(
    M=st.integers(1, 10**6), N=st.integers(1, 5000), K=st.integers(0, 10**6), phases=st.integers(1, 1024),
    processors=st.integers(1, 200),
)  # fmt: skip
def test_the_parts_cover_the_depth_and_none_is_empty(M, N, K, phases, processors):
    _, slabs, parts = sharing.share(work(M, N, K, phases, processors))
    total = math.ceil(K / sharing.SLAB)
    assert parts == 1 or (parts - 1) * slabs < total
    assert parts * slabs >= total
    assert parts * phases <= 65535


def test_a_large_gpu_is_filled():
    layers = {  # a DCGAN of 64 x 64 in batches of 128: most of its layers, on 132 multiprocessors
        "forward": (32768, 128, 1024, 1),
        "input": (8192, 128, 1024, 4),
        "weight": (128, 1024, 32768, 1),
        "few results": (64, 48, 131072, 1),
    }
    for name, (M, N, K, phases) in layers.items():
        tile, _, parts = sharing.share(work(M, N, K, phases, 132))
        blocks = math.ceil(M / tile.BM) * math.ceil(N / tile.BN) * phases * parts
        assert blocks >= 120, name


PLACES = """
constexpr bool A_ALONG_K = true, B_ALONG_K = false;
#include "tile.cuh"
extern "C" __global__ void places(int* along_k, int* along_rows) {
    for (int row = 0; row < 32; row++)
        for (int k = 0; k < BK; k++) {
            along_k[row * BK + k] = place<true, 32>(row, k);
            along_rows[row * BK + k] = place<false, 32>(row, k);
        }
}
"""


@pytest.fixture
def places(device, tmp_path, monkeypatch):
    """(operand) -> where row and k lie in a slab along k, and in one along the rows."""
    (tmp_path / "places.cu").write_text(PLACES)
    for name in ("tile.cuh", "ptx.cuh"):
        (tmp_path / name).write_text((compile.FOLDER / name).read_text())
    monkeypatch.setattr(compile, "FOLDER", tmp_path)

    def found(operand):
        along_k, along_rows = device.zeros((32, 32), np.int32), device.zeros((32, 32), np.int32)
        constants = {"BM": 32, "BN": 32, "WM": 16, "WN": 16, "OPERAND": operand}
        compile.kernel("places.cu", "places", **constants)((1,), (1,), (along_k, along_rows))
        for places in (along_k.get(), along_rows.get()):
            assert sorted(places.ravel()) == list(range(1024))  # each number has a place of its own
        return along_k.get(), along_rows.get()

    return found


def test_what_a_warp_reads_at_once_for_tensor_cores_lies_on_different_banks(places):
    along_k, along_rows = places("TF32")
    group, t = np.arange(32) // 4, np.arange(32) % 4
    for k in (0, 16):
        vectors = along_k[group, k + 4 * t]
        assert (vectors % 4 == 0).all()
        assert (along_k[:, 1:] - along_k[:, :-1])[:, np.arange(31) % 4 != 3].tolist() == [[1] * 24] * 32
        for eight in vectors.reshape(4, 8):  # 16 bytes each: served eight threads at a time
            assert len(set(eight // 4 % 8)) == 8
        for j in range(4):
            assert len(set(along_rows[group, k + 4 * t + j] % 32)) == 32


def test_what_a_warp_reads_at_once_for_multiply_adds_lies_on_different_banks_or_in_one_place(places):
    along_k, along_rows = places("FMA")
    group, t = np.arange(32) // 4, np.arange(32) % 4
    for k in range(0, 32, 4):
        assert (along_k[:, k] % 4 == 0).all()
        assert (along_k[:, k : k + 4] - along_k[:, k : k + 1] == np.arange(4)).all()
        for row in (group, 2 * t, 2 * t + 1, 8 + group, 8 + 2 * t):  # of A, and of B
            for eight in along_k[row, k].reshape(4, 8):
                assert len(set(eight // 4 % 8)) == len(set(eight))
            for j in range(4):
                words = set(along_rows[row, k + j])
                assert len({w % 32 for w in words}) == len(words)


# --------------------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize("name", ["tf32", "bfloat16", "float16"])
def test_a_precision_is_that_of_its_oracle_up_to_the_rounding_of_sums(device, name):
    a, b = random(0, (20, 600)).astype(np.float32), random(1, (24, 600)).astype(np.float32)
    with rounding(name):
        found = conv.matmul(device.asarray(a), device.asarray(b).T).get()
    exact = a.astype(np.float64) @ b.T
    a, b = rounded(a, name).astype(np.float64), rounded(b, name).astype(np.float64)
    assert (abs(found - a @ b.T) <= EXACT * (abs(a) @ abs(b.T))).all()
    assert np.linalg.norm(found - exact) > 1e-4 * np.linalg.norm(exact)


@pytest.mark.parametrize(("name", "exact"), [("tf32", 1e-3), ("bfloat16", 8e-3)])
def test_a_warp_that_takes_64_by_64_gives_the_same(device, name, exact):
    """The largest tile and a bit each way. `exact`: the bounds in precision.py."""
    with rounding(name), tiles(LARGEST):
        assert sharing.tiles(True, sharing.gpu(0))[0].WN == 64
        agree(device, "matmul", random(0, (132, 68)), random(1, (68, 132)), random(2, (132,)), 0.2, exact=exact)
        x, w, g = random(3, (2, 36, 6, 6)), random(4, (2, 132, 2, 2)), random(5, (2, 132, 5, 5))
        agree(device, "conv2d_x", random(6, (33, 2, 1, 1)), w, (2, 2), (1, 1), (0, 0), (1, 1), 1, exact=exact)
        agree(device, "conv2d_w", x, g, (2, 2), (1, 1), (0, 0), (1, 1), 1, exact=exact)


def test_long_sums_in_float32_do_not_drift_although_tensor_cores_cut_them_off(device, monkeypatch):
    monkeypatch.setattr(sharing, "PARTS", (1,))
    a, b = np.abs(random(0, (8, 4608))).astype(np.float32), np.abs(random(1, (8, 4608))).astype(np.float32)
    exact = a.astype(np.float64) @ b.T
    error = lambda found: np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert error(conv.matmul(device.asarray(a), device.asarray(b).T).get()) < 4e-7  # added up there: 4e-5
    with rounding("tf32"):
        cut = conv.matmul(device.asarray(a), device.asarray(b).T).get()
    assert (cut < rounded(a, "tf32").astype(np.float64) @ rounded(b, "tf32").T).all()


def test_what_is_not_a_number_stays_visible(device):
    a = np.ones((4, 4), np.float32)
    for value in (np.nan, np.array([0x7FFFFFFF], np.uint32).view(np.float32)[0], np.inf):
        a[1, 2] = value
        for name in ("float32", "tf32"):
            with rounding(name):
                found = conv.matmul(device.asarray(a), device.asarray(np.ones((4, 4), np.float32)).T).get()
            assert not np.isfinite(found[1]).any()
            assert np.isfinite(found[[0, 2, 3]]).all()


@pytest.mark.parametrize("depth", [4, 3000])  # one part, and several
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_relu_makes_0_of_minus_infinity_and_leaves_what_is_not_a_number(device, depth, slope):
    a, b = random(0, (5, depth), np.float32), random(1, (depth, 3), np.float32)
    found = conv.matmul(*map(device.asarray, (a, b, np.array([np.inf, -np.inf, np.nan], np.float32))), slope)
    ends = np.array([np.inf, slope * -np.inf if slope else 0, np.nan], np.float32)
    np.testing.assert_array_equal(found.get(), np.broadcast_to(ends, (5, 3)))

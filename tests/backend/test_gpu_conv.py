"""Convolution and dense products on tensor cores: igemm.cu on the CPU, against the portable kernels in float64."""

import math
from contextlib import contextmanager

import numpy as np
import pytest
from backend import emulator
from backend.fake_cupy import installed
from backend.kernel_cases import pairs, random
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import nn, ops, tensor
from minigen.autograd import grad
from minigen.backend import Generator, portable, use
from minigen.backend.conv_axes import output_size
from minigen.backend.gpu import compile, conv
from minigen.backend.kernels import kernels
from minigen.backend.precision import rounded, set_precision

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)

# float32 as three TF32 products: 3·2⁻²² for each product, and a few roundings of the sum, of all terms' sizes.
EXACT = 1e-6
SMALL = conv.TILES[-1]  # of 32 × 32: small arrays reach all its borders


@pytest.fixture(scope="module")
def device():
    """The stand-in for CuPy on a GPU with tensor cores; every product in small tiles."""
    with installed(capability="90") as cupy, tiles(SMALL):
        yield use("cupy") and cupy


@contextmanager
def tiles(*allowed):
    before, conv.TILES = conv.TILES, allowed
    conv._launch.cache_clear()
    yield
    conv.TILES = before
    conv._launch.cache_clear()


@contextmanager
def rounding(name):
    before = set_precision(name)
    yield
    set_precision(before)


@contextmanager
def launches(**expected):
    """Inside, kernels are launched exactly so often: igemm=1, add_parts=1."""
    from backend.fake_kernels import LAUNCHES

    before = LAUNCHES.copy()
    yield
    assert {name: LAUNCHES[name] - before[name] for name in ("igemm", "add_parts")} == {"add_parts": 0} | expected


def on(device, x):
    """A float64 array of the host as float32 on the device, in the same memory order; other arguments as they are."""
    return device.asarray(x.astype(np.float32)) if isinstance(x, np.ndarray) else x


def agree(device, name, *args, exact=EXACT):
    """The kernel `name` gives on the device what the portable one gives, up to `exact` of its terms' sizes."""
    found = getattr(conv, name)(*[on(device, a) for a in args])
    return close(found, name, *args, exact=exact)


def close(found, name, *args, exact=EXACT):
    expected, size = (
        getattr(portable, name)(
            *[f(a.astype(np.float32).astype(np.float64)) if isinstance(a, np.ndarray) else a for a in args]
        )
        for f in (np.positive, abs)
    )
    assert (found.shape, found.dtype) == (expected.shape, np.float32)
    assert np.isfinite(found.get()).all()
    assert (abs(found.get() - expected) <= exact * size).all(), abs(found.get() - expected).max()
    return found.get().astype(np.float64)


# ------------------------------------------------------------------------------------------------------ convolution

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


def test_the_size_of_the_result_follows_from_that_of_the_image(device):
    x, w = random(0, (2, 4, 6, 7)), random(1, (4, 4, 3, 2))
    assert agree(device, "conv2d", x, w, None, (2, 1), (1, 0), (1, 1), 1).shape == (2, 4, 3, 6)


@pytest.mark.parametrize("stride", [(3, 2), (5, 4)])
def test_pixels_that_no_window_sees_get_the_bias_alone(device, stride):
    g, w, bias = random(0, (2, 4, 2, 2)), random(1, (4, 8, 2, 1)), random(2, (8,))
    x = agree(device, "conv2d_x", g, w, (9, 8), stride, (0, 0), (1, 1), 1, bias)
    np.testing.assert_array_equal(x[:, :, 2, :], np.broadcast_to(bias.astype(np.float32).reshape(8, 1), (2, 8, 8)))


def test_one_pixel_that_becomes_a_whole_kernel_is_a_dense_layer(device, monkeypatch):
    products = []
    product = conv._product
    monkeypatch.setattr(conv, "_product", lambda *args: products.append(args[4]) or product(*args))
    g, w = random(0, (3, 8, 1, 1)), random(1, (8, 4, 3, 2))
    agree(device, "conv2d_x", g, w, (3, 2), (2, 1), (0, 0), (1, 1), 1)
    assert products == [conv.POINT]
    for size, padding in (((4, 2), (0, 0)), ((3, 2), (1, 0))):  # not quite
        agree(device, "conv2d_x", g, w, size, (2, 1), padding, (1, 1), 1)
    agree(device, "conv2d_x", g, w, (3, 2), (2, 1), (0, 0), (1, 1), 1, random(2, (4,)))
    assert products[1:] == [((4, 2), (3, 2), (2, 1), (0, 0), (1, 1)), ((3, 2), (3, 2), (2, 1), (1, 0), (1, 1))] + [
        ((3, 2), (3, 2), (2, 1), (0, 0), (1, 1))
    ]


# --------------------------------------------------------------------------------------------------- dense products

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
def test_a_product_takes_matrices_in_any_layout(device, left, right, bias):
    for seed, (m, k, n) in enumerate([(36, 40, 44), (3, 7, 5)]):
        a, b = random(seed, (m, k)), random(seed + 10, (k, n))
        args = (matrix(device, a, left), matrix(device, b, right))
        v = random(seed + 20, (n,)) if bias else None
        with launches(igemm=1):
            found = conv.matmul(*args, on(device, v))
        close(found, "matmul", a, b, v)


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


def test_no_images_give_no_results_and_a_gradient_of_zeros(device):
    x, w, g = np.zeros((0, 4, 5, 5)), np.zeros((8, 4, 3, 3)), np.zeros((0, 8, 3, 3))
    axes = (1, 1), (0, 0), (1, 1), 1
    assert conv.conv2d(on(device, x), on(device, w), None, *axes).shape == (0, 8, 3, 3)
    assert conv.conv2d_x(on(device, g), on(device, w), (5, 5), *axes).shape == (0, 4, 5, 5)
    np.testing.assert_array_equal(conv.conv2d_w(on(device, x), on(device, g), (3, 3), *axes).get(), w)


# ---------------------------------------------------------------------------------------------- shares of the work


@pytest.mark.parametrize("tile", conv.TILES, ids=lambda t: f"{t.BM}x{t.BN}")
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
        found = conv.matmul(on(device, a), on(device, b), on(device, bias))
    close(found, "matmul", a, b, bias)
    x, g = random(3, (9, 4, 12, 12)), random(4, (9, 4, 12, 12))
    with launches(igemm=1, add_parts=1):
        agree(device, "conv2d_w", x, g, (3, 3), (1, 1), (1, 1), (1, 1), 1)
    w = random(5, (300, 4, 4, 4))
    with launches(igemm=1, add_parts=1):  # parts of each phase
        agree(device, "conv2d_x", random(6, (1, 300, 3, 5)), w, (6, 6), (2, 1), (1, 1), (1, 1), 1, random(7, (4,)))


@given(
    M=st.integers(1, 10**6), N=st.integers(1, 5000), K=st.integers(0, 10**6), phases=st.integers(1, 9),
    processors=st.integers(1, 200),
)  # fmt: skip
def test_the_parts_cover_the_depth_and_none_is_empty(M, N, K, phases, processors):
    _, slabs, parts = conv.share(M, N, K, phases, M * N * phases, processors)
    total = math.ceil(K / conv.SLAB)
    assert parts == 1 or (parts - 1) * slabs < total
    assert parts * slabs >= total


def test_a_large_gpu_is_filled():
    layers = {  # a DCGAN of 64 x 64 in batches of 128: most of its layers, on 132 multiprocessors
        "forward": (32768, 128, 1024, 1),
        "input": (8192, 128, 1024, 4),
        "weight": (128, 1024, 32768, 1),
        "few results": (64, 48, 131072, 1),
    }
    for name, (M, N, K, phases) in layers.items():
        tile, _, parts = conv.share(M, N, K, phases, M * N * phases, 132)
        blocks = math.ceil(M / tile.BM) * math.ceil(N / tile.BN) * phases * parts
        assert blocks >= (60 if name == "few results" else 120), name


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


def test_what_a_warp_reads_at_once_lies_on_different_banks(device, tmp_path, monkeypatch):
    (tmp_path / "places.cu").write_text(PLACES)
    for name in ("tile.cuh", "ptx.cuh"):
        (tmp_path / name).write_text((compile.FOLDER / name).read_text())
    monkeypatch.setattr(compile, "FOLDER", tmp_path)
    along_k, along_rows = device.zeros((32, 32), np.int32), device.zeros((32, 32), np.int32)
    constants = {"BM": 32, "BN": 32, "WM": 16, "WN": 16, "OPERAND": "TF32"}
    compile.kernel("places.cu", "places", **constants)((1,), (1,), (along_k, along_rows))
    along_k, along_rows = along_k.get(), along_rows.get()
    for places in (along_k, along_rows):
        assert sorted(places.ravel()) == list(range(1024))  # each number has a place of its own
    group, t = np.arange(32) // 4, np.arange(32) % 4
    for k in (0, 16):
        vectors = along_k[group, k + 4 * t]
        assert (vectors % 4 == 0).all()
        assert (along_k[:, 1:] - along_k[:, :-1])[:, np.arange(31) % 4 != 3].tolist() == [[1] * 24] * 32
        for eight in vectors.reshape(4, 8):  # 16 bytes each: served eight threads at a time
            assert len(set(eight // 4 % 8)) == 8
        for j in range(4):
            assert len(set(along_rows[group, k + 4 * t + j] % 32)) == 32


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


def test_what_is_not_a_number_stays_visible(device):
    a = np.ones((4, 4), np.float32)
    for value in (np.nan, np.array([0x7FFFFFFF], np.uint32).view(np.float32)[0], np.inf):
        a[1, 2] = value
        for name in ("float32", "tf32"):
            with rounding(name):
                found = conv.matmul(device.asarray(a), device.asarray(np.ones((4, 4), np.float32)).T).get()
            assert not np.isfinite(found[1]).any()
            assert np.isfinite(found[[0, 2, 3]]).all()


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
        agree(device, "conv2d", x, w[:, :2], None, *grouped)
        agree(device, "conv2d_x", g, w[:, :2], (6, 6), *grouped)
        agree(device, "conv2d_w", x, g, (3, 3), *grouped)
        agree(device, "conv2d_x", random(3, (2, 4, 1, 1)), w, (6, 6), (2, 2), (0, 0), (2, 2), 1)
        agree(device, "matmul", random(4, (2, 3, 4)), random(5, (4, 5)))


def test_older_gpus_take_the_portable_products():
    with installed(capability="75") as cupy:
        use("cupy")
        with launches(igemm=0):
            agree(cupy, "matmul", random(0, (3, 4)), random(1, (4, 5)))
            agree(cupy, "conv2d", random(0, (2, 4, 6, 6)), random(1, (4, 4, 3, 3)), None, (1, 1), (0, 0), (1, 1), 1)


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

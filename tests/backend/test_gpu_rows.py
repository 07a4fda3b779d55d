"""rows.cu on the CPU, against the portable kernels in float64."""

import numpy as np
import pytest
from backend import emulator
from backend.fake_cupy import installed
from backend.kernel_cases import LAYOUTS, is_channels_last, laid_out, launched, moved, near, random
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen.backend import portable_chains, use
from minigen.backend.gpu import rows

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)


@pytest.fixture(scope="module")
def device():
    with installed() as cupy:
        use("cupy")
        yield cupy


CHAINS = ("softmax", "softmax_grad", "log_softmax", "log_softmax_grad", "normalize", "normalize_grad")


@st.composite
def axes_of_arrays(draw):
    """(shape, layout, axis, seed, mean)."""
    shape = draw(st.sampled_from(((3, 10), (1, 1), (5, 130), (2, 3, 4), (2, 8, 3, 4), (3, 1, 5, 5), (2, 64, 6, 6))))
    axis = draw(st.sampled_from([(1,), (0,), tuple(range(1, len(shape))), (-1,), (0, len(shape) - 1)]))
    axis = axis[0] if len(axis) == 1 and draw(st.booleans()) else axis
    layout = draw(st.sampled_from(LAYOUTS[:2])) if len(shape) == 4 else LAYOUTS[0]
    return shape, layout, axis, draw(st.integers(0, 2**20)), draw(st.sampled_from((0.0, 1e3)))


@given(case=axes_of_arrays(), dtype=st.sampled_from((np.float32, np.float64)), keepdims=st.booleans())
@settings(max_examples=60, deadline=None)
def test_sums_and_means_over_any_axes_are_numpys(device, case, dtype, keepdims):
    shape, layout, axis, seed, mean = case
    x = random(seed, shape) + mean
    (X,) = moved(device, dtype, laid_out(x, layout) if len(shape) == 4 else x)
    exact = X.get().astype(np.float64)
    for a in (axis, None):
        size = 100 * np.finfo(dtype).eps * np.abs(exact).mean()
        for f, expected, scale in ((rows.total, exact.sum, exact.size), (rows.average, exact.mean, 1)):
            found = f(X, a, keepdims)
            near(found, expected(axis=a, keepdims=keepdims), size, scale)
            assert found.dtype == dtype


@pytest.mark.parametrize("n", [1, 1000, 32768, 32769, 100_003, 5_000_000])
def test_all_of_an_array_is_added_in_one_launch_or_two(device, n):
    x = device.asarray(np.random.default_rng(0).integers(-9, 9, n).astype(np.float32))  # sums are exact in any order
    found, kernels = launched(rows.total, x, None, False)
    assert float(found) == x.get().astype(np.int64).sum()
    assert kernels == {"row_sum": 1 if n <= 32768 else 2}
    near(rows.average(x, None, False), x.get().astype(np.float64).mean(), 1e-6, 9)


def test_channels_last_images_are_added_up_where_they_lie(device):
    (x,) = moved(device, np.float32, laid_out(random(0, (4, 3, 5, 6)), "channels-last"))
    for axis in ((1, 2, 3), (-1, -2, 1), None):
        _, kernels = launched(rows.average, x, axis, False)
        assert kernels == {"row_sum": 1}
    _, kernels = launched(rows.total, x, (2, 3), False)  # not side by side: CuPy's own
    assert kernels == {}


@pytest.mark.parametrize("name", CHAINS)
@given(case=axes_of_arrays(), dtype=st.sampled_from((np.float32, np.float64)))
@settings(max_examples=25, deadline=None)
def test_a_row_is_treated_as_by_the_portable_kernel(device, name, case, dtype):
    shape, layout, axis, seed, mean = case
    x, g = (laid_out(random(seed + i, shape), layout) if len(shape) == 4 else random(seed + i, shape) for i in (0, 1))
    X, G = moved(device, dtype, x + mean, g)
    x, g = X.get().astype(np.float64), G.get().astype(np.float64)
    eps = (1e-2,) if "normalize" in name else ()
    forward = getattr(portable_chains, name.removesuffix("_grad"))
    out = forward(x, axis, *eps)
    if name.endswith("_grad"):
        (OUT,) = moved(device, dtype, laid_out(out, layout) if len(shape) == 4 else out)
        inputs = {"softmax_grad": (G, OUT), "log_softmax_grad": (G, OUT), "normalize_grad": (G, X, OUT)}[name]
        exact = {"softmax_grad": (g, out), "log_softmax_grad": (g, out), "normalize_grad": (g, x, out)}[name]
    else:
        inputs, exact = (X,), (x,)
    expected = getattr(portable_chains, name)(*exact, axis, *eps)
    found, kernels = launched(getattr(rows, name), *inputs, axis, *eps)
    assert kernels == {name: 1}
    size = max(1, np.abs(expected).max(), np.abs(g).max() if name.endswith("_grad") else 0)
    # x − μ and x − max are known to a unit in the last place of x
    near(found, expected, (100 + 20 * np.abs(x).max()) * np.finfo(dtype).eps, size)
    assert found.dtype == dtype
    if layout == "channels-last" and axis in (1, (1,), (1, 2, 3)):
        assert is_channels_last(found)


def test_a_row_far_from_0_is_normalised_from_centred_values(device):
    (x,) = moved(device, np.float32, 1e4 + random(0, (3, 5000)))
    y = rows.normalize(x, 1, 0.0)
    near(y, portable_chains.normalize(x.get().astype(np.float64), 1, 0.0), 1e-5)  # relative to |y| of about 4


def test_logits_of_any_size_give_no_overflow(device):
    x = device.asarray(np.array([[1e4, -1e4, 0, 3e38], [-3e38, -3e38, -3e38, -3e38]], np.float32))
    assert rows.softmax(x, 1).tolist() == [[0, 0, 0, 1], [0.25] * 4]
    assert np.isfinite(rows.log_softmax(x, 1).get()).all()


def test_memory_that_begins_anywhere_and_any_order_of_threads_give_the_same(device, monkeypatch):
    flat = device.asarray(random(0, (40 * 8 + 1,), np.float32))
    x = flat[1:].reshape(40, 8)
    near(rows.normalize(x, 1, 1e-5), portable_chains.normalize(x.get().astype(np.float64), 1, 1e-5), 1e-5)
    found = []
    for seed in range(4):
        monkeypatch.setenv("EMULATOR_SEED", str(seed + 1))
        found.append(rows.softmax(x, 1).get().tobytes())
    assert len(set(found)) == 1


def test_what_the_kernels_do_not_serve_is_portable(device):
    half = device.ones((3, 4), np.float16)
    for f, args in (
        (rows.softmax, (half, 1)),
        (rows.normalize_grad, (half, half, half, 1, 1e-5)),
        (rows.log_softmax, (device.zeros((3, 0), np.float32), 0)),
        (rows.softmax_grad, (device.ones((2, 3), np.float64), device.ones((2, 3), np.float32), 1)),
    ):
        _, kernels = launched(f, *args)
        assert kernels == {}, f.__name__

"""The GPU's elementwise chains on the emulator, against the portable kernels in float64; and the set of GPU kernels."""

import inspect

import numpy as np
import pytest
from backend import emulator
from backend.fake_cupy import installed
from backend.fake_kernels import LAUNCHES
from backend.kernel_cases import is_channels_last, laid_out, random, there
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import ops, tensor
from minigen.backend import portable_chains, use
from minigen.backend.gpu import elementwise
from minigen.backend.kernels import GPU, PORTABLE, kernels

needs_emulator = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
NUMBERS = {"slope": (0, 0.2, 1), "scale": (2.5,), "beta": (1.0, 2.5), "alpha": (1.0, 0.7)}
OUTPUTS = {"tanh_grad": np.tanh, "sigmoid_grad": lambda x: 1 / (1 + np.exp(-x))}  # what `out` is of
CHAINS = sorted(
    name for name, f in vars(elementwise).items() if getattr(f, "__module__", "") == elementwise.__name__
    and hasattr(f, "__wrapped__") and name not in ("_compiled", "_leaky_relu", "update_running")
)  # fmt: skip
CHAINS.append("leaky_relu")


@pytest.fixture(scope="module")
def device():
    with installed():
        yield use("cupy")


def test_every_kernel_of_the_gpu_has_the_portable_names_and_arguments():
    assert vars(GPU).keys() == vars(PORTABLE).keys()
    for name, f in vars(GPU).items():
        assert str(inspect.signature(f)) == str(inspect.signature(getattr(PORTABLE, name))), name


def test_the_chains_are_found():
    assert {"leaky_relu_grad", "bce_logits", "gaussian_kl_grad", "masked", "gelu_grad"} <= set(CHAINS)
    assert len(CHAINS) >= 19


def arguments(name, shape, seed, number=0):
    """Arrays (float64, bool for a mask) and numbers for the arguments of a chain, by their names."""
    args = []
    for i, parameter in enumerate(inspect.signature(getattr(PORTABLE, name)).parameters):
        if parameter in NUMBERS:
            choice = NUMBERS[parameter]
            args.append(choice[number % len(choice)])
        else:
            array = np.asarray(2 * random(seed + i, shape))
            if parameter == "mask":
                array = np.asarray(array > 0)
            if parameter == "out":
                array = np.asarray(OUTPUTS.get(name, lambda x: x)(array))
            args.append(array)
    return args


def back(x):
    """As float64, from the device."""
    return x.get().astype(np.float64) if hasattr(x, "get") and x.dtype != bool else x.get() if hasattr(x, "get") else x


@needs_emulator
@pytest.mark.parametrize("name", CHAINS)
@given(
    shape=st.sampled_from(((), (1,), (130,), (5, 1), (2, 1, 4, 3), (1, 3, 3, 5), (2, 4, 5, 1))),
    dtype=st.sampled_from((np.float32, np.float64)),
    layouts=st.tuples(*[st.sampled_from(("channels-first", "channels-last"))] * 3),
    seed=st.integers(0, 2**20),
    number=st.integers(0, 2),
)
@settings(max_examples=20, deadline=None)
def test_a_chain_gives_the_portable_values_in_one_launch(device, name, shape, dtype, layouts, seed, number):
    args = arguments(name, shape, seed, number)
    if len(shape) == 4:
        turns = iter(layouts)
        args = [laid_out(a, next(turns)) if isinstance(a, np.ndarray) else a for a in args]
    args = [there(device, a, dtype) for a in args]
    before = LAUNCHES.copy()
    y = getattr(GPU, name)(*args)
    assert sum((LAUNCHES - before).values()) == 1
    expected = getattr(PORTABLE, name)(*map(back, args))
    assert isinstance(y, device.ndarray)
    assert (y.shape, y.dtype) == (shape, dtype)
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(y.get(), expected, rtol=tolerance, atol=tolerance)


@needs_emulator
@pytest.mark.parametrize("name", CHAINS)
def test_the_result_lies_in_memory_as_the_argument_it_follows(device, name):
    names = list(inspect.signature(getattr(PORTABLE, name)).parameters)
    lead = next(n for n in ("out", "x", "mu", "logvar") if n in names)
    shape = (2, 3, 4, 5)
    for last in (True, False):
        args = [
            a if not isinstance(a, np.ndarray)
            else laid_out(a, "channels-last" if (n == lead) == last else "channels-first")
            for n, a in zip(names, arguments(name, shape, 0))
        ]  # fmt: skip
        if name == "gaussian_kl_grad" or "mu" in names:
            args = [laid_out(a, "channels-last" if last else "channels-first") for a in args]
        y = getattr(GPU, name)(*[there(device, a, np.float32) for a in args])
        assert is_channels_last(y) == last


@needs_emulator
@pytest.mark.parametrize("name", [n for n in CHAINS if n.endswith("_grad")])
def test_a_broadcast_cotangent_is_taken_as_it_is(device, name):
    """The gradient of a mean is one number, repeated without memory."""
    g, *rest = arguments(name, (2, 3, 4, 5), 0)
    g = np.broadcast_to(g[:1, :1, :1, :1], g.shape)
    rest = [there(device, laid_out(a, "channels-last") if isinstance(a, np.ndarray) else a, np.float32) for a in rest]
    one = device.broadcast_to(device.asarray(g[:1, :1, :1, :1].astype(np.float32)), g.shape)
    y = getattr(GPU, name)(one, *rest)
    expected = getattr(PORTABLE, name)(back(one), *map(back, rest))
    np.testing.assert_allclose(y.get(), expected, rtol=1e-5, atol=1e-6)
    assert is_channels_last(y)


@needs_emulator
@pytest.mark.parametrize("name", [n for n in CHAINS if not n.endswith("_grad") and n not in ("masked", "gaussian_kl")])
def test_extreme_values_come_out_as_from_the_portable_kernel(device, name):
    x = np.array([np.nan, np.inf, -np.inf, 1e4, -1e4, 88.0, -88.0, 1e-30, 0.0], np.float32)
    for number in range(3):
        args = [x, *arguments(name, (), 0, number)[1:]]
        if name == "bce_logits":
            args[1] = 0.5
        with np.errstate(all="ignore"):
            expected = getattr(PORTABLE, name)(*args)
        y = getattr(GPU, name)(*[there(device, a, np.float32) for a in args])
        np.testing.assert_allclose(y.get(), expected, rtol=2e-6, atol=1e-37)


@needs_emulator
def test_at_zero_the_slope_is_that_of_the_negative_side(device):
    g, out = device.ones(4, np.float32), device.asarray(np.array([0.0, -0.0, 1e-30, np.nan], np.float32))
    assert GPU.leaky_relu_grad(g, out, 0).tolist() == [0, 0, 1, 0]
    assert GPU.leaky_relu_grad(g, out, 0.5).tolist() == [0.5, 0.5, 1, 0.5]


@needs_emulator
@pytest.mark.parametrize("slope", [-0.1, 1.5])
def test_a_slope_outside_0_1_is_refused(device, slope):
    with pytest.raises(ValueError, match=rf"leaky_relu: expected a slope in \[0, 1\]; got {slope}"):
        GPU.leaky_relu(device.ones(3, np.float32), slope)


@needs_emulator
@pytest.mark.parametrize(
    ("name", "dtypes"),
    [
        ("tanh", ["float16"]),
        ("sigmoid", ["int64"]),
        ("silu_grad", ["float32", "float64"]),
        ("bce_logits", ["float16"] * 2),
    ],
)
def test_other_types_are_served_by_the_portable_kernel(device, name, dtypes):
    args = [device.ones(3, d) for d in dtypes]
    before = LAUNCHES.copy()
    y = getattr(GPU, name)(*args)
    assert LAUNCHES == before
    assert y.dtype == getattr(PORTABLE, name)(*[a.get() for a in args]).dtype


@needs_emulator
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 2, 3), (2, 1, 3)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_classes_are_picked_and_placed(device, shape, dtype):
    x, g = random(0, shape).astype(dtype), random(1, (shape[0], *shape[2:])).astype(dtype)
    if len(shape) == 4:
        x = laid_out(x, "channels-last")
    classes = np.random.default_rng(2).integers(0, shape[1], g.shape)
    X, G, at = there(device, x, dtype), there(device, g, dtype), device.asarray(classes)
    np.testing.assert_array_equal(GPU.pick(X, at).get(), portable_chains.pick(x, classes))
    placed = GPU.place(G, at, shape[1])
    np.testing.assert_array_equal(placed.get(), portable_chains.place(g, classes, shape[1]))
    assert placed.dtype == dtype


@needs_emulator
def test_a_class_that_does_not_exist_makes_the_loss_nan(device):
    logits = tensor(random(0, (3, 4), np.float32))
    for wrong in (4, -1):
        assert np.isnan(ops.cross_entropy(logits, tensor(np.array([0, wrong, 2]))).numpy())
    assert np.isfinite(ops.cross_entropy(logits, tensor(np.array([0, -100, 2]))).numpy())  # ignored, as asked


@needs_emulator
def test_a_training_step_is_made_of_few_launches(device):
    """The chains of a loss are one launch forward and one backward; composed of CuPy's operators they were 8 and 6."""
    x, target = tensor(random(0, (4, 3), np.float32), requires_grad=True), tensor(np.full((4, 3), 0.5, np.float32))
    before = LAUNCHES.copy()
    ops.binary_cross_entropy_with_logits(x, target, reduction="sum").backward()
    assert dict(LAUNCHES - before) == {"minigen_bce_logits": 1, "row_sum": 1, "minigen_bce_logits_grad": 1}


@needs_emulator
def test_kernels_of_the_device_are_those_of_the_gpu(device):
    assert kernels(device.zeros(2)) is GPU

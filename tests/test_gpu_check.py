"""What the benchmark on a GPU checks and counts, on the stand-in for CuPy: right kernels pass, wrong ones are found."""

import json
import time

import numpy as np
import pytest
from backend import emulator, fake_cupy_timed

from minigen import ops, tensor
from minigen.autograd import grad
from minigen.autograd.state import state
from minigen.backend import kernels as sets
from minigen.backend import use
from minigen.backend.gpu import measure
from minigen.benchmarks import gpu_check, gpu_minigen
from minigen.benchmarks.gpu_cases import cases
from minigen.benchmarks.gpu_floors import Counter, floors
from minigen.benchmarks.gpu_taps import ELEMENTWISE, NAMES, Times, judged, operations, relative_error, tapped

emulated = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
THIN = 32


# ------------------------------------------------------------------------------------------------ is it right


def test_every_kernel_has_a_case():
    assert set(NAMES) == set(cases(0))


@pytest.fixture
def device():
    """The stand-in, with clocks; products by the portable kernels, which is fast."""
    with fake_cupy_timed.installed() as cupy:
        use("cupy")
        yield cupy


SOME = ("leaky_relu", "batch_norm", "batch_norm_grad", "adam", "gather", "total", "max_pool2d")


@emulated
@pytest.mark.parametrize("name", SOME)
def test_a_kernel_is_held_against_its_twin(name, device):
    (found,) = [gpu_check.check_kernel(name, cases(0)[name])]
    assert found["ok"], found


def scaled(factor):
    """A kernel whose results are off by that factor; one that changes its arguments changes them so."""

    def wrong(f):
        def call(*args):
            out = f(*args)
            if out is None:
                args[0][...] = args[0] * factor
                return out
            return (out[0] * factor, *out[1:]) if isinstance(out, tuple) else out * factor

        return call

    return wrong


@emulated
@pytest.mark.parametrize("factor", [1.001, float("nan")], ids=["off", "nan"])
@pytest.mark.parametrize("name", [*SOME, "conv2d_w"])
def test_a_wrong_kernel_is_found(name, factor, device, monkeypatch):
    monkeypatch.setattr(sets.GPU, name, scaled(factor)(getattr(sets.GPU, name)))
    found = gpu_check.check_kernel(name, cases(0)[name])
    assert not found["ok"]
    json.dumps(found, allow_nan=False)


@emulated
def test_new_memory_is_filled_with_nan_before_a_kernel_gets_it(device, monkeypatch):
    """The stand-in fills it anyway, with 0xFF: here half of those bits are asked for."""
    memory = device.get_default_memory_pool().malloc(1)
    fill = type(memory).memset_async
    monkeypatch.setattr(type(memory), "memset_async", lambda p, value, size: fill(p, value & 0x0F, size))
    with measure.poisoned():
        assert (device.empty((3, 5), np.uint8).get() == 0x0F).all()
    assert (device.empty((3, 5), np.uint8).get() == 0xFF).all()


@emulated
def test_a_sum_of_which_little_is_left_may_be_off_by_a_share_of_its_terms(device):
    x = np.array([[1e4], [-1e4], [1.0]], np.float32)
    exact = [x.astype(np.float64)]
    off = lambda by: lambda x: device.asarray(np.float32([1 + by]))
    assert judged("channel_sum", off(1e-3), [device.asarray(x)], exact, {})[1] == pytest.approx(1e-6, rel=0.01)
    assert judged("channel_sum", off(1), [device.asarray(x)], exact, {})[1] > ELEMENTWISE


@emulated
def test_the_sign_of_what_is_nothing_but_rounding_is_that_of_float32(device):
    """bias: minus the product in the first row, rounded."""
    rng = np.random.default_rng(0)
    g, x, weight = (rng.standard_normal(n, np.float32) for n in ((50, 40), (50, 40), 40))
    _, mean, var = (a.get() for a in sets.GPU.batch_norm(device.asarray(x), None, None, 1e-5))
    bias = -(x[0] - mean) * (weight * (1 / np.sqrt(var + np.float32(1e-5))))
    found = gpu_check.check_kernel("batch_norm_grad", [(g, x, weight, bias, mean, var, 1e-5, 0.2)])
    assert found["ok"], found


@emulated
def test_a_wrong_kernel_is_found_in_a_step(device, monkeypatch):
    monkeypatch.setattr(sets.GPU, "leaky_relu_bias_grad", scaled(1.001)(sets.GPU.leaky_relu_bias_grad))
    found = {f["what"]: f["ok"] for f in gpu_check.check_workload("mlpvae", "float32", 2, 2, THIN)[:-1]}
    assert not found.pop("mlpvae: leaky_relu_bias_grad, 2 calls, float32")
    assert not found.pop("mlpvae: gradients of loss") or found.pop("mlpvae: losses of 3 steps or more")
    assert all(found.values())


@emulated
def test_a_step_that_cannot_be_captured_fails_its_check_with_the_reason(device):
    found = gpu_check.check_workload("mlpvae", "float32", 2, 2, THIN)
    assert [f["ok"] for f in found[:-1]] == [True] * (len(found) - 1)
    assert not found[-1]["ok"]  # cuBLAS, which stands in for igemm.cu here, is no part of a graph
    assert "NotCapturable" in found[-1]["where"]


@emulated
def test_random_numbers_that_are_not_philox_are_found(device, monkeypatch):
    assert gpu_check.check_random_numbers()["ok"]
    monkeypatch.setitem(gpu_check.__dict__, "KNOWN", (1, 2, 3, 4))
    assert not gpu_check.check_random_numbers()["ok"]


def test_nan_and_another_shape_are_never_right():
    x = np.ones(3)
    assert relative_error(x * 1.5, x) == 0.5
    assert not relative_error(np.array([1.0, np.nan, 1.0]), x) <= 1e9
    assert relative_error(np.ones(4), x) == np.inf


# ------------------------------------------------------------------------------------------------ what is counted


def test_operations_of_a_dense_net_are_those_by_hand():
    layers = 2 * 784 * 400 + 3 * (2 * 400 * 20 + 20 * 400) + 3 * 400 * 784  # the images need no gradient
    assert floors("mlpvae", 128)["flops"] == pytest.approx(2 * 128 * layers)


def test_operations_of_a_small_gan_are_those_by_hand():
    """D sees real and fake images, then G's: forward, two gradients, but for images in D's own step."""
    h = 128 // 8
    d, g = 784 * h + h, 64 * h + h * 784
    ds_step, gs_step = g + 2 * (3 * d - 784 * h), d + d + (2 * g - 64 * h)
    assert floors("mlpgan", 64, thin=8)["flops"] == pytest.approx(2 * 64 * (ds_step + gs_step))


def counted(f, *shapes):
    """(operations, bytes) of f forward, and of all its gradients."""
    inputs = [tensor(np.ones(shape, np.float32), requires_grad=True) for shape in shapes]
    counter = state.watcher = Counter()
    try:
        y = f(*inputs)
        forward = counter.flops, counter.bytes
        grad(y, inputs, np.ones(y.shape, np.float32))
    finally:
        state.watcher = None
    return forward, (counter.flops - forward[0], counter.bytes - forward[1])


@pytest.mark.parametrize("slope", [0.2, 1.0])
def test_bytes_of_a_layer_are_those_by_hand(slope):
    """Backward reads ȳ and what it computes from: for leaky ReLU the result and whether there is a bias; never batch
    norm's y."""
    norm = lambda x, weight, bias: ops.batch_norm(x, None, None, weight, bias, training=True, slope=slope)
    forward, backward = counted(norm, (6, 5), 5, 5)
    assert forward == (0, 4 * (30 + 5 + 5 + 30 + 5 + 5))
    assert backward == (0, 4 * (30 + 30 + 5 + 5 + 5 + 5 + 30 + 5 + 5))
    forward, backward = counted(lambda x, weight, bias: ops.linear(x, weight, bias, slope=slope), (6, 7), (5, 7), 5)
    assert forward == (2 * 6 * 7 * 5, 4 * (42 + 35 + 5 + 30))
    assert backward == (4 * 6 * 7 * 5, 4 * (30 + 42 + 35 + 42 + 35 + 5 + (30 + 5 if slope != 1 else 0)))


def test_bytes_grow_with_the_batch_and_hold_adams():
    at = [floors("mlpvae", n)["bytes"] for n in (2, 64, 126)]
    parameters = 784 * 400 + 400 + 2 * (400 * 20 + 20) + 20 * 400 + 400 + 400 * 784 + 784
    assert at[1] - at[0] == pytest.approx(at[2] - at[1])
    assert at[0] > 28 * parameters


@emulated
def test_a_tap_counts_the_same_operations_as_the_floors(device):
    for workload in ("mlpvae", "wgangp"):
        contender = gpu_minigen.Contender(workload, "float32", "eager", 2, THIN)
        times = Times(lambda: time.perf_counter(), lambda a, b: 1e3 * (b - a))
        with tapped(times):
            contender.cycle()
        rows = times.rows()
        expected = floors(workload, 2, THIN)["flops"] * contender.period
        assert sum(row["flops"] for row in rows) == pytest.approx(expected)
        assert [row["us"] for row in rows] == sorted((row["us"] for row in rows), reverse=True)
        assert all(row["bytes"] > 0 for row in rows)
    assert not hasattr(sets.GPU.matmul, "func")  # nobody looks any more


def test_operations_of_a_convolution_and_its_gradients_are_the_same():
    x, w, g = np.zeros((2, 3, 8, 8)), np.zeros((5, 3, 4, 4)), np.zeros((2, 5, 4, 4))
    axes = (2, 2), (1, 1), (1, 1), 1
    counts = {
        operations("conv2d", (x, w, None, *axes)),
        operations("conv2d_x", (g, w, (8, 8), *axes)),
        operations("conv2d_w", (x, g, (4, 4), *axes)),
    }
    assert counts == {2 * g.size * 3 * 16}


def test_kernels_of_a_trace_are_added_up():
    kernel = lambda name, dur, cat="kernel": {"name": name, "cat": cat, "dur": dur, "ph": "X"}
    events = [kernel("a", 3), kernel("b", 10), kernel("a", 5), kernel("c", 1, "cpu_op"), {"name": "a", "ph": "M"}]
    b, a = gpu_minigen.launches_of(events, steps=2)
    assert b == {"kernel": "b", "launches": 0.5, "us": 5.0}
    assert a == {"kernel": "a", "launches": 1.0, "us": 4.0}

"""The optimisers' kernels for the GPU, on the emulator: against the portable ones in float64, over several steps."""

import numpy as np
import pytest
from backend import emulator, fake_kernels
from backend import fake_cupy_graph as fake_graph
from kernel_cases import random

from minigen.backend import optim_kernels as portable
from minigen.backend import use
from minigen.backend.gpu import optim as gpu
from minigen.backend.optim_kernels import adam_numbers, sgd_numbers
from minigen.nn import Parameter
from minigen.optim import EMA, SGD, Adam

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
N, STEPS = 300, 4  # more than a block of threads
ADAM = [(0.01, 0.9, 0.99, 1e-3, wd, decoupled) for wd in (0.0, 0.1) for decoupled in (False, True)]
SGD_OPTIONS = [(0.0, 0.0, False, 0.0), (0.0, 0.0, False, 0.1), (0.9, 0.2, False, 0.1), (0.9, 0.0, True, 0.1)]


@pytest.fixture
def device(fake_cupy):
    return use("cupy")


def after_steps(kernels, convert, numbers_of, call):
    """[p, *state] after some steps. call(kernels, p, g, state, numbers), numbers_of(t): floats."""
    p = convert(random(0, (N,), np.float64))
    state = [convert(np.abs(random(9 + i, (N,), np.float64))) for i in range(2)]  # as a state that was loaded
    for t in range(1, STEPS + 1):
        numbers = numbers_of(t)
        numbers = numbers if kernels is portable else convert(np.array(numbers))
        call(kernels, p, convert(random(t, (N,), np.float64)), state, numbers)
    return [p, *state]


def agree(numbers_of, call, xp):
    here = after_steps(portable, np.array, numbers_of, call)
    there = after_steps(gpu, lambda x: xp.asarray(x.astype(np.float32)), numbers_of, call)
    for a, b in zip(there, here):
        # float32 rounding of a few operations a step; p and the state are of order 1
        np.testing.assert_allclose(a.get(), b, rtol=5e-6, atol=5e-6)


@pytest.mark.parametrize(("lr", "beta1", "beta2", "eps", "weight_decay", "decoupled"), ADAM)
def test_adam_is_the_portable_one(lr, beta1, beta2, eps, weight_decay, decoupled, device):
    agree(
        lambda t: adam_numbers(t, lr * t, beta1, beta2, eps, weight_decay),
        lambda k, p, g, s, numbers: k.adam(p, g, *s, numbers, beta1, beta2, weight_decay, decoupled),
        device,
    )
    assert fake_kernels.LAUNCHES["adam"] == STEPS


@pytest.mark.parametrize(("momentum", "dampening", "nesterov", "weight_decay"), SGD_OPTIONS)
def test_sgd_is_the_portable_one(momentum, dampening, nesterov, weight_decay, device):
    agree(
        lambda t: sgd_numbers(t, 0.1 * t, momentum, dampening),
        lambda k, p, g, s, numbers: k.sgd(p, g, s[0] if momentum else None, numbers, momentum, nesterov, weight_decay),
        device,
    )
    assert fake_kernels.LAUNCHES["sgd"] == STEPS


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rmsprop_is_the_portable_one(momentum, weight_decay, device):
    agree(
        lambda t: (0.1 * t,),
        lambda k, p, g, s, numbers: k.rmsprop(
            p, g, s[0], s[1] if momentum else None, numbers, 0.9, 1e-3, momentum, weight_decay
        ),
        device,
    )
    assert fake_kernels.LAUNCHES["rmsprop"] == STEPS


def test_ema_is_the_portable_one(device):
    agree(lambda t: (0.1 * t,), lambda k, p, g, s, numbers: k.ema(p, g, numbers), device)
    assert fake_kernels.LAUNCHES["ema"] == STEPS


def test_a_gradient_is_not_changed(device):
    p, g, m, v = (device.asarray(random(i, (N,), np.float32)) for i in range(4))
    kept = g.get()
    gpu.adam(p, g, m, v, device.asarray(np.float32([0.1, 0.1, 0.9])), 0.9, 0.99, 0.1, False)
    gpu.sgd(p, g, m, device.asarray(np.float32([0.1, 0.9, 1.0])), 0.9, True, 0.1)
    gpu.rmsprop(p, g, v, m, device.asarray(np.float32([0.1])), 0.9, 1e-8, 0.9, 0.1)
    assert np.array_equal(g.get(), kept)


@pytest.mark.parametrize("sizes", [(5,), (1, 1, 1), (300, 0, 7), tuple(range(1, 41))], ids=len)
def test_gather_puts_any_number_of_vectors_end_to_end(sizes, device):
    vectors = [random(i, (n,), np.float32) for i, n in enumerate(sizes)]
    out = device.empty(sum(sizes) + 2, np.float32)
    out.fill(7)
    gpu.gather([device.asarray(v) for v in vectors], out[1:-1])
    assert np.array_equal(out.get(), np.concatenate([[7], *vectors, [7]]))


def test_gather_takes_views_that_are_not_dense(device):
    x = device.asarray(random(0, (3, 4), np.float32))
    out = device.empty(7, np.float32)
    gpu.gather([x[:, 1], device.broadcast_to(x[0, :1], (4,))], out)
    assert np.array_equal(out.get(), np.concatenate([x.get()[:, 1], x.get()[0, :1].repeat(4)]))


@pytest.mark.parametrize("n", [1, 3, 15, 16, 17, 40])
def test_store_puts_any_number_of_numbers_on_the_device_without_a_copy(n, device):
    values, out = random(0, (n,), np.float64).tolist(), device.empty(n + 2, np.float32)
    out.fill(7)
    before = fake_graph.transfers.copy()
    gpu.store(out[1:-1], values)
    assert fake_graph.transfers == before
    assert np.array_equal(out.get(), np.float32([7, *values, 7]))
    assert fake_kernels.LAUNCHES["store"] == -(-n // 16)


@pytest.mark.parametrize("make", [lambda p: Adam(p, 0.1), lambda p: SGD(p, 0.1, momentum=0.9)], ids=["adam", "sgd"])
def test_float64_goes_to_the_portable_kernels(make, device):
    p = Parameter(device.asarray(random(0, (4,), np.float64)))
    make([p]).step([p.data])
    assert p.dtype == np.float64
    assert not set(fake_kernels.LAUNCHES) & {"adam", "sgd", "store"}


def test_an_optimiser_updates_small_parameters_in_one_launch(device):
    shapes = [(3, 4), (4,), (2, 3, 2, 2), (), (5,)]
    params = [Parameter(device.asarray(random(i, s, np.float32))) for i, s in enumerate(shapes)]
    optimizer = Adam(params)
    optimizer.step([p.data * 0.5 for p in params])
    assert {n: fake_kernels.LAUNCHES[n] for n in ("store", "gather", "adam")} == {"store": 1, "gather": 1, "adam": 1}


def test_an_average_over_an_optimisers_parameters_is_one_launch(device):
    params = [Parameter(device.asarray(random(i, (4, 3), np.float32))) for i in range(5)]
    optimizer = Adam(params)
    EMA(params, 0.9, [optimizer.flat]).update()
    assert fake_kernels.LAUNCHES["ema"] == 1

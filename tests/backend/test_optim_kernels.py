"""The optimisers' updates: against the published formulas in plain Python, and against PyTorch."""

import math

import numpy as np
import pytest
from kernel_cases import random

from minigen.backend import optim_kernels as kernels
from minigen.backend import threads

STEPS = 4


def flat(n=50, dtype=np.float64):
    """A parameter vector and one gradient a step."""
    return random(0, (n,), dtype), [random(1 + t, (n,), dtype) for t in range(STEPS)]


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("weight_decay", [0, 0.1])
def test_adam_is_the_formula_of_the_paper(weight_decay, decoupled):
    p, gradients = flat()
    lr, b1, b2, eps = 0.01, 0.9, 0.99, 1e-3
    expected, m0, v0 = p.copy(), np.zeros_like(p), np.zeros_like(p)
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gradients, 1):
        kept = g.copy()
        numbers = kernels.adam_numbers(t, lr, b1, b2, eps, weight_decay)
        kernels.adam(p, g, m, v, numbers, b1, b2, weight_decay, decoupled)
        assert np.array_equal(g, kept)
        gd = g if decoupled else g + weight_decay * expected
        m0, v0 = b1 * m0 + (1 - b1) * gd, b2 * v0 + (1 - b2) * gd**2
        step = lr * (m0 / (1 - b1**t)) / (np.sqrt(v0 / (1 - b2**t)) + eps)
        expected = expected - step - (lr * weight_decay * expected if decoupled else 0)
    for ours, formula in ((p, expected), (m * (1 - b1), m0), (v * (1 - b2), v0)):
        np.testing.assert_allclose(ours, formula, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("momentum, nesterov, dampening", [(0, False, 0), (0.9, False, 0.2), (0.9, True, 0)])
@pytest.mark.parametrize("weight_decay", [0, 0.1])
def test_sgd_is_the_formula(momentum, nesterov, dampening, weight_decay):
    p, gradients = flat()
    expected, b = p.copy(), None
    buf = np.zeros_like(p) if momentum else None
    for t, g in enumerate(gradients):
        kept = g.copy()
        numbers = kernels.sgd_numbers(t + 1, 0.1, momentum, dampening)
        kernels.sgd(p, g, buf, numbers, momentum, nesterov, weight_decay)
        assert np.array_equal(g, kept)
        gd = g + weight_decay * expected
        if momentum:
            b = gd if b is None else momentum * b + (1 - dampening) * gd
            gd = gd + momentum * b if nesterov else b
        expected = expected - 0.1 * gd
    np.testing.assert_allclose(p, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("momentum", [0, 0.9])
@pytest.mark.parametrize("weight_decay", [0, 0.1])
def test_rmsprop_is_the_formula(momentum, weight_decay):
    p, gradients = flat()
    expected, s, b = p.copy(), np.zeros_like(p), np.zeros_like(p)
    sq, buf = np.zeros_like(p), np.zeros_like(p) if momentum else None
    for g in gradients:
        kept = g.copy()
        kernels.rmsprop(p, g, sq, buf, (0.1,), 0.9, 1e-3, momentum, weight_decay)
        assert np.array_equal(g, kept)
        gd = g + weight_decay * expected
        s = 0.9 * s + 0.1 * gd**2
        b = momentum * b + gd / (np.sqrt(s) + 1e-3)
        expected = expected - 0.1 * b
    np.testing.assert_allclose(p, expected, rtol=1e-12, atol=1e-14)


def test_ema_moves_by_one_minus_decay():
    avg, p = np.array([1.0, 2.0]), np.array([3.0, -2.0])
    kernels.ema(avg, p, (0.25,))
    assert avg.tolist() == [1.5, 1.0]
    assert p.tolist() == [3.0, -2.0]


@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop", "ema"])
def test_pieces_on_two_threads_are_the_whole_and_float32_stays(name, monkeypatch):
    def once():
        p, g = random(0, (1000,), np.float32), random(1, (1000,), np.float32)
        state = np.abs(random(2, (2, 1000), np.float32))
        if name == "adam":
            kernels.adam(p, g, *state, kernels.adam_numbers(3, 0.01, 0.9, 0.99, 1e-8, 0.1), 0.9, 0.99, 0.1, False)
        elif name == "sgd":
            kernels.sgd(p, g, state[0], (0.01, 0.9, 0.9), 0.9, False, 0.1)
        elif name == "rmsprop":
            kernels.rmsprop(p, g, *state, (0.01,), 0.9, 1e-8, 0.9, 0.1)
        else:
            kernels.ema(p, g, (0.1,))
        assert p.dtype == state.dtype == np.float32
        return p

    whole = once()
    monkeypatch.setattr(threads, "CHUNK", 64)
    before = threads.get_threads()
    threads.set_threads(2)
    try:
        assert np.array_equal(once(), whole)
    finally:
        threads.set_threads(before)


def pytorch_cases():
    numbers = lambda t: kernels.adam_numbers(t, 0.01, 0.9, 0.999, 1e-8, 0.1)
    adam = lambda p, g, s, t: kernels.adam(p, g, s[0], s[1], numbers(t), 0.9, 0.999, 0.1, False)
    adamw = lambda p, g, s, t: kernels.adam(p, g, s[0], s[1], numbers(t), 0.9, 0.999, 0.1, True)
    sgd = lambda p, g, s, t: kernels.sgd(p, g, s[0], kernels.sgd_numbers(t, 0.01, 0.9, 0.5), 0.9, False, 0.1)
    rmsprop = lambda p, g, s, t: kernels.rmsprop(p, g, s[0], s[1], (0.01,), 0.99, 1e-8, 0.9, 0.1)
    return [
        ("Adam", {"weight_decay": 0.1}, adam, {"exp_avg": 0.1, "exp_avg_sq": 0.001}),
        ("AdamW", {"weight_decay": 0.1}, adamw, {"exp_avg": 0.1, "exp_avg_sq": 0.001}),
        ("SGD", {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}, sgd, {"momentum_buffer": 1}),
        ("RMSprop", {"momentum": 0.9, "weight_decay": 0.1}, rmsprop, {"square_avg": 1, "momentum_buffer": 1}),
    ]


@pytest.mark.parametrize(
    "name, options, ours, state_scales", pytorch_cases(), ids=lambda v: v if isinstance(v, str) else ""
)
def test_updates_and_state_agree_with_pytorch(name, options, ours, state_scales):
    torch = pytest.importorskip("torch")
    p, gradients = flat()
    theirs = torch.nn.Parameter(torch.tensor(p))
    optimiser = getattr(torch.optim, name)([theirs], lr=0.01, **options)
    state = np.zeros((2, len(p)))
    for t, g in enumerate(gradients, 1):
        theirs.grad = torch.tensor(g)
        optimiser.step()
        ours(p, g, state, t)
    np.testing.assert_allclose(p, theirs.detach().numpy(), rtol=1e-11, atol=1e-13)
    for kept, (state_name, scale) in zip(state, state_scales.items()):
        np.testing.assert_allclose(kept * scale, optimiser.state[theirs][state_name].numpy(), rtol=1e-11, atol=1e-13)


def test_adam_takes_a_first_step_of_the_learning_rate_whatever_the_scale():
    """m̂ = g and v̂ = g², so the first step is lr·sign(g): a wrong bias correction shows at once."""
    p, g = np.zeros(3), np.array([1e-4, -5.0, 300.0])
    kernels.adam(
        p, g, np.zeros(3), np.zeros(3), kernels.adam_numbers(1, 0.01, 0.9, 0.999, 0.0, 0), 0.9, 0.999, 0, False
    )
    assert all(math.isclose(a, b, rel_tol=1e-12) for a, b in zip(p, [-0.01, 0.01, -0.01]))

"""Sums per channel and batch normalisation: against plain formulas, finite differences, and PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import LAYOUTS, is_channels_last, laid_out, random, relative_error

from minigen.backend import cpu_norm, portable, threads

KERNELS = pytest.mark.parametrize("kernels", [cpu_norm, portable], ids=["fast", "portable"])
EPS = 1e-5


@st.composite
def batches(draw):
    """(x, g): at least 2 values a channel, 2-D or 4-D, in any layout, far from zero mean and unit variance."""
    N, C = draw(st.integers(2, 6)), draw(st.integers(1, 7))
    shape = (N, C) if draw(st.booleans()) else (N, C, draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    seed = draw(st.integers(0, 2**20))
    x, g = 3 + 2 * random(seed, shape), random(seed + 1, shape)
    if len(shape) == 4:
        x, g = laid_out(x, draw(st.sampled_from(LAYOUTS))), laid_out(g, draw(st.sampled_from(LAYOUTS)))
    return x, g


def by_channel(x):
    """(N, C, ...) → (C, M)."""
    return np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)


@KERNELS
@given(case=batches())
@settings(max_examples=60, deadline=None)
def test_batch_norm_is_zero_mean_and_unit_variance_then_scale_and_shift(kernels, case):
    x, _ = case
    weight, bias = random(1, x.shape[1:2]), random(2, x.shape[1:2])
    kept = x.copy()
    y, mean, var = kernels.batch_norm(x, weight, bias, EPS)
    rows = by_channel(x)
    expected = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + EPS)
    expected = expected * weight[:, None] + bias[:, None]
    assert relative_error(by_channel(y), expected) < 1e-10
    assert relative_error(mean, rows.mean(1)) < 1e-13
    assert relative_error(var, rows.var(1)) < 1e-12
    assert relative_error(kernels.channel_sum(x), rows.sum(1)) < 1e-12
    assert np.array_equal(x, kept)


@given(case=batches(), affine=st.booleans())
@settings(max_examples=60, deadline=None)
def test_fast_and_portable_gradients_agree(case, affine):
    x, g = case
    weight = random(1, x.shape[1:2]) if affine else None
    bias = random(2, x.shape[1:2]) if affine else None
    for a, b in zip(cpu_norm.batch_norm(x, weight, bias, EPS), portable.batch_norm(x, weight, bias, EPS)):
        assert relative_error(a, b) < 1e-10
    _, mean, var = portable.batch_norm(x, weight, bias, EPS)
    kept = g.copy()
    fast, slow = (k.batch_norm_grad(g, x, weight, bias, mean, var, EPS) for k in (cpu_norm, portable))
    size = np.abs(slow[0]).max() + np.abs(g).max() / np.sqrt(var.min() + EPS)  # x̄ may cancel to nearly nothing
    assert np.abs(fast[0] - slow[0]).max() < 1e-9 * size
    assert np.abs(fast[1] - slow[1]).max() < 1e-10 * (1 + np.abs(slow[1]).max())
    assert np.abs(fast[2] - slow[2]).max() < 1e-12 * (1 + np.abs(slow[2]).max())
    assert np.array_equal(g, kept)


@KERNELS
@pytest.mark.parametrize("shape", [(5, 3), (3, 2, 2, 3)], ids=str)
def test_the_gradient_is_the_slope_of_the_value(kernels, shape):
    """Central differences of ⟨y, g⟩ in every x, weight and bias; the statistics move with x."""
    x, g, weight, bias = random(0, shape), random(1, shape), random(2, shape[1:2]), random(3, shape[1:2])
    _, mean, var = kernels.batch_norm(x, weight, bias, EPS)
    for value, gradient in zip((x, weight, bias), kernels.batch_norm_grad(g, x, weight, bias, mean, var, EPS)):
        for at in np.ndindex(value.shape):
            kept, ends = value[at], []
            for step in (1e-6, -1e-6):
                value[at] = kept + step
                ends.append(np.vdot(kernels.batch_norm(x, weight, bias, EPS)[0], g))
            value[at] = kept
            assert abs((ends[0] - ends[1]) / 2e-6 - gradient[at]) < 1e-7  # h² and 1e-16/h, both about 1e-10


def test_variance_survives_a_large_mean_in_float32():
    """Mean 1000, deviation 1: E[x²] − μ² is off by a tenth here, the centred pass by rounding of the mean."""
    x = 1000 + random(0, (4096, 3), np.float32)
    _, _, var = cpu_norm.batch_norm(x, None, None, EPS)
    assert relative_error(var, x.astype(np.float64).var(0).astype(np.float32)) < 1e-4


@pytest.mark.parametrize("shape", [(8, 24, 61, 47), (40, 3000)], ids=str)
def test_pieces_and_two_threads_change_nothing(shape, monkeypatch):
    monkeypatch.setattr(threads, "CHUNK", 1 << 14)
    before = threads.get_threads()
    threads.set_threads(2)
    threads.parts(1)  # as the first kernel does: BLAS is held to one thread from then on
    try:
        x, g = random(0, shape, np.float32), random(1, shape, np.float32)
        if len(shape) == 4:
            x, g = laid_out(x, "channels-last"), laid_out(g, "channels-last")
        weight, bias = random(2, shape[1:2], np.float32), random(3, shape[1:2], np.float32)
        run = lambda k: (
            *(r := k.batch_norm(x, weight, bias, EPS)),
            *k.batch_norm_grad(g, x, weight, bias, *r[1:], EPS),
        )
        first = run(cpu_norm)
        for fast, slow in zip(first, run(portable)):
            assert relative_error(fast, slow) < 1e-4  # float32 sums of 23,000 numbers in another order
        assert len(shape) == 2 or is_channels_last(first[0])
        for _ in range(3):
            assert all(np.array_equal(a, b) for a, b in zip(first, run(cpu_norm)))
    finally:
        threads.set_threads(before)


def test_batch_norm_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    x, g, weight, bias = random(0, (6, 5, 4, 3)), random(1, (6, 5, 4, 3)), random(2, (5,)), random(3, (5,))
    tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in (x, weight, bias))
    ty = torch.nn.functional.batch_norm(tx, None, None, tw, tb, training=True, eps=EPS)
    ty.backward(torch.tensor(g))
    y, mean, var = cpu_norm.batch_norm(x, weight, bias, EPS)
    assert relative_error(y, ty.detach().numpy()) < 1e-12
    for ours, theirs in zip(cpu_norm.batch_norm_grad(g, x, weight, bias, mean, var, EPS), (tx, tw, tb)):
        assert relative_error(ours, theirs.grad.numpy()) < 1e-11

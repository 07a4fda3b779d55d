"""The convolution kernels: against scalar loops, against the portable ones, and against each other as adjoints."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import convolutions, is_channels_last, random, relative_error

from minigen.backend import cpu_conv, cpu_planar, portable, threads

KERNELS = pytest.mark.parametrize("kernels", [cpu_conv, portable], ids=["fast", "portable"])
TIGHT = 1e-12  # float64: a few hundred additions at 1e-16


def by_loops(x, w, stride, padding, dilation, groups):
    """(N, O, OH, OW) by the definition, one product at a time."""
    (N, _, H, W), (O, Cg, kh, kw) = x.shape, w.shape
    OH = (H + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    OW = (W + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((N, O, OH, OW))
    for n, o, i, j, c, a, b in itertools.product(*map(range, (N, O, OH, OW, Cg, kh, kw))):
        h = i * stride[0] - padding[0] + a * dilation[0]
        v = j * stride[1] - padding[1] + b * dilation[1]
        if 0 <= h < H and 0 <= v < W:
            y[n, o, i, j] += x[n, o // (O // groups) * Cg + c, h, v] * w[o, c, a, b]
    return y


LOOPS = [  # size, kernel, stride, padding, dilation, groups
    ((4, 5), (3, 2), (1, 1), (0, 0), (1, 1), 1),
    ((4, 5), (3, 3), (2, 1), (1, 1), (1, 1), 1),
    ((5, 4), (3, 3), (1, 2), (2, 2), (2, 1), 2),
    ((3, 3), (2, 2), (3, 3), (1, 1), (1, 1), 1),  # stride larger than the kernel: pixels that no window sees
    ((2, 3), (5, 4), (2, 2), (2, 2), (1, 1), 1),  # kernel larger than the image
    ((5, 5), (2, 2), (2, 2), (3, 3), (3, 3), 2),  # dilation larger than the stride; windows wholly in the padding
]


@KERNELS
@pytest.mark.parametrize("case", LOOPS, ids=str)
def test_conv2d_is_what_the_definition_says(kernels, case):
    size, kernel, *options = case
    groups = options[-1]
    x, w = random(0, (2, 2 * groups, *size)), random(1, (groups, 2, *kernel))
    bias = random(2, (groups,))
    expected = by_loops(x, w, *options) + bias.reshape(1, -1, 1, 1)
    assert relative_error(kernels.conv2d(x, w, bias, *options), expected) < TIGHT


@KERNELS
@pytest.mark.parametrize("case", LOOPS, ids=str)
def test_both_gradients_are_those_of_the_definition(kernels, case):
    """conv2d is linear in x and in w, so its gradient in one number is its value at a unit there."""
    size, kernel, *options = case
    groups = options[-1]
    x, w = random(0, (1, 2 * groups, *size)), random(1, (groups, 2, *kernel))
    g = random(2, by_loops(x, w, *options).shape)
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for at in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[at] = 1
        dx[at] = (by_loops(unit, w, *options) * g).sum()
    for at in np.ndindex(w.shape):
        unit = np.zeros_like(w)
        unit[at] = 1
        dw[at] = (by_loops(x, unit, *options) * g).sum()
    assert relative_error(kernels.conv2d_x(g, w, size, *options), dx) < TIGHT
    assert relative_error(kernels.conv2d_w(x, g, kernel, *options), dw) < TIGHT


@KERNELS
@given(case=convolutions())
@settings(max_examples=100, deadline=None)
def test_the_three_are_adjoint(kernels, case):
    """⟨conv2d(x, w), g⟩ = ⟨x, conv2d_x(g, w)⟩ = ⟨w, conv2d_w(x, g)⟩, to the rounding of the largest sum."""
    x, w, g, options = case
    y = kernels.conv2d(x, w, None, **options)
    form = np.vdot(y, g)
    scale = np.linalg.norm(y) * np.linalg.norm(g) + 1e-30
    assert abs(np.vdot(x, kernels.conv2d_x(g, w, x.shape[2:], **options)) - form) < TIGHT * scale
    assert abs(np.vdot(w, kernels.conv2d_w(x, g, w.shape[2:], **options)) - form) < TIGHT * scale


@given(case=st.one_of(convolutions(), convolutions(dtype=np.float32)), with_bias=st.booleans())
@settings(max_examples=200, deadline=None)
def test_fast_and_portable_agree_in_every_layout(case, with_bias):
    x, w, g, options = case
    tolerance = TIGHT if x.dtype == np.float64 else 1e-5  # 1e-7 a product, a few hundred of them
    kept = [a.copy() for a in (x, w, g)]
    bias, bias_x = (random(9, (n,), x.dtype) if with_bias else None for n in (len(w), x.shape[1]))
    pairs = [
        (k.conv2d(x, w, bias, **options), k.conv2d_x(g, w, x.shape[2:], **options, bias=bias_x),
         k.conv2d_w(x, g, w.shape[2:], **options))
        for k in (cpu_conv, portable)
    ]  # fmt: skip
    for fast, slow in zip(*pairs):
        assert relative_error(fast, slow) < tolerance
        assert is_channels_last(fast)
        assert is_channels_last(slow)
    assert all(np.array_equal(a, b) for a, b in zip((x, w, g), kept)), "an input was modified"


@KERNELS
@given(case=convolutions(), more=st.tuples(st.integers(0, 3), st.integers(0, 3)))
@settings(max_examples=60, deadline=None)
def test_a_transposed_convolution_of_any_size_has_its_adjoints(kernels, case, more):
    """`size` larger than the windows reach (output_padding), also beyond the stride: trailing rows get zero."""
    _, w, g, options = case
    size = tuple(
        max(1, (n - 1) * s - 2 * p + d * (k - 1) + 1 + extra)
        for n, k, s, p, d, extra in zip(
            g.shape[2:], w.shape[2:], options["stride"], options["padding"], options["dilation"], more
        )
    )
    y = kernels.conv2d_x(g, w, size, **options)
    h = random(5, y.shape)
    form, scale = np.vdot(y, h), np.linalg.norm(y) * np.linalg.norm(h) + 1e-30
    assert y.shape[2:] == size
    back = kernels.conv2d(h, w, None, **options, out_size=g.shape[2:])
    assert abs(np.vdot(g, back) - form) < TIGHT * scale
    assert abs(np.vdot(w, kernels.conv2d_w(h, g, w.shape[2:], **options)) - form) < TIGHT * scale


@KERNELS
def test_overlapping_windows_add_up(kernels):
    """9 windows of ones over a 5×5 image: the centre lies in all of them (a col2im that assigns gives 1)."""
    x = kernels.conv2d_x(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), (5, 5), (1, 1), (0, 0), (1, 1), 1)
    assert x[0, 0].tolist() == np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]).tolist()


@pytest.mark.parametrize("channels", [(3, 32), (64, 1), (40, 24)], ids=str)
def test_many_blocks_and_two_threads_change_nothing(channels, monkeypatch):
    """Two threads, and blocks small enough to be many; and bit for bit the same on every run."""
    monkeypatch.setattr(cpu_conv, "COLUMNS", 1 << 16)
    monkeypatch.setattr(cpu_conv, "INPUT", 1 << 15)
    monkeypatch.setattr(cpu_planar, "PLANES", 1 << 15)
    monkeypatch.setattr(threads, "WORTH", 0)
    before = threads.get_threads()
    threads.set_threads(2)
    try:
        C, O = channels
        x, w = random(0, (17, C, 28, 26), np.float32, "channels-last"), random(1, (O, C, 5, 4), np.float32)
        options = (2, 2), (2, 1), (1, 1), 1
        g = random(2, (17, O, 14, 13), np.float32, "channels-last")
        run = lambda k: (k.conv2d(x, w, None, *options), k.conv2d_x(g, w, (28, 26), *options),
                         k.conv2d_w(x, g, (5, 4), *options))  # fmt: skip
        first = run(cpu_conv)
        for fast, slow in zip(first, run(portable)):
            assert relative_error(fast, slow) < 2e-5  # sums of 3094 products in float32
        for _ in range(3):
            assert all(np.array_equal(a, b) for a, b in zip(first, run(cpu_conv)))
    finally:
        threads.set_threads(before)


@KERNELS
def test_an_empty_batch_gives_empty_outputs_and_a_zero_weight_gradient(kernels):
    x, w, g = np.zeros((0, 2, 5, 5)), random(0, (6, 2, 3, 3)), np.zeros((0, 6, 3, 3))
    options = (1, 1), (0, 0), (1, 1), 1
    assert kernels.conv2d(x, w, None, *options).shape == (0, 6, 3, 3)
    assert kernels.conv2d_x(g, w, (5, 5), *options).shape == (0, 2, 5, 5)
    assert kernels.conv2d_w(x, g, (3, 3), *options).tolist() == np.zeros((6, 2, 3, 3)).tolist()


def test_the_kernels_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    options = {"stride": (2, 3), "padding": (2, 1), "dilation": (1, 2), "groups": 2}
    x, w, b = random(0, (3, 4, 12, 15)), random(1, (6, 2, 5, 3)), random(2, (6,))
    tx, tw = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
    ty = torch.nn.functional.conv2d(tx, tw, torch.tensor(b), **options)
    g = random(3, tuple(ty.shape))
    ty.backward(torch.tensor(g))
    assert relative_error(cpu_conv.conv2d(x, w, b, **options), ty.detach().numpy()) < TIGHT
    assert relative_error(cpu_conv.conv2d_x(g, w, (12, 15), **options), tx.grad.numpy()) < TIGHT
    assert relative_error(cpu_conv.conv2d_w(x, g, (5, 3), **options), tw.grad.numpy()) < TIGHT

"""What the kernel tests share: random arrays in every memory layout, and Hypothesis strategies for convolutions."""

import math

import numpy as np
from backend.fake_kernels import LAUNCHES
from hypothesis import strategies as st

LAYOUTS = ("channels-first", "channels-last", "sliced", "reversed", "transposed-plane")


def random(seed, shape, dtype=np.float64, layout="channels-first"):
    """Standard normal values; the same values whatever the memory layout."""
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return laid_out(x, layout)


def laid_out(x, layout):
    """The same logical array, of other strides."""
    if layout == "channels-last":
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if layout == "sliced":  # every second row and third column of something larger
        big = np.full((*x.shape[:2], 2 * x.shape[2], 3 * x.shape[3]), 1e9, x.dtype)
        big[:, :, ::2, ::3] = x
        return big[:, :, ::2, ::3]
    if layout == "reversed":  # negative strides
        return np.ascontiguousarray(x[::-1, :, ::-1, ::-1])[::-1, :, ::-1, ::-1]
    if layout == "transposed-plane":
        return np.ascontiguousarray(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    return x


def there(cupy, x, dtype):
    """A NumPy array on the device, floats as `dtype`, the order in memory kept; anything else as it is."""
    if not isinstance(x, np.ndarray):
        return x
    order = np.argsort([-s for s in x.strides], kind="stable")
    x = x.astype(dtype) if x.dtype.kind == "f" else x
    return cupy.asarray(np.array(x.transpose(order), order="C")).transpose(np.argsort(order).tolist())


def moved(cupy, dtype, *arrays):
    """Each `there`."""
    return [there(cupy, a, dtype) for a in arrays]


def launched(f, *args):
    """(result, {kernel: launches}) of a call."""
    before = LAUNCHES.copy()
    out = f(*args)
    return out, dict(LAUNCHES - before)


def near(found, expected, tolerance, scale=None):
    """Within tolerance times the scale, which is that of the largest expected number if none is given."""
    scale = np.abs(expected).max(initial=0) if scale is None else scale
    assert found.shape == expected.shape
    assert np.abs(found.get() - expected).max(initial=0) <= tolerance * scale + 1e-30


def is_channels_last(x):
    """True where the memory of the logical (N, C, H, W) is contiguous as (N, H, W, C)."""
    return x.transpose(0, 2, 3, 1).flags.c_contiguous


def relative_error(a, b):
    """The largest difference over the largest value."""
    assert a.shape == b.shape, (a.shape, b.shape)
    assert a.dtype == b.dtype, (a.dtype, b.dtype)
    return float(np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-30))


pairs = lambda lo, hi: st.tuples(st.integers(lo, hi), st.integers(lo, hi))


@st.composite
def convolutions(draw, dtype=np.float64):
    """(x, w, g, options) of a valid convolution, x and g in any layout; kernels wider than the image are drawn too."""
    kernel, stride, padding, dilation = draw(pairs(1, 5)), draw(pairs(1, 4)), draw(pairs(0, 4)), draw(pairs(1, 3))
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    C, O = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 4))
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation)]
    size = [n + draw(st.integers(0, 7)) for n in least]
    N = draw(st.integers(1, 4))
    out = [
        math.floor((n + 2 * p - d * (k - 1) - 1) / s) + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
    ]
    seed = draw(st.integers(0, 2**20))
    x = random(seed, (N, C, *size), dtype, layout=draw(st.sampled_from(LAYOUTS)))
    w = random(seed + 1, (O, C // groups, *kernel), dtype, layout=draw(st.sampled_from(LAYOUTS[:2])))
    g = random(seed + 2, (N, O, *out), dtype, layout=draw(st.sampled_from(LAYOUTS)))
    return x, w, g, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@st.composite
def poolings(draw, with_dilation=True):
    """(x, options, out_size): padding at most half the kernel, as PyTorch has it; ceil mode is drawn too."""
    kernel, stride = draw(pairs(1, 4)), draw(pairs(1, 5))
    dilation = draw(pairs(1, 3)) if with_dilation else (1, 1)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation)]
    size = [n + draw(st.integers(0, 6)) for n in least]
    out_size = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation):
        free = n + 2 * p - d * (k - 1) - 1
        ceil = -(-free // s) + 1
        fits = (ceil - 1) * s < n + p  # PyTorch's rule: a window must begin inside the image or its left padding
        out_size.append(ceil if draw(st.booleans()) and fits else free // s + 1)
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 4)), *size)
    seed = draw(st.integers(0, 2**20))
    x = np.random.default_rng(seed).integers(-3, 3, shape).astype(float)  # few values, so that maxima tie
    options = {"kernel": kernel, "stride": stride, "padding": padding}
    return laid_out(x, draw(st.sampled_from(LAYOUTS))), options, dilation, tuple(out_size)

"""What Hypothesis draws: memory layouts, convolutions, transposed convolutions and poolings of small images."""

import numpy as np
from hypothesis import strategies as st

pairs = lambda lo, hi: st.tuples(st.integers(lo, hi), st.integers(lo, hi))


def _inside_something_larger(x):
    """Every second row and third column."""
    big = np.full((*x.shape[:2], 2 * x.shape[2], 3 * x.shape[3]), 1e9)
    big[:, :, ::2, ::3] = x
    return big[:, :, ::2, ::3]


LAYOUTS = {
    "channels first": np.ascontiguousarray,
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "reversed": lambda x: np.flip(np.flip(x).copy()),
    "columns first": lambda x: np.asfortranarray(x),
    "strided": _inside_something_larger,
}


@st.composite
def arrays(draw, *shape):
    """Normal values of this shape, in any layout."""
    x = np.random.default_rng(draw(st.integers(0, 999))).standard_normal(shape)
    return LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](x)


def _channels(draw):
    groups = draw(st.integers(1, 3))
    return groups, draw(st.integers(1, 2)), draw(st.integers(1, 2))


@st.composite
def convolutions(draw):
    """(x, weight, bias, options) of a conv2d; windows reach over the border, rows are left unread, kernels exceed x."""
    kernel, stride, dilation = draw(pairs(1, 3)), draw(pairs(1, 3)), draw(pairs(1, 3))
    padding, (groups, C, O) = draw(pairs(0, 3)), _channels(draw)
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation)]
    size = [n + draw(st.integers(0, 3)) for n in least]
    x, w = draw(arrays(draw(st.integers(1, 2)), groups * C, *size)), draw(arrays(groups * O, C, *kernel))
    bias = np.arange(groups * O) - 1.5 if draw(st.booleans()) else None
    return x, w, bias, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@st.composite
def transposed_convolutions(draw):
    """(x, weight, bias, options) of a conv_transpose2d, with output_padding where stride or dilation allow it."""
    kernel, stride, dilation = draw(pairs(1, 3)), draw(pairs(1, 3)), draw(pairs(1, 2))
    groups, C, O = _channels(draw)
    size = draw(pairs(1, 3))
    reach = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(size, stride, dilation, kernel)]
    padding = tuple(draw(st.integers(0, (r - 1) // 2)) for r in reach)
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    x, w = draw(arrays(draw(st.integers(1, 2)), groups * C, *size)), draw(arrays(groups * C, O, *kernel))
    bias = np.arange(groups * O) - 1.5 if draw(st.booleans()) else None
    options = {"stride": stride, "padding": padding, "output_padding": extra, "groups": groups, "dilation": dilation}
    return x, w, bias, options


@st.composite
def poolings(draw, dilated):
    """(x, options): padding is at most half the kernel, as in PyTorch; the values are distinct."""
    kernel, stride = draw(pairs(1, 3)), draw(st.none() | pairs(1, 4))
    dilation = draw(pairs(1, 2)) if dilated else (1, 1)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    least = [max(1, d * (k - 1) + 1 - p) for k, p, d in zip(kernel, padding, dilation)]  # a pixel for every window
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *[n + draw(st.integers(0, 4)) for n in least])
    values = np.random.default_rng(draw(st.integers(0, 999))).permutation(int(np.prod(shape))).reshape(shape) * 0.1
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    if dilated:
        options["dilation"] = dilation
    return LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](values), options

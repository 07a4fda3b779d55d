"""What Hypothesis draws for a check: images, kernels, windows and whole convolutions, in every memory layout.

    from hypothesis import given
    from minigen import gradcheck
    from minigen.gradcheck.drawing.strategies import images


    @given(images(C=3))
    def test_my_layer(x):
        assert gradcheck(MyLayer(3), x)

Shapes and options shrink to the smallest that fail; values come from a seed and do not shrink.
Wherever a size is asked for (N, C, kh, ...), a strategy of sizes will do.
Elementwise ops: arrays(hypothesis.extra.numpy.array_shapes()) draws any number of axes.
"""

import math

import numpy as np

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        f'minigen.testing: Hypothesis is missing ({error}). Install it: pip install "minigen[test]".'
    ) from None

__all__ = [
    "LAYOUTS",
    "arrays",
    "convolutions",
    "dilations",
    "images",
    "kernels",
    "paddings",
    "pairs",
    "poolings",
    "shapes",
    "strides",
    "transposed_convolutions",
]

FEW, SIDE = st.integers(1, 3), st.integers(1, 5)
CHANNELS = st.tuples(FEW, st.integers(1, 2), st.integers(1, 2))  # groups, and channels in and out of each of them

# ------------------------------------------------------------------------------------------------ memory layouts


def _channels_last(x):
    """Axis 1 varies fastest in memory: (N, C, H, W) stored as (N, H, W, C)."""
    return np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1) if x.ndim > 2 else x.copy()


def _reversed(x):
    """Negative strides."""
    backwards = (slice(None, None, -1),) * x.ndim + (...,)
    return x[backwards].copy()[backwards]


def _strided(x):
    """Every second row and third column of something larger, whose other values would be noticed."""
    steps = ((1,) * x.ndim + (2, 3))[-x.ndim :] if x.ndim > 1 else (3,) * x.ndim
    larger = np.full([n * s for n, s in zip(x.shape, steps)], 1e9).astype(x.dtype)
    every = tuple(slice(None, None, s) for s in steps) + (...,)
    larger[every] = x
    return larger[every]


LAYOUTS = {  # name: function of an array -> the same values with other strides
    "channels first": lambda x: x.copy(),
    "channels last": _channels_last,
    "reversed": _reversed,
    "columns first": lambda x: x.copy(order="F"),
    "strided": _strided,
}

# ------------------------------------------------------------------------------------------------ arrays


def _drawn(draw, value):
    return draw(value) if isinstance(value, st.SearchStrategy) else value


@st.composite
def shapes(draw, *sizes):
    """Shapes; each size a number or a strategy of numbers.

    >>> @given(arrays(shapes(2, st.integers(1, 3))))
    ... def test(x):
    ...     assert gradcheck(lambda x: mg.softmax(x, axis=1), x)
    >>> test()
    """
    return tuple(_drawn(draw, n) for n in sizes)


@st.composite
def arrays(draw, shape, *, dtype=np.float64, layouts=LAYOUTS, distinct=False):
    """Normal numbers, in any memory layout.

    shape: a tuple, or a strategy of tuples.  layouts: names from LAYOUTS.
    distinct: for functions with kinks: values 0.1 apart, in random order, none nearer than 0.025 to a multiple of 0.05.
    So none is near the kink of relu (0) or of clip at ±1, and no two compete for a maximum.

    >>> @given(arrays(shapes(2, st.integers(1, 5)), distinct=True))
    ... def test(x):
    ...     assert gradcheck(mg.relu, x)
    >>> test()
    """
    shape, rng = _drawn(draw, shape), np.random.default_rng(draw(st.integers(0, 999)))
    if distinct:
        n = math.prod(shape)
        x = (0.1 * (rng.permutation(n) - n // 2) + 0.025).reshape(shape)
    else:
        x = rng.standard_normal(shape)
    return LAYOUTS[draw(st.sampled_from(list(layouts)))](np.asarray(x, dtype))


def images(N=FEW, C=FEW, H=SIDE, W=SIDE, **options):
    """Images (N, C, H, W); options as for `arrays`.

    >>> @given(images(C=4, H=st.integers(2, 6), dtype=np.float32))
    ... def test(x):
    ...     assert mg.nn.BatchNorm2d(4)(mg.tensor(x)).shape == x.shape
    >>> test()
    """
    return arrays(shapes(N, C, H, W), **options)


def kernels(O=FEW, C=FEW, kh=FEW, kw=FEW, **options):
    """Weights of a convolution (O, C, kh, kw), C the channels of one group; options as for `arrays`.

    >>> @given(images(C=2, H=3, W=3), kernels(C=2))
    ... def test(x, w):
    ...     assert mg.conv2d(x, w).shape[1] == len(w)
    >>> test()
    """
    return arrays(shapes(O, C, kh, kw), **options)


# ------------------------------------------------------------------------------------------------ windows


def pairs(least, most):
    """(rows, columns), each from `least` to `most`. `most`: a number, or a pair of them.

    >>> @given(images(), pairs(1, 7))
    ... def test(x, size):
    ...     assert mg.interpolate(x, size).shape[2:] == size
    >>> test()
    """
    return st.tuples(*[st.integers(least, m) for m in (most if isinstance(most, tuple) else (most, most))])


def strides(most=3):
    """(rows, columns) that a window advances; from 1.

    >>> @given(images(H=4, W=4), strides())
    ... def test(x, stride):
    ...     assert gradcheck(lambda x: mg.avg_pool2d(x, 2, stride), x, order=1)
    >>> test()
    """
    return pairs(1, most)


def dilations(most=2):
    """(rows, columns) from one value of a kernel to the next; from 1.

    >>> @given(images(C=2, H=5, W=5), kernels(C=2), dilations())
    ... def test(x, w, dilation):
    ...     assert gradcheck(lambda x: mg.conv2d(x, w, dilation=dilation), x, order=1)
    >>> test()
    """
    return pairs(1, most)


def paddings(most=3):
    """(rows, columns) added on each side; from 0. `most`: a number or a pair, such as half the kernel for a pooling.

    >>> @given(images(H=3, W=3), paddings(most=(1, 0)))
    ... def test(x, padding):
    ...     assert gradcheck(lambda x: mg.avg_pool2d(x, (3, 1), padding=padding), x, order=1)
    >>> test()
    """
    return pairs(0, most)


@st.composite
def convolutions(draw, **options):
    """(x, weight, bias, geometry) of a conv2d; bias may be None; options as for `arrays`.

    Windows reach over the border, rows are left unread, kernels exceed the image.

    >>> @given(convolutions())
    ... def test(case):
    ...     x, weight, bias, geometry = case
    ...     assert gradcheck(lambda x: mg.conv2d(x, weight, bias, **geometry), x, order=1)
    >>> test()
    """
    kernel, stride, dilation, padding = draw(pairs(1, 3)), draw(strides()), draw(dilations(3)), draw(paddings())
    groups, C, O = draw(CHANNELS)
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation)]
    size = [st.integers(n, n + 3) for n in least]
    x, w = draw(images(C=groups * C, H=size[0], W=size[1], **options)), draw(kernels(groups * O, C, *kernel, **options))
    bias = draw(st.none() | arrays((groups * O,), **options))
    return x, w, bias, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@st.composite
def transposed_convolutions(draw, **options):
    """(x, weight, bias, geometry) of a conv_transpose2d, with output_padding where stride or dilation allow it.

    bias may be None; options as for `arrays`.

    >>> @given(transposed_convolutions())
    ... def test(case):
    ...     x, weight, bias, geometry = case
    ...     assert gradcheck(lambda x: mg.conv_transpose2d(x, weight, bias, **geometry), x, order=1)
    >>> test()
    """
    kernel, stride, dilation, size = draw(pairs(1, 3)), draw(strides()), draw(dilations()), draw(pairs(1, 3))
    groups, C, O = draw(CHANNELS)
    reach = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(size, stride, dilation, kernel)]
    padding = draw(paddings(tuple((r - 1) // 2 for r in reach)))
    extra = draw(paddings(tuple(max(s, d) - 1 for s, d in zip(stride, dilation))))
    x, w = draw(images(C=groups * C, H=size[0], W=size[1], **options)), draw(kernels(groups * C, O, *kernel, **options))
    bias = draw(st.none() | arrays((groups * O,), **options))
    geometry = {"stride": stride, "padding": padding, "output_padding": extra, "groups": groups, "dilation": dilation}
    return x, w, bias, geometry


@st.composite
def poolings(draw, dilated=False, distinct=True, **options):
    """(x, geometry) of a pooling; padding is at most half the kernel, as PyTorch has it; options as for `arrays`.

    dilated: draw a dilation too, which max_pool2d takes and avg_pool2d does not.
    With dilation or ceil_mode a window may lie in the padding altogether.

    >>> @given(poolings())
    ... def test(case):
    ...     x, geometry = case
    ...     assert gradcheck(lambda x: mg.avg_pool2d(x, **geometry), x, order=1)
    >>> test()
    """
    kernel, stride = draw(pairs(1, 3)), draw(st.none() | strides(4))
    dilation = draw(dilations()) if dilated else (1, 1)
    padding = draw(paddings(tuple(k // 2 for k in kernel)))
    least = [max(1, d * (k - 1) + 1 - p) for k, p, d in zip(kernel, padding, dilation)]  # a pixel for every window
    x = draw(
        images(
            H=st.integers(least[0], least[0] + 4), W=st.integers(least[1], least[1] + 4), distinct=distinct, **options
        )
    )
    geometry = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    return x, geometry | ({"dilation": dilation} if dilated else {})

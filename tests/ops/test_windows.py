"""Convolution and pooling over shapes, strides, paddings, dilations, groups and layouts: value and derivatives."""

import numpy as np
import oracles
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minigen import ops
from minigen.gradcheck import gradcheck
from minigen.gradcheck.drawing.strategies import arrays, convolutions, images, poolings, transposed_convolutions

many, some = settings(max_examples=120, deadline=None), settings(max_examples=40, deadline=None)
close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@given(convolutions())
@many
def test_conv2d_is_the_sum_over_its_windows(case):
    x, w, b, options = case
    close(ops.conv2d(x, w, b, **options), oracles.conv2d(x, w, b, **options))


@given(transposed_convolutions())
@many
def test_conv_transpose2d_scatters_every_pixel(case):
    x, w, b, options = case
    close(ops.conv_transpose2d(x, w, b, **options), oracles.conv_transpose2d(x, w, b, **options))


@given(convolutions())
@some
def test_conv2d_has_the_derivatives_of_differences(case):
    *inputs, options = case
    assert gradcheck(lambda *t: ops.conv2d(*t, **options), *inputs)


@given(transposed_convolutions())
@some
def test_conv_transpose2d_has_the_derivatives_of_differences(case):
    *inputs, options = case
    assert gradcheck(lambda *t: ops.conv_transpose2d(*t, **options), *inputs)


@given(transposed_convolutions())
@many
def test_conv_transpose2d_is_the_adjoint_of_conv2d(case):
    x, w, _, options = case
    y = ops.conv_transpose2d(x, w, **options)
    z = np.random.default_rng(0).standard_normal(y.shape)
    kept = {k: v for k, v in options.items() if k != "output_padding"}
    back = oracles.conv2d(z, w, **kept)[:, :, : x.shape[2], : x.shape[3]]  # output_padding may leave room for one more
    np.testing.assert_allclose((y * z).sum(), (x * back).sum(), rtol=1e-9, atol=1e-9)


@given(poolings(dilated=True))
@many
def test_max_pool2d_takes_the_largest_and_tells_its_place(case):
    x, options = case
    assume(all(oracles.windows(x, *_by_position(options))[0].values()))
    y, places = ops.max_pool2d(x, **options, return_indices=True)
    value, place = oracles.max_pool2d(x, **options, return_indices=True)
    close(y, value)
    assert np.array_equal(places.data, place)


def _by_position(options):
    return [options.get(k, 1) for k in ("kernel_size", "stride", "padding", "dilation", "ceil_mode")]


@given(poolings(dilated=False), st.booleans(), st.none() | st.integers(1, 7))
@many
def test_avg_pool2d_is_the_mean_of_its_windows(case, count_include_pad, divisor):
    x, options = case
    options |= {"count_include_pad": count_include_pad, "divisor_override": divisor}
    close(ops.avg_pool2d(x, **options), oracles.avg_pool2d(x, **options))


@given(poolings(dilated=True))
@some
def test_max_pool2d_has_the_derivatives_of_differences(case):
    x, options = case
    assume(all(oracles.windows(x, *_by_position(options))[0].values()))
    assert gradcheck(lambda x: ops.max_pool2d(x, **options), x)


@given(poolings(dilated=False), st.booleans())
@some
def test_avg_pool2d_has_the_derivatives_of_differences(case, count_include_pad):
    x, options = case
    assert gradcheck(lambda x: ops.avg_pool2d(x, count_include_pad=count_include_pad, **options), x)


@given(poolings(dilated=False))
@some
def test_unpooling_puts_back_what_pooling_took(case):
    x, options = case
    options.pop("ceil_mode")
    y, places = ops.max_pool2d(x, **options, return_indices=True)
    again = ops.max_unpool2d(y, places, **options, output_size=x.shape)
    assert set(again.ravel().tolist()) <= {0.0, *x.ravel().tolist()}
    close(again, oracles.max_unpool2d(y, places.data, **options, output_size=x.shape[2:]))
    assert gradcheck(lambda y: ops.max_unpool2d(y, places, **options, output_size=x.shape), y)


@given(
    st.data(),
    st.tuples(*[st.integers(1, 4)] * 2),
    st.tuples(*[st.integers(1, 7)] * 2),
    st.sampled_from(["nearest", "bilinear"]),
    st.booleans(),
)
@many
def test_interpolate_to_any_size(data, before, after, mode, align_corners):
    x = data.draw(arrays((1, 2, *before)))
    options = {"size": after, "mode": mode, "align_corners": align_corners and mode == "bilinear"}
    close(ops.interpolate(x, **options), oracles.interpolate(x, **options))
    assert gradcheck(lambda x: ops.interpolate(x, **options), x)


@given(st.data(), st.sampled_from(["constant", "reflect", "replicate", "circular"]))
@many
def test_pad_on_any_side(data, mode):
    x = data.draw(images(1, 2, st.integers(2, 4), st.integers(2, 4)))
    low = -1 if mode == "constant" else 0
    most = {"reflect": -1, "circular": 0}.get(mode, 2)
    widths = [data.draw(st.integers(low, n + most)) for n in (x.shape[3], x.shape[3], x.shape[2], x.shape[2])]
    assume(x.shape[3] + widths[0] + widths[1] > 0 and x.shape[2] + widths[2] + widths[3] > 0)
    close(ops.pad(x, widths, mode), oracles.pad(x, widths, mode))
    assert gradcheck(lambda x: ops.pad(x, widths, mode), x)

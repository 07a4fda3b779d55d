"""The public Hypothesis strategies: what they draw, that their examples run, and what is said without Hypothesis."""

import doctest
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

import minigen as mg
from minigen.gradcheck.drawing import strategies as s

LITTLE = settings(max_examples=50, deadline=None)
FIND = settings(max_examples=2000, deadline=None, database=None, derandomize=True)


@pytest.mark.parametrize("name", s.LAYOUTS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 2, 3, 2), (2, 0, 3)])
def test_a_layout_moves_values_in_memory_only(name, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    y = s.LAYOUTS[name](x)
    assert isinstance(y, np.ndarray)
    assert y.dtype == x.dtype
    assert y.shape == shape
    assert np.array_equal(x, y)
    assert not np.shares_memory(x, y)


def test_the_layouts_of_an_image_are_all_different():
    x = np.zeros((2, 3, 4, 5))
    assert len({layout(x).strides for layout in s.LAYOUTS.values()}) == len(s.LAYOUTS)
    assert s.LAYOUTS["channels last"](x).transpose(0, 2, 3, 1).flags.c_contiguous


@given(s.arrays(s.shapes(st.integers(0, 4), 5, st.integers(1, 3)), distinct=True))
@LITTLE
def test_distinct_values_keep_away_from_each_other_and_from_kinks(x):
    apart = np.diff(np.sort(x.ravel()))
    assert (apart > 0.0999).all()
    assert (abs(x / 0.05 - np.round(x / 0.05)) > 0.4999).all()  # halfway between multiples of 0.05; 0.5 less rounding


@given(s.images(N=1, C=st.integers(2, 3), H=4, W=st.just(6), dtype=np.float32, layouts=["channels last"]))
@LITTLE
def test_an_image_has_what_was_asked_for(x):
    assert (x.shape[0], *x.shape[2:]) == (1, 4, 6)
    assert x.shape[1] in (2, 3)
    assert x.dtype == np.float32
    assert x.transpose(0, 2, 3, 1).flags.c_contiguous


@given(s.convolutions(dtype=np.float32))
@LITTLE
def test_every_convolution_can_be_done(case):
    x, w, bias, geometry = case
    assert mg.conv2d(x, w, bias, **geometry).dtype == np.float32


@given(s.transposed_convolutions(dtype=np.float32))
@LITTLE
def test_every_transposed_convolution_can_be_done(case):
    x, w, bias, geometry = case
    assert mg.conv_transpose2d(x, w, bias, **geometry).dtype == np.float32


@given(s.poolings(), s.poolings(dilated=True, dtype=np.float32))
@LITTLE
def test_every_pooling_can_be_done(case, dilated):
    x, geometry = case
    assert mg.avg_pool2d(x, **geometry).size
    x, geometry = dilated
    assert mg.max_pool2d(x, **geometry).dtype == np.float32


@pytest.mark.parametrize(
    ("strategy", "case"),
    [
        (s.convolutions(), lambda c: any(k > n for k, n in zip(c[1].shape[2:], c[0].shape[2:]))),
        (s.convolutions(), lambda c: c[3]["groups"] == 3 and c[2] is not None),
        (s.convolutions(), lambda c: c[3]["stride"][0] > c[1].shape[2]),
        (s.transposed_convolutions(), lambda c: min(c[3]["output_padding"]) > 0),
        (s.poolings(), lambda c: c[1]["ceil_mode"] and c[1]["stride"] is None),
        (s.poolings(dilated=True), lambda c: max(c[1]["dilation"]) > 1 and max(c[1]["padding"]) > 0),
        (s.kernels(), lambda w: w.strides[1] == w.itemsize and min(w.shape) > 1),
    ],
    ids=[
        "a kernel that exceeds the image",
        "groups and a bias",
        "rows that no window reads",
        "output_padding",
        "ceil_mode",
        "dilation and padding",
        "channels last",
    ],
)
def test_what_is_rare_is_drawn_too(strategy, case):
    assert case(find(strategy, case, settings=settings(FIND, phases=[Phase.generate])))  # no shrinking


def test_paddings_keep_to_the_largest_of_each_axis():
    with pytest.raises(NoSuchExample):
        find(s.paddings(most=(1, 0)), lambda p: p[0] > 1 or p[1] > 0, settings=FIND)


def test_a_failure_shrinks_to_the_smallest_image_in_the_plainest_layout():
    x = find(s.images(), lambda x: x.shape[2] > 2, settings=FIND)
    assert x.shape == (1, 1, 3, 1)
    assert x.flags.c_contiguous


def test_the_examples_in_the_docstrings_run():
    names = {
        "mg": mg,
        "gradcheck": mg.gradcheck,
        "given": lambda *a: lambda f: settings(LITTLE, max_examples=10)(given(*a)(f)),
    }
    found = doctest.testmod(s, extraglobs=names)
    assert found.failed == 0
    assert found.attempted >= 2 * (len(s.__all__) - 1)  # a test and its call for each, but for LAYOUTS


def test_without_hypothesis_minigen_works_and_the_strategies_say_what_to_install():
    program = """if True:
        import sys
        sys.modules["hypothesis"] = None  # as where it is not installed: importing it fails
        import minigen
        try:
            import minigen.gradcheck.drawing.strategies
        except ImportError as error:
            print(error)"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert run.stdout.startswith("minigen.testing: Hypothesis is missing")
    assert run.stdout.endswith('Install it: pip install "minigen[test]".\n')

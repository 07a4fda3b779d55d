"""Pictures of a wrong gradient: how an array of any shape is laid out, and what the PNG shows of it."""

from types import SimpleNamespace

import numpy as np
import pytest

from minigen.gradcheck import gradcheck
from minigen.gradcheck.showing.pictures import Fold, error_map, panels, picture
from minigen.ops import exp

SHAPES = [
    (),
    (1,),
    (7,),
    (3, 4),
    (5, 1),
    (2, 3, 4),
    (8, 5, 5),
    (2, 3, 6, 5),
    (4, 1, 9, 9),
    (2, 1, 3, 2, 2),
    (1, 1, 1, 1),
]


def numbers(shape):
    return np.random.default_rng(0).normal(size=shape)


# ------------------------------------------------------------------------------------------------ the fold


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_element_has_a_place_of_its_own_and_lies_there(shape):
    fold, array = Fold(shape), numbers(shape)
    places = [fold.place(i) for i in range(array.size)]
    assert len(set(places)) == array.size
    plane = fold(array)
    assert [plane[p] for p in places] == array.ravel().tolist()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_is_no_element_is_masked(shape):
    plane = Fold(shape)(numbers(shape))
    assert np.ma.count(plane) == np.prod(shape, dtype=int)


def test_images_with_channels_have_a_row_for_each_image_and_a_column_for_each_channel():
    fold = Fold((2, 3, 6, 5))
    assert (fold.rows, fold.columns) == (2, 3)
    assert (fold.height, fold.width) == (6 + 1 + 6, 5 + 1 + 5 + 1 + 5)
    top, left = fold.place(np.ravel_multi_index((1, 2, 4, 3), (2, 3, 6, 5)))
    assert (top, left) == (7 + 4, 12 + 3)


def test_one_row_of_images_is_folded_to_nearly_a_square():
    fold = Fold((16, 1, 8, 8))
    assert (fold.rows, fold.columns) == (4, 4)


def test_tiles_are_captioned_with_their_leading_indices():
    assert [c for _, c in Fold((2, 3, 6, 5)).captions()] == ["0, 0", "0, 1", "0, 2", "1, 0", "1, 1", "1, 2"]


def test_a_single_tile_and_tiles_too_many_to_read_have_no_captions():
    assert Fold((6, 5)).captions() == []
    assert Fold((16, 16, 2, 2)).captions() == []


# ------------------------------------------------------------------------------------------------ the picture


def three(numeric, analytic):
    """The axes of numeric, analytic and error."""
    return [a for a in panels("a title", numeric, analytic).axes if a.get_title()]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_gives_three_panels_of_readable_size(shape):
    figure = panels("a title", numbers(shape), numbers(shape))
    titles = [a.get_title() for a in figure.axes if a.get_title()]
    assert titles == ["numeric", "analytic (VJP)", "error: analytic − numeric"]
    width, height = figure.get_size_inches()
    assert 4 < width < 13
    assert 2 < height < 18


def test_numeric_and_analytic_share_a_scale_around_0_and_the_error_has_its_own():
    x = numbers((6, 8))
    scales = [a.images[0].get_clim() for a in three(x, 1.5 * x)]
    largest = abs(x).max()
    np.testing.assert_allclose(scales, [(-k * largest, k * largest) for k in (1.5, 1.5, 0.5)])


def test_bars_share_a_scale_around_0_too():
    low, high = np.transpose([a.get_ylim() for a in three(numbers(7), 2 * numbers(7))])
    np.testing.assert_array_equal(low, -high)
    assert high[0] == high[1] > high[2]


def test_the_error_is_analytic_minus_numeric():
    x = numbers((6, 8))
    np.testing.assert_array_equal(three(x, 3 * x)[2].images[0].get_array(), 3 * x - x)


def test_the_worst_element_is_framed_in_all_three_panels_and_named_in_the_title():
    x = numbers((2, 3, 6, 5))
    wrong = x.copy()
    wrong[1, 2, 4, 3] += 9
    figure = panels("a title", x, wrong)
    frames = [{p.get_xy() for p in a.patches} for a in figure.axes if a.get_title()]
    row, column = Fold(x.shape).place(np.ravel_multi_index((1, 2, 4, 3), x.shape))
    assert frames == [{(column - 0.5, row - 0.5)}] * 3
    assert "a title\nworst at [1, 2, 4, 3]: numeric " in figure.get_suptitle()


def crosses(axes):
    """Where crosses are drawn."""
    return [tuple(map(int, p)) for line in axes.lines if line.get_marker() == "x" for p in line.get_xydata()]


def test_what_is_not_finite_is_crossed_and_spoils_no_scale():
    x, wrong = numbers((4, 5)), numbers((4, 5))
    wrong[0, 0], wrong[2, 3] = np.nan, np.inf
    axes = three(x, wrong)
    assert [crosses(a) for a in axes] == [[], [(0, 0), (3, 2)], [(0, 0), (3, 2)]]
    assert all(np.isfinite(a.images[0].get_clim()).all() for a in axes)


def test_a_bar_that_is_not_finite_is_crossed():
    wrong = numbers(7)
    wrong[4] = np.nan
    assert [crosses(a) for a in three(numbers(7), wrong)] == [[], [(4, 0)], [(4, 0)]]


def test_it_is_a_png_and_the_same_arrays_give_the_same_bytes():
    png = error_map("t", numbers((3, 4)), 2 * numbers((3, 4)))
    assert png.startswith(b"\x89PNG")
    assert png == error_map("t", numbers((3, 4)), 2 * numbers((3, 4)))


def test_nothing_but_nan_gives_a_picture_too():
    assert error_map("", np.full((3, 4), np.nan), np.full((3, 4), np.nan)).startswith(b"\x89PNG")


# ------------------------------------------------------------------------------------------------ of a report


def verdict_of(f, *inputs):
    report = gradcheck(f, *inputs, raise_on_failure=False)
    assert not report
    return SimpleNamespace(target=SimpleNamespace(name="f"), report=report)


def test_the_worst_input_of_a_report_is_shown(monkeypatch):
    from minigen.autograd import op
    from minigen.gradcheck.showing import pictures

    @op(x=lambda g, y: g * y, y=lambda g, x: g * x * 1.5)
    def times(x, y):
        return x * y

    shown = []
    monkeypatch.setattr(
        pictures, "error_map", lambda title, numeric, analytic: shown.append((title, numeric, analytic))
    )
    x, y = numbers((3, 4)), numbers((3, 4)) + 1
    picture(verdict_of(times, x, y))
    ((title, numeric, analytic),) = shown
    assert title == "f: constant factor; the first derivative with respect to y"
    np.testing.assert_allclose(analytic, 1.5 * numeric, rtol=1e-5)  # the accuracy of differences


def test_a_fault_found_before_any_comparison_has_no_picture():
    with np.errstate(over="ignore"):
        assert picture(verdict_of(exp, np.full((2, 3), 1e4))) is None

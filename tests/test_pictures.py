"""Grids of images: their range, their size, and what lies beside what."""

import numpy as np
import pytest
from PIL import Image

from minigen.pictures import grid, loss_plot, pixels_of, save_grid, with_reconstructions


def test_pixels_of_maps_the_range_of_the_model_to_bytes_and_clips():
    x = np.array([-1.0, 0.0, 1.0, 7.0, -9.0]).reshape(5, 1, 1, 1)
    assert pixels_of(x, (-1, 1)).ravel().tolist() == [0, 128, 255, 255, 0]


@pytest.mark.parametrize(
    ("n", "columns", "size"), [(1, None, (1, 1)), (5, None, (2, 3)), (64, None, (8, 8)), (5, 2, (3, 2))]
)
def test_a_grid_has_room_for_all_images(n, columns, size):
    picture = grid(np.full((n, 3, 4, 1), 255, np.uint8), columns, gap=2, shade=0)
    assert picture.shape == (size[0] * 5 + 2, size[1] * 6 + 2, 1)
    assert (picture == 255).sum() == n * 12


def test_a_colour_grid_is_saved_in_colour(tmp_path):
    save_grid(np.zeros((4, 8, 8, 3), np.uint8), tmp_path / "a.png", scale=1)
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (22, 22))


@pytest.mark.parametrize("n", [1, 5, 8, 20])
def test_reconstructions_lie_below_their_images_in_a_grid(n):
    x = np.arange(1, n + 1, dtype=np.uint8).reshape(n, 1, 1, 1)
    rows = with_reconstructions(x, x + 100, columns=4)[:, 0, 0, 0].reshape(-1, 4)
    assert rows[::2].ravel()[:n].tolist() == list(range(1, n + 1))
    assert (rows[1::2] - rows[::2] == 100)[rows[::2] > 0].all()
    assert not rows[::2].ravel()[n:].any()


def test_the_loss_plot_takes_rows_with_gaps(tmp_path):
    loss_plot(
        [{"step": 1, "D/a": 2.0}, {"step": 2, "D/a": 1.0, "G/b": 3.0, "images/s": 9.0}], tmp_path / "a.png", "title"
    )
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (960, 540)

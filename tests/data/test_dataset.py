import subprocess
import sys

import numpy as np
import pytest

from minigen.data import DataError, Dataset, datasets, load


def small(n=10, size=8, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n, size, size, channels), dtype=np.uint8)
    return Dataset.from_pixels(pixels, np.arange(n) % 2, ("even", "odd"), "small")


def test_images_are_logically_nchw_over_channels_last_memory():
    dataset = small()
    assert dataset.images.shape == (10, 3, 8, 8)
    assert dataset.images.transpose(0, 2, 3, 1).flags.c_contiguous
    assert dataset.subset([1, 2]).images.transpose(0, 2, 3, 1).flags.c_contiguous


def test_subset_keeps_images_beside_their_labels():
    dataset = small().subset([7, 2])
    assert np.array_equal(dataset.images, small().images[[7, 2]])
    assert dataset.labels.tolist() == [1, 0]


def test_split_parts_are_disjoint_and_complete_and_follow_the_seed():
    pixels = np.broadcast_to(np.arange(10, dtype=np.uint8)[:, None, None], (10, 8, 8))
    dataset = Dataset.from_pixels(pixels, np.zeros(10), ("a",), "numbers")
    rest, held_out = dataset.split(3, seed=1)
    numbers = [part.images[:, 0, 0, 0].tolist() for part in (rest, held_out)]
    assert len(held_out) == 3 and sorted(numbers[0] + numbers[1]) == list(range(10))
    assert dataset.split(3, seed=1)[1].images.tolist() == held_out.images.tolist()
    assert dataset.split(3, seed=2)[1].images.tolist() != held_out.images.tolist()


def test_grey_to_colour_and_back_changes_nothing():
    grey = small(channels=1)
    assert np.array_equal(grey.resized(channels=3).resized(channels=1).images, grey.images)


def test_colour_to_grey_is_luminance():
    pixels = np.zeros((3, 4, 4, 3), np.uint8)
    pixels[[0, 1, 2], :, :, [0, 1, 2]] = 200  # one image red, one green, one blue
    grey = Dataset.from_pixels(pixels, np.zeros(3), ("a",), "primaries").resized(channels=1)
    assert grey.images[:, 0, 0, 0].tolist() == [60, 117, 23]  # 200 · (0.299, 0.587, 0.114)


def test_resizing_crops_the_centre_of_an_oblong_image():
    pixels = np.zeros((1, 8, 16, 1), np.uint8)
    pixels[:, :, 4:12] = 255  # exactly the central square
    dataset = Dataset.from_pixels(pixels, [0], ("a",), "oblong").resized(4)
    assert dataset.shape == (1, 4, 4) and dataset.images[0, 0, :, 1:3].min() == 255
    assert dataset.images.min() > 200  # the edge blends with a few black neighbours at most


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"images": np.zeros((2, 3, 4, 4))}, "uint8"),
        ({"images": np.zeros((2, 4, 4, 3), np.uint8)}, "C = 1 or 3"),
        ({"labels": np.zeros(3, np.int64)}, "one int64 label per image; got int64 (3,) labels for 2 images"),
        ({"labels": np.array([0, 2])}, "labels in 0 .. 1; got 0 .. 2"),
        ({"labels": np.array([-1, 0])}, "labels in 0 .. 1; got -1 .. 0"),
    ],
)
def test_fields_that_do_not_fit_together_are_refused(fields, message):
    good = {"images": np.zeros((2, 1, 4, 4), np.uint8), "labels": np.array([0, 1]), "classes": ("a", "b")}
    with pytest.raises(DataError) as error:
        Dataset(**{**good, **fields}, name="bad")
    assert message in str(error.value)


@pytest.mark.parametrize("size", [0, -1, 3, 10**6, 28.0, "28"])
def test_absurd_sizes_are_refused_before_any_work(size):
    with pytest.raises(DataError, match="expected size, in pixels, between 4 and 4096"):
        load("glyphs", size=size)


def test_two_channels_are_refused():
    with pytest.raises(DataError, match="expected channels 1"):
        load("glyphs", channels=2)


def test_unknown_name_suggests_the_nearest_and_lists_all():
    with pytest.raises(DataError) as error:
        load("mnits")
    assert "no data set of that name" in str(error.value) and "Did you mean 'mnist'?" in str(error.value)
    assert all(name in str(error.value) for name in datasets())


def test_unknown_split_is_refused():
    with pytest.raises(DataError, match='split "train" or "test"; got \'valid\''):
        load("mnist", split="valid")


def test_importing_data_imports_neither_matplotlib_nor_pillow():
    code = "import sys, minigen.data; print({'matplotlib', 'PIL', 'tqdm', 'urllib.request'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"

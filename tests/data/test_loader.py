import json

import numpy as np
import pytest

from minigen.backend import Generator, namespace, use
from minigen.data import DataError, Dataset, Loader, horizontal_flip, random_shift


def numbered(n=20, channels=3):
    """Image i is grey level i in its first row and column, i + 100 elsewhere; its label is i."""
    pixels = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None] + 100, (n, 4, 5, channels)).copy()
    pixels[:, 0] -= 100
    pixels[:, :, 0] = pixels[:, :1, 0]
    return Dataset.from_pixels(pixels, np.arange(n), [str(i) for i in range(n)], "numbered")


def labels(batches):
    return [y.tolist() for _, y in batches]


def flat(batches):
    return [i for batch in labels(batches) for i in batch]


def flip_and_shift(images, rng):
    return random_shift(1)(horizontal_flip(images, rng), rng)


def test_batches_are_float32_nchw_over_channels_last_memory_with_their_labels():
    for x, y in Loader(numbered(), 6, rng=0).epoch():
        assert x.shape == (6, 3, 4, 5) and x.dtype == np.float32 and y.dtype == np.int64
        assert x.transpose(0, 2, 3, 1).flags.c_contiguous
        assert np.array_equal(np.round(x[:, 0, 0, 0] * 255), y)


@pytest.mark.parametrize("augment", [horizontal_flip, random_shift(2)])
def test_augmented_batches_have_channels_last_memory_too(augment):
    x, _ = next(Loader(numbered(), 6, rng=0, augment=augment))
    assert x.shape == (6, 3, 4, 5) and x.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("pixel_range", [(0, 1), (-1, 1)])
def test_black_and_white_are_the_ends_of_the_pixel_range(pixel_range):
    pixels = np.repeat(np.array([0, 255], np.uint8), 16).reshape(2, 4, 4)
    loader = Loader(Dataset.from_pixels(pixels, [0, 1], "ab", "ends"), 2, shuffle=False, pixel_range=pixel_range)
    x, _ = next(loader)
    assert (x[0].min(), x[1].max()) == pixel_range


def batches_into(loader, n):
    """n batches, each written into arrays that were there; what comes back is these."""
    for _ in range(n):
        ((b, c, h, w), dtype), labels = loader.coming()
        empty = namespace(loader.pixels).empty
        into = empty((b, h, w, c), dtype).transpose(0, 3, 1, 2), empty(*labels)
        given = loader.next(into=into)
        assert all(a is b for a, b in zip(given, into, strict=True))
        yield into


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("augment", [None, flip_and_shift])
def test_batches_written_into_given_arrays_are_the_same_to_the_last_short_one_and_beyond(augment, drop_last):
    one, other = (Loader(numbered(), 6, rng=1, augment=augment, drop_last=drop_last) for _ in range(2))
    for (x, y), (given_x, given_y) in zip([next(one) for _ in range(9)], batches_into(other, 9)):
        assert np.array_equal(x, given_x) and np.array_equal(y, given_y)
    assert one.state() == other.state()


def test_what_comes_is_described():
    loader = Loader(numbered(), 6, rng=1, drop_last=False)
    for _ in range(9):
        described, batch = loader.coming(), next(loader)
        assert described == tuple((a.shape, a.dtype) for a in batch)


def test_without_labels_there_are_images_only():
    one, other = Loader(numbered(), 6, rng=1), Loader(numbered(), 6, rng=1)
    assert other.coming(labels=False) == one.coming()[:1]
    (x,) = other.next(labels=False)
    assert np.array_equal(x, next(one)[0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixel_range", [(0, 1), (-1, 1)])
@pytest.mark.parametrize("augment", [None, flip_and_shift])
def test_on_the_gpu_the_batches_have_the_same_bits(augment, pixel_range, channels, fake_cupy):
    options = {"rng": 3, "pixel_range": pixel_range, "augment": augment, "drop_last": False}
    here = [next(loader) for loader in [Loader(numbered(channels=channels), 6, **options)] for _ in range(9)]
    use("cupy")
    loader = Loader(numbered(channels=channels), 6, **options)
    for i, (x, y) in enumerate(here):
        there = next(loader) if i % 2 else next(batches_into(loader, 1))
        assert x.tobytes() == there[0].get().tobytes() and x.strides == there[0].strides
        assert np.array_equal(y, there[1].get())


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own():
    loader = Loader(numbered(), 5, rng=0)
    first, second = flat(loader.epoch()), flat(loader.epoch())
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second and first != list(range(20))


def test_without_shuffling_the_order_is_the_data_sets_own():
    assert labels(Loader(numbered(6), 3, shuffle=False).epoch()) == [[0, 1, 2], [3, 4, 5]]


def test_the_last_short_batch_is_dropped_or_kept_as_asked():
    dropped, kept = Loader(numbered(), 6), Loader(numbered(), 6, drop_last=False)
    assert [len(y) for _, y in dropped.epoch()] == [6, 6, 6] and len(dropped) == 3
    assert [len(y) for _, y in kept.epoch()] == [6, 6, 6, 2] and len(kept) == 4


def test_iteration_goes_on_over_epochs_for_ever():
    loader = Loader(numbered(), 10, rng=0)
    assert sorted(flat(next(loader) for _ in range(6))) == sorted(list(range(20)) * 3)


@pytest.mark.parametrize("augment", [None, flip_and_shift])
@pytest.mark.parametrize("stop", range(9))  # three epochs of four batches: at their ends, starts and middles
def test_a_stopped_loader_goes_on_with_the_same_bits(stop, augment):
    loader = Loader(numbered(), 5, rng=3, augment=augment)
    for _ in range(stop):
        next(loader)
    state = json.loads(json.dumps(loader.state()))
    expected = [next(loader) for _ in range(8)]
    resumed = Loader(numbered(), 5, rng=99, augment=augment)
    next(resumed)
    resumed.restore(state)
    for (x, y), (resumed_x, resumed_y) in zip(expected, [next(resumed) for _ in range(8)]):
        assert np.array_equal(x, resumed_x) and np.array_equal(y, resumed_y)


def test_a_stopped_epoch_ends_where_it_would_have_ended():
    loader = Loader(numbered(), 5, rng=3)
    next(loader), next(loader), next(loader)
    resumed = Loader(numbered(), 5, rng=0)
    resumed.restore(loader.state())
    assert labels(resumed.epoch()) == labels(loader.epoch()) and resumed.position == 4


def test_the_state_is_small_however_many_images_there_are():
    pixels = np.zeros((20_000, 4, 4), np.uint8)
    loader = Loader(Dataset.from_pixels(pixels, np.zeros(20_000), ("a",), "many"), 5)
    assert len(json.dumps(loader.state())) < 1000


def test_a_state_of_another_data_set_is_refused():
    state = {**Loader(numbered(), 5).state(), "position": 5}
    with pytest.raises(DataError, match="position within the 4 batches of an epoch; got 5"):
        Loader(numbered(), 5).restore(state)


def test_horizontal_flip_mirrors_about_half_and_leaves_the_rest():
    images = np.random.default_rng(0).integers(0, 256, (400, 4, 5, 3), dtype=np.uint8)
    before = images.copy()
    flipped = horizontal_flip(images, Generator(0))
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    assert np.array_equal(mirrored, ~(flipped == images).all((1, 2, 3)))
    assert 150 < mirrored.sum() < 250 and np.array_equal(images, before)


def test_random_shift_moves_each_image_by_up_to_its_limit_and_repeats_the_edge():
    images = np.random.default_rng(0).integers(0, 256, (300, 6, 7, 1), dtype=np.uint8)
    seen = set()
    for image, shifted in zip(images, random_shift(2)(images, Generator(0))):
        moves = {
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if np.array_equal(shifted, image[np.clip(np.arange(6) + dy, 0, 5)][:, np.clip(np.arange(7) + dx, 0, 6)])
        }
        assert len(moves) == 1
        seen |= moves
    assert len(seen) == 25


@pytest.mark.parametrize("batch_size", [0, -1, 21, 2.5])
def test_a_batch_size_that_cannot_be_filled_is_refused(batch_size):
    with pytest.raises(DataError, match="batch_size between 1 and 20, the number of images; got"):
        Loader(numbered(), batch_size)


def test_an_empty_pixel_range_is_refused():
    with pytest.raises(DataError, match=r"low < high; got \(1, 0\)"):
        Loader(numbered(), 5, pixel_range=(1, 0))

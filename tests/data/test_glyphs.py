import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from minigen.data import DataError, load
from minigen.data.glyphs import DIGITS, LETTERS, generate, load_glyphs


@pytest.fixture(scope="module")
def glyphs():
    return generate(4000)


def test_same_seed_makes_the_same_images(glyphs):
    assert np.array_equal(generate(600).images, glyphs.images[:600])


def test_seeds_and_splits_make_different_images(glyphs):
    for other in (generate(250, seed=1), generate(250, split="test")):
        assert not (other.images == glyphs.images[:250]).all((1, 2, 3)).any()


def test_number_of_threads_and_of_images_does_not_change_an_image(glyphs):
    alone = generate(1001, threads=1)  # ends within a block
    assert np.array_equal(alone.images, glyphs.images[:1001])
    assert np.array_equal(alone.labels, glyphs.labels[:1001])


@pytest.mark.parametrize("blas_threads", [1, 2])
def test_number_of_blas_threads_does_not_change_an_image(blas_threads, glyphs):
    with threadpool_limits(blas_threads, user_api="blas"):
        assert np.array_equal(generate(1000).images, glyphs.images[:1000])


def test_a_larger_size_shows_the_same_characters(glyphs):
    large = generate(250, size=56)
    halved = large.images[:, 0].reshape(-1, 28, 2, 28, 2).mean((2, 4))
    small = glyphs.images[:250, 0].astype(float)
    assert np.array_equal(large.labels, glyphs.labels[:250])
    # Mean absolute difference in grey levels: edges fade over more of the picture at 28x28, and nothing moves.
    assert np.abs(halved - small).mean() < 5
    assert np.abs(halved - small[::-1]).mean() > 30


def test_mean_spread_and_ink_are_those_of_mnist_within_a_tenth_or_so(glyphs):
    pixels = glyphs.images / 255
    assert pixels.mean() == pytest.approx(0.1307, abs=0.02)
    assert pixels.std() == pytest.approx(0.3081, abs=0.02)
    assert (pixels > 0).mean() == pytest.approx(0.191, abs=0.04)


@pytest.mark.parametrize("size", [28, 32, 64])
def test_no_stroke_is_cut_by_the_border(size):
    images = generate(1000, size=size).images[:, 0]
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    assert (border.max(1) > 64).mean() == 0 and (border.max(1) > 0).mean() < 0.005


def test_characters_are_centred_by_mass_and_fill_the_frame_as_in_mnist(glyphs):
    images = glyphs.images[:, 0].astype(float)
    mass = images.sum((1, 2))
    for axis in (1, 2):
        centre = (images.sum(3 - axis) * np.arange(28)).sum(1) / mass - 13.5
        assert abs(centre.mean()) < 0.2 and centre.std() < 1  # pixels
    inked = images > 127
    longer = np.maximum(inked.any(1).sum(1), inked.any(2).sum(1))
    assert 17 < longer.mean() < 21 and longer.min() >= 13 and longer.max() <= 25  # MNIST: 20


def test_every_class_is_there_about_equally_often(glyphs):
    assert glyphs.classes == tuple(DIGITS + LETTERS)
    counts = np.bincount(glyphs.labels, minlength=36)
    assert counts.min() > 70 and counts.max() < 160  # 111 ± 10.4 expected: within four standard deviations or so


def test_images_of_a_class_vary_and_classes_can_be_told_apart(glyphs):
    """Nearest class mean, fitted on half: far above the 1 in 36 of chance, and below what copies would score."""
    x = glyphs.images.reshape(len(glyphs), -1) / 255
    half = len(x) // 2
    means = np.stack([x[:half][glyphs.labels[:half] == c].mean(0) for c in range(36)])
    distance = (means**2).sum(1) - 2 * x[half:] @ means.T
    accuracy = (distance.argmin(1) == glyphs.labels[half:]).mean()
    assert 0.5 < accuracy < 0.97


def test_load_gives_all_36_characters_or_the_digits_and_keeps_them(tmp_path, monkeypatch, files_in):
    monkeypatch.setattr("minigen.data.glyphs.COUNTS", {"train": 300, "test": 100})
    assert load().classes == tuple(DIGITS + LETTERS) and len(load()) == 300
    digits = load("digits", "test", size=32, channels=3)
    assert digits.classes == tuple(DIGITS) and digits.images.shape == (100, 3, 32, 32)
    assert len(files_in(tmp_path)) == 2  # glyphs train, digits test
    monkeypatch.setattr("minigen.data.glyphs.generate", None)  # from here on, only the cache can answer
    assert len(load()) == 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "positive number of images; got 0"),
        ({"count": 10, "characters": "AA"}, "distinct characters; got 'AA'"),
        ({"count": 10, "characters": ""}, "distinct characters; got ''"),
        ({"count": 10, "split": "valid"}, 'split "train" or "test"; got \'valid\''),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(DataError) as error:
        generate(**arguments)
    assert message in str(error.value)


def test_any_number_may_be_asked_for():
    assert len(load_glyphs(DIGITS, count=7)) == 7

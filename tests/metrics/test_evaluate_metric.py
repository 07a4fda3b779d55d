"""What a model measures of itself: means over all images whatever the batches, and nothing disturbed."""

import numpy as np
import pytest
from training_cases import images, make

from minigen.metrics import evaluate, pca_error
from minigen.models import SingleObjective
from minigen.nn import Dropout


class Brightness(SingleObjective):
    """Measures the sum of all pixels; notes the batches it is shown."""

    def __init__(self, shape):
        super().__init__(shape)
        self.drop, self.seen = Dropout(0.5, rng=self.rng), []

    def measure(self, x, y):
        assert not self.training
        self.rng.normal((3,))
        self.seen.append(len(y))
        return {"brightness": (x.sum(), "per image"), "class": (y.sum(), "of them")}


def test_the_mean_is_over_images_though_the_last_batch_is_smaller():
    model, data = Brightness((1, 12, 12)), images(23)
    result = evaluate(model, data, batch_size=10)
    assert model.seen == [10, 10, 3]
    assert result["brightness"] == (pytest.approx(data.images.sum() / 255 / 23, rel=1e-5), "per image")
    assert result["class"] == (data.labels.mean(), "of them")


def test_a_data_set_smaller_than_a_batch_is_one_batch():
    model = Brightness((1, 12, 12))
    evaluate(model, images(5))
    assert model.seen == [5]


def test_mode_and_random_numbers_go_on_as_if_nothing_had_been_measured():
    model = Brightness((1, 12, 12))
    state = model.rng.state()
    evaluate(model, images(5))
    assert model.training
    assert model.drop.training
    assert model.rng.state() == state
    evaluate(model.eval(), images(5))
    assert not model.training


def test_mode_and_random_numbers_are_restored_after_an_error():
    model = Brightness((1, 12, 12))
    state = model.rng.state()
    measure = model.measure

    def broken(x, y):
        measure(x, y)
        raise KeyError

    model.measure = broken
    with pytest.raises(KeyError):
        evaluate(model, images(5))
    assert model.training
    assert model.rng.state() == state


def test_a_measurement_can_be_repeated():
    """Random numbers go on from the same place, so a VAE's estimate is the same each time."""
    model, data = make("vae dense"), images(10)
    assert evaluate(model, data) == evaluate(model, data)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_the_pca_error_is_what_the_singular_values_leave(k):
    data = images(40)
    x = data.images.reshape(40, -1).astype(np.float64) / 255
    singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    assert pca_error(data, data, k) == pytest.approx((singular[k:] ** 2).sum() / 40, rel=1e-4)


def test_the_pca_error_of_other_images_uses_the_mean_and_components_of_the_first():
    train, test = images(40), images(15, seed=5)
    x, y = (d.images.reshape(len(d), -1).astype(np.float64) / 255 for d in (train, test))
    _, _, vt = np.linalg.svd(x - x.mean(axis=0))
    rest = (y - x.mean(axis=0)) - (y - x.mean(axis=0)) @ vt[:4].T @ vt[:4]
    assert pca_error(train, test, 4) == pytest.approx((rest**2).sum() / 15, rel=1e-3)

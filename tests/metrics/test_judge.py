"""A judge's verdict: how many images it is sure of, and of which classes they are."""

import math

import numpy as np
import pytest
from training_cases import images, make

from minigen import tensor
from minigen.metrics import Verdict, judge


class Oracle:
    """Says class k with probability p where the first pixel of an image is k + p."""

    def __init__(self):
        self.batches = []

    def probabilities(self, x):
        self.batches.append(len(x))
        k, p = np.divmod(x[:, 0, 0, 0], 1)
        out = np.repeat((1 - p)[:, None] / 2, 3, axis=1)
        out[np.arange(len(x)), k.astype(int)] = p
        return tensor(out)


def as_images(values):
    x = np.zeros((len(values), 1, 2, 2))
    x[:, 0, 0, 0] = values
    return x


def test_the_share_of_sure_images_and_their_classes_are_counted():
    verdict = judge(Oracle(), as_images([0.95, 0.95, 1.95, 2.6, 2.5, 0.91, 1.5, 2.7]))
    assert verdict.confident == 4 / 8
    assert verdict.classes.tolist() == [3 / 4, 1 / 4, 0]
    assert verdict.threshold == 0.9


def test_the_threshold_itself_counts_as_sure():
    assert judge(Oracle(), as_images([0.75, 1.5]), threshold=0.75).confident == 0.5


def test_images_are_judged_in_batches():
    oracle = Oracle()
    judge(oracle, as_images([0.95] * 25), batch_size=10)
    assert oracle.batches == [10, 10, 5]


def test_where_no_image_is_sure_there_are_no_classes():
    verdict = judge(Oracle(), as_images([0.5, 1.5]))
    assert verdict.confident == 0
    assert verdict.classes.tolist() == [0, 0, 0]
    assert verdict.entropy == 0


@pytest.mark.parametrize(
    ("classes", "entropy"), [([1.0, 0.0], 0.0), ([0.25] * 4, math.log(4)), ([0.5, 0.5, 0.0], math.log(2))]
)
def test_the_entropy_is_that_of_the_classes_in_nats(classes, entropy):
    assert Verdict(1.0, np.array(classes), 0.9).entropy == pytest.approx(entropy)


def test_a_classifier_can_judge():
    data = images(20)
    verdict = judge(make("classifier"), data.images.astype(np.float32) / 255, threshold=0.0)
    assert verdict.confident == 1
    assert verdict.classes.sum() == pytest.approx(1)

"""Diversity: what a judge's confidence does not see."""

import numpy as np
import pytest

from minigen.metrics import diversity, nearest_distance


def test_the_distance_is_that_to_the_nearest_other_image():
    images = np.zeros((3, 1, 1, 2))
    images[1, 0, 0] = 3, 4  # 5 from the first
    images[2, 0, 0] = 3, 5  # 1 from the second
    assert nearest_distance(images) == pytest.approx((5 + 1 + 1) / 3)


def test_images_of_the_same_kind_are_as_diverse_as_the_reference():
    rng = np.random.default_rng(0)
    assert diversity(rng.random((200, 1, 4, 4)), rng.random((200, 1, 4, 4))) == pytest.approx(1, abs=0.05)


def test_a_generator_that_repeats_ten_images_is_found_out():
    rng = np.random.default_rng(0)
    reference = rng.random((200, 1, 4, 4))
    collapsed = reference[:10].repeat(20, axis=0) + 0.01 * rng.standard_normal((200, 1, 4, 4))
    assert diversity(collapsed, reference) < 0.2

"""Importance sampling of a likelihood that is known in closed form."""

import numpy as np
from linear_gaussian import LinearGaussian

from minigen.backend import Generator
from minigen.metrics import importance_nll


def test_with_the_exact_posterior_a_single_sample_is_exact():
    """Every weight p(x, z)/q(z|x) is p(x) itself: each constant and each sign must be right."""
    model = LinearGaussian()
    x = model.draw_images(6)
    np.testing.assert_allclose(importance_nll(model, x, samples=1), -model.log_likelihood(x), atol=1e-4)


def test_with_another_posterior_many_samples_come_to_the_likelihood():
    model = LinearGaussian(shift=0.4, widen=0.7)
    x = model.draw_images(6)
    np.testing.assert_allclose(importance_nll(model, x, samples=4000), -model.log_likelihood(x), atol=0.1)


def test_the_bound_is_above_and_falls_with_the_number_of_samples():
    """Weights that favoured the worst sample would make it rise."""
    model = LinearGaussian(shift=0.8, widen=-0.5)
    x = np.repeat(model.draw_images(4), 500, axis=0)
    exact = -model.log_likelihood(x).mean()
    bounds = [importance_nll(model, x, samples=k).mean() for k in (1, 5, 50)]
    assert bounds[0] > bounds[1] > bounds[2] > exact


def test_it_gives_one_number_an_image_in_float64_and_is_repeatable():
    a, b = LinearGaussian(), LinearGaussian()
    a.rng, b.rng = Generator(3), Generator(3)
    x = a.draw_images(6)
    first = importance_nll(a, x, samples=3)
    assert (first.shape, first.dtype) == ((6,), np.float64)
    assert np.array_equal(first, importance_nll(b, x, samples=3))

"""The VAE's equations: how z is drawn, both terms of the ELBO, their units, and that the bound is one."""

import math

import numpy as np
import pytest
from linear_gaussian import LinearGaussian
from training_cases import images, make

from minigen import gradcheck, tensor
from minigen.backend import Generator
from minigen.models import VAE
from minigen.nn import Module
from minigen.ops import gaussian_kl

X = tensor(images(6).images.astype(np.float32) / 255)


def normals(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_z_is_drawn_with_the_standard_deviation_exp_of_half_the_log_variance():
    """A fault of others: σ = exp(ln σ²). At ln σ² = −2 the variance would be e⁻⁴ instead of e⁻²."""
    mu = tensor(np.full((40_000, 2), 3.0, np.float32))
    logvar = tensor(np.tile(np.float32([-2.0, 1.0]), (40_000, 1)))
    z = make("vae dense").reparameterise(mu, logvar).numpy()
    relative = 5 * math.sqrt(2 / 40_000)  # 5 σ of a variance of normal numbers
    assert z.var(axis=0) == pytest.approx(np.exp([-2.0, 1.0]), rel=relative)
    assert z.mean(axis=0) == pytest.approx([3.0, 3.0], abs=5 * math.exp(0.5) / 200)


def test_the_kl_in_closed_form_is_that_of_monte_carlo():
    mu, logvar = np.float64([[0.5, -1.0, 0.2]]), np.float64([[-0.7, 0.4, 0.0]])
    z = mu + np.exp(logvar / 2) * np.random.default_rng(0).standard_normal((400_000, 3))
    log_q = -0.5 * ((z - mu) ** 2 / np.exp(logvar) + logvar).sum(1)
    samples = log_q + 0.5 * (z**2).sum(1)
    error = 5 * samples.std() / math.sqrt(len(z))
    assert gaussian_kl(tensor(mu), tensor(logvar)).item() == pytest.approx(samples.mean(), abs=error)


def test_both_terms_are_sums_over_pixels_or_latents_and_means_over_the_batch():
    """A fault of others: the two averaged over different axes."""
    model = make("vae dense")
    model.encode = lambda x: (tensor(np.full((6, 4), 2.0, np.float32)), tensor(np.zeros((6, 4), np.float32)))
    model.decoder = lambda z: tensor(np.zeros((6, 1, 12, 12), np.float32))
    terms = model.loss(X)
    assert float(terms["kl"]) == pytest.approx(4 * 0.5 * 2.0**2)
    assert float(terms["reconstruction"]) == pytest.approx(144 * math.log(2), rel=1e-5)


def test_a_gaussian_likelihood_has_its_normalising_constant():
    model = make("vae gaussian")
    model.log_sigma.data[...] = math.log(0.3)
    model.decoder = lambda z: tensor(np.zeros((6, 1, 12, 12), np.float32))  # the mean of each pixel is σ(0) = ½
    x = X.numpy().astype(np.float64)
    expected = (0.5 * ((x - 0.5) / 0.3) ** 2 + math.log(0.3) + 0.5 * math.log(2 * math.pi)).sum((1, 2, 3))
    np.testing.assert_allclose(model.negative_log_likelihood(X, None).numpy(), expected, rtol=1e-5)


def test_grey_pixels_are_drawn_black_or_white_with_their_shade_as_probability():
    x = tensor(np.full((100, 1, 20, 20), 0.3, np.float32))
    pixels = make("vae dense").pixels(x)
    values = np.asarray(pixels)
    assert set(np.unique(values)) == {0, 1}
    assert values.dtype == np.float32
    assert values.mean() == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / 40_000))


def test_black_and_white_stay_what_they_are():
    x = tensor(np.float32([0, 1] * 50).reshape(1, 1, 10, 10))
    assert np.array_equal(np.asarray(make("vae dense").pixels(x)), x.numpy())


def test_pixels_are_drawn_anew_at_each_presentation():
    model = make("vae dense")
    assert not np.array_equal(np.asarray(model.pixels(X)), np.asarray(model.pixels(X)))


def test_a_gaussian_likelihood_takes_grey_as_it_is():
    assert make("vae gaussian").pixels(X) is X


def test_what_is_measured_is_the_elbo_and_its_two_parts():
    model = make("vae dense").eval()
    state = model.rng.state()
    measured = {name: (float(v), unit) for name, (v, unit) in model.measure(X.data, None).items()}
    model.rng.restore(state)
    terms = {name: 6 * float(v) for name, v in model.loss(X).items()}
    assert {unit for _, unit in measured.values()} == {"nats per image"}
    assert measured["reconstruction"][0] == pytest.approx(terms["reconstruction"], rel=1e-5)
    assert measured["KL"][0] == pytest.approx(terms["kl"], rel=1e-5)
    assert measured["ELBO"][0] == pytest.approx(-terms["reconstruction"] - terms["kl"], rel=1e-5)


# ------------------------------------------------------------------------------------------------ a known likelihood


def elbo(model, x, draws=4000):
    """The ELBO of each image, a mean over draws of z."""
    nll, kl = model.terms(tensor(np.repeat(x, draws, axis=0)))
    return -(nll.numpy() + kl.numpy()).reshape(len(x), draws).mean(axis=1)


def test_with_the_exact_posterior_the_elbo_is_the_log_likelihood():
    model = LinearGaussian()
    x = model.draw_images(4)
    np.testing.assert_allclose(elbo(model, x), model.log_likelihood(x), atol=0.1)  # 5 σ of the mean over draws


def test_with_another_posterior_the_elbo_falls_short_by_its_divergence_from_the_exact_one():
    shift, widen = 0.5, 0.6
    model = LinearGaussian(shift, widen)
    x = model.draw_images(4)
    divergence = 2 * 0.5 * (math.exp(widen) - widen - 1) + 0.5 * shift**2 / model.posterior_variance[0]
    assert divergence > 0.5
    np.testing.assert_allclose(elbo(model, x), model.log_likelihood(x) - divergence, atol=0.2)


# ------------------------------------------------------------------------------------------------ the rest


@pytest.mark.parametrize("case", ["vae dense", "vae gaussian", "vae conv"])
def test_the_derivative_of_the_loss_is_right(case):
    class Loss(Module):
        def __init__(self, model):
            self.model = model

        def forward(self, x):
            nll, kl = self.model.terms(x)
            return nll.mean() + kl.mean()

    more = {"width": 3} if "conv" in case else {"hidden": 6}
    x = np.random.default_rng(0).uniform(0.1, 0.9, (3, 1, 8, 8))
    assert gradcheck(Loss(make(case, (1, 8, 8), **more)), x, order=1)


def test_a_sample_is_the_mean_of_the_pixels_for_z_from_the_prior():
    model = make("vae dense")
    z = Generator(4).normal((3, 4))
    np.testing.assert_array_equal(model.sample(3, Generator(4)).numpy(), model.decode(tensor(z)).numpy())


def test_a_reconstruction_goes_through_the_mean_code_and_is_not_random():
    model = make("vae dense")
    assert np.array_equal(model.reconstruct(X).numpy(), model.reconstruct(X).numpy())


def test_an_unknown_likelihood_is_refused():
    with pytest.raises(ValueError, match='expected likelihood "bernoulli" or "gaussian"; got \'poisson\''):
        VAE((1, 12, 12), likelihood="poisson")

"""The two players of a GAN: whose gradients are computed, what each minimises, and how the average draws."""

import numpy as np
import pytest
from training_cases import images, make

from minigen import grad, op, ops, tensor
from minigen.backend import Generator
from minigen.models.gan import CATEGORY_LENGTH
from minigen.nn import Dense, Module, Parameter

X = tensor(images(8).images.astype(np.float32) / 127.5 - 1)
each = pytest.mark.parametrize("case", ["gan dense", "gan conv", "wgan_gp dense", "wgan_gp conv"])


def spying_critic(size):
    """A D of one dense layer that notes each time the gradient of its weight is computed."""
    seen = []

    def weight_vjp(g, x):
        seen.append("weight")
        return g.swapaxes(0, 1) @ x

    @op(x=lambda g, w: g @ w, w=weight_vjp)
    def spied(x, w):
        return x @ w.T

    class D(Module):
        def __init__(self):
            self.w = Parameter(np.full((1, size), 0.01, np.float32))

        def forward(self, x):
            return spied(x.reshape(len(x), -1), self.w)

    return D(), seen


def test_a_step_of_g_computes_no_weight_gradient_of_d():
    model = make("gan dense")
    model.D, seen = spying_critic(144)
    d, g = model.objectives()
    drawn = model.draw(X)
    grad(sum(g.loss(X, *drawn).values()), g.parameters)
    assert seen == []
    grad(sum(d.loss(X, *drawn).values()), d.parameters)
    assert seen == ["weight", "weight"]  # one for D(x), one for D(G(z))


@each
def test_the_loss_of_d_is_cut_from_g(case):
    model = make(case)
    (fake,) = model.draw(X)
    assert fake.node is not None
    loss = sum(model.d_loss(X, fake).values())
    assert grad(loss, model.G.parameters(), allow_unused=True) == [None] * len(model.G.parameters())
    assert all(g is not None for g in grad(loss, model.D.parameters()))


@each
def test_the_loss_of_g_reaches_all_of_g(case):
    model = make(case)
    for (name, _), g in zip(
        model.G.named_parameters(), grad(sum(model.g_loss(X, *model.draw(X)).values()), model.G.parameters())
    ):
        assert abs(g.data).max() > 0, name


def with_logits(model, real, fake):
    """D answers `real` for the images X and `fake` for others."""
    model.D = lambda x: tensor(np.full((len(x.data), 1), real if x is X else fake, np.float32))
    return model


@pytest.mark.parametrize(("real", "fake"), [(0.0, 0.0), (2.0, -1.0), (-50.0, 80.0)])
def test_d_minimises_the_cross_entropy_of_real_against_drawn(real, fake):
    terms = with_logits(make("gan dense"), real, fake).d_loss(X, tensor(X.data * 0))
    sigma = lambda a: 1 / (1 + np.exp(-np.float64(a)))
    assert float(terms["real"]) == pytest.approx(-np.log(sigma(real)), rel=1e-5)
    assert float(terms["fake"]) == pytest.approx(np.log1p(np.exp(fake)), rel=1e-5)


def test_where_d_cannot_tell_its_loss_is_two_ln_2():
    terms = with_logits(make("gan dense"), 0.0, 0.0).d_loss(X, tensor(X.data * 0))
    assert float(sum(terms.values())) == pytest.approx(2 * np.log(2), rel=1e-6)


def test_the_gradient_of_g_does_not_vanish_where_d_wins():
    """ln(1 − σ(a)) has slope σ(a) → 0 at a = −20; −ln σ(a) keeps slope −1."""
    model, a = make("gan dense"), tensor(np.full((4, 1), -20.0, np.float32), requires_grad=True)
    model.D = lambda fake: fake
    g = grad(model.g_loss(None, a)["score"], a)
    assert g.numpy() == pytest.approx(-1 / 4, rel=1e-5)


def test_the_critic_of_wgan_minimises_fake_minus_real_and_g_the_opposite():
    model = make("wgan_gp dense")
    model.slope_penalty = lambda x, fake: tensor(0.0)
    fake = tensor(X.data * 0)
    assert float(with_logits(model, 3.0, 1.0).d_loss(X, fake)["wasserstein"]) == -2.0
    assert float(model.g_loss(X, fake)["score"]) == -1.0


def test_noise_is_standard_normal_and_of_the_latent_size():
    z = make("gan dense", categories=0).noise(20_000)
    assert z.shape == (20_000, 6)
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    assert z.var() == pytest.approx(1, abs=5 * np.sqrt(2 / z.size))


def test_with_categories_noise_ends_in_one_of_as_many_vectors_each_equally_often():
    z = make("gan dense", categories=5).noise(20_000).numpy()
    assert z.shape == (20_000, 6 + 5) and abs(z[:, :6].var() - 1) < 0.05
    assert set(np.unique(z[:, 6:])) == {0.0, np.float32(CATEGORY_LENGTH)}
    assert ((z[:, 6:] > 0).sum(axis=1) == 1).all()
    np.testing.assert_allclose((z[:, 6:] > 0).mean(axis=0), 0.2, atol=0.02)


def test_calibration_takes_the_plain_mean_of_the_statistics_of_some_batches():
    """A running average with momentum 0.1 would still remember the weights of other steps."""
    model = make("gan conv")
    norm = next(m for _, m in model.G.named_modules() if hasattr(m, "momentum"))
    seen = []
    check = norm.check
    norm.check = lambda x: seen.append(x.numpy().mean((0, 2, 3))) or check(x)
    norm.running_mean.data += 100
    model.calibrate(batches=5, n=16)
    assert len(seen) == 5
    np.testing.assert_allclose(norm.running_mean.data, np.mean(seen, axis=0), atol=1e-5)
    assert norm.momentum == 0.1


def test_calibration_uses_up_no_noise_of_the_run_and_restores_the_mode():
    model = make("gan conv").eval()
    state = model.rng.state()
    model.calibrate(batches=2, n=4)
    assert model.rng.state() == state
    assert not model.G.training


def test_a_convolutional_g_begins_as_dcgan():
    weights = [m.weight.data for _, m in make("gan conv", width=64).G.named_modules() if isinstance(m, Dense)]
    assert weights[0].std() == pytest.approx(0.02, rel=0.02)


def test_images_of_g_are_the_tanh_of_its_net():
    model = make("gan dense")
    z = model.noise(4, Generator(3))
    np.testing.assert_allclose(model.generate(z).numpy(), np.tanh(model.G(z).numpy()), atol=1e-6)


def test_d_gives_one_logit_an_image():
    assert make("gan conv").D(X).shape == (8, 1)
    assert ops.softplus(make("gan dense").D(X)).shape == (8, 1)

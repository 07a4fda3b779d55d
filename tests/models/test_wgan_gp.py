"""The gradient penalty: its value, that its gradient reaches the critic, and that this second order is right."""

import numpy as np
import pytest
from training_cases import images, make

from minigen import grad, gradcheck, tensor
from minigen.backend import Generator
from minigen.models import WGANGP
from minigen.nn import BatchNorm2d, Conv2d, Dense, Flatten, LayerNorm, Module, Sequential

X = tensor(images(6).images.astype(np.float32) / 127.5 - 1)
FAKE = tensor(Generator(5).normal((6, 1, 12, 12)))
CASES = ["wgan_gp dense", "wgan_gp conv", "wgan_gp layer", "wgan_gp batch"]


def linear_critic(scale):
    """D(x) = ⟨w, x⟩ + b, whose slope is ‖w‖ everywhere."""
    model = make("wgan_gp dense")
    model.D = Sequential(Flatten(), Dense(144, 1, rng=Generator(0)))
    w = model.D[1].weight
    w.data *= scale / np.linalg.norm(w.data)
    return model, w


@pytest.mark.parametrize("slope", [0.3, 1.0, 4.0])
def test_for_a_linear_critic_the_penalty_is_the_squared_distance_of_its_slope_from_1(slope):
    model, w = linear_critic(slope)
    penalty = model.slope_penalty(X, FAKE)
    assert float(penalty) == pytest.approx((slope - 1) ** 2, abs=1e-5)
    expected = 2 * (slope - 1) * w.data / slope  # ∂(‖w‖ − 1)²/∂w
    np.testing.assert_allclose(grad(penalty, w).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_penalty_is_in_the_gradient_of_the_critic(case):
    """A fault of others: computed, logged and never added."""
    parts = {}
    for name, strength in (("without", 0.0), ("with", 10.0)):
        model = make(case, penalty=strength)
        loss = sum(model.d_loss(X, FAKE).values())
        parts[name] = [g.numpy() for g in grad(loss, model.D.parameters(), allow_unused=True) if g is not None]
    model = make(case)
    model.D(FAKE), model.D(X)  # the same order of random numbers and statistics as in d_loss
    alone = grad(model.slope_penalty(X, FAKE), model.D.parameters(), allow_unused=True)
    assert max(abs(g.data).max() for g in alone if g is not None) > 1e-3
    for a, b, p in zip(parts["with"], parts["without"], [np.float32(0) if g is None else g.numpy() for g in alone]):
        np.testing.assert_allclose(a - b, 10 * p, atol=2e-4, rtol=1e-3)


class CriticLoss(Module):
    """d_loss as a function of the critic's parameters. Of the images it is none: x̂ is cut from them."""

    def __init__(self, model, x, fake):
        self.D, self.rng, self.loss = model.D, model.rng, lambda: model.d_loss(tensor(x), tensor(fake))

    def forward(self):
        return sum(self.loss().values())


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_the_whole_loss_is_right_in_float64(case):
    """The loss contains a gradient, so this is second order through convolutions and batch norm."""
    more = {"width": 2} if "dense" not in case else {"hidden": 8}
    x, fake = np.random.default_rng(0).uniform(-1, 1, (2, 3, 1, 12, 12))
    assert gradcheck(CriticLoss(make(case, **more), x, fake), order=1)


def torch_twin(torch, layers):
    """A torch.nn.Sequential of the same layers and weights, in float64."""
    made = []
    for layer in layers:
        if isinstance(layer, Conv2d):
            options = {k: layer.options[k] for k in ("stride", "padding")}
            made.append(torch.nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, **options))
        elif isinstance(layer, BatchNorm2d):
            made.append(torch.nn.BatchNorm2d(layer.num_features))
        elif isinstance(layer, LayerNorm):
            made.append(torch.nn.LayerNorm(layer.shape))
        elif isinstance(layer, Flatten):
            made.append(torch.nn.Flatten())
        elif isinstance(layer, Dense):
            made.append(torch.nn.Linear(*layer.sizes))
        else:
            made.append(torch.nn.LeakyReLU(0.2))
        if isinstance(layer, Module) and layer.state_dict():
            made[-1].load_state_dict({k: torch.from_numpy(v) for k, v in layer.state_dict().items()})
    return torch.nn.Sequential(*made).double()


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_the_critic_is_pytorchs(case):
    torch = pytest.importorskip("torch")
    model = make(case, (1, 12, 12))
    twin = torch_twin(torch, model.D.layers)
    state = model.rng.state()
    loss = sum(model.d_loss(X, FAKE).values())
    found = grad(loss, model.D.parameters(), allow_unused=True)
    model.rng.restore(state)
    t = torch.from_numpy(model.rng.uniform((6, 1, 1, 1))).double()
    x, fake = (torch.from_numpy(np.array(v.numpy(), np.float64, order="C")) for v in (X, FAKE))
    between = (x + t * (fake - x)).requires_grad_()
    (slope,) = torch.autograd.grad(twin(between).sum(), between, create_graph=True)
    penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    expected = twin(fake).mean() - twin(x).mean() + 10 * penalty
    assert float(loss) == pytest.approx(expected.item(), rel=1e-4)
    for g, w in zip(found, torch.autograd.grad(expected, list(twin.parameters()), allow_unused=True), strict=True):
        size = 0 if w is None else float(w.abs().max())
        np.testing.assert_allclose(0 if g is None else g.numpy(), 0 if w is None else w, atol=1e-5 + 1e-3 * size)


def test_each_point_lies_between_its_pair_at_a_place_of_its_own():
    model, _ = linear_critic(1.0)
    seen, critic = [], model.D
    model.D = lambda x: seen.append(x.numpy()) or critic(x)
    model.slope_penalty(X, FAKE)
    (between,) = seen
    x, fake = X.numpy(), FAKE.numpy()
    places = ((between - x) * (fake - x)).sum((1, 2, 3)) / ((fake - x) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(between, x + places.reshape(-1, 1, 1, 1) * (fake - x), atol=1e-5)
    assert ((places > 0) & (places < 1)).all()
    assert len(set(places.round(4))) == 6


def test_training_brings_the_slope_to_1():
    from minigen.optim import Adam

    model, w = linear_critic(5.0)
    optimizer = Adam([w], 0.05)
    for _ in range(150):
        optimizer.step(grad(model.penalty * model.slope_penalty(X, FAKE), [w]))
    assert np.linalg.norm(w.data) == pytest.approx(1, abs=0.02)


def test_the_defaults_are_the_papers():
    model = make("wgan_gp dense", critic_steps=5)
    assert (model.penalty, model.lr, model.betas) == (10.0, 1e-4, (0.0, 0.9))
    assert [o.every for o in model.objectives()] == [1, 5]


def test_an_unknown_critic_norm_is_refused():
    with pytest.raises(ValueError, match='expected critic_norm "none", "layer" or "batch"; got \'group\''):
        WGANGP((1, 12, 12), critic_norm="group")

"""What holds for every model: it trains, draws in range, overfits, saves and loads, at any size and in colour."""

import numpy as np
import pytest
from training_cases import MODEL_CASES, images, make

from minigen import Training, grad, tensor
from minigen.backend import Generator
from minigen.models import MODELS, Model, Objective, SingleObjective, find_model
from minigen.models.base import generate
from minigen.optim import Adam

every_case = pytest.mark.parametrize("case", MODEL_CASES)
TERMS = {
    "ae": {"loss/error"},
    "vae": {"loss/reconstruction", "loss/kl"},
    "gan": {"D/real", "D/fake", "G/score"},
    "wgan_gp": {"D/wasserstein", "D/penalty", "G/score"},
    "classifier": {"loss/cross entropy"},
}


def test_every_model_has_a_case():
    assert {name for name, _ in MODEL_CASES.values()} == MODELS.keys() == TERMS.keys()


def steps(training, n):
    """n steps; all losses that were seen, the latest of each name."""
    losses = {}
    for _ in range(n):
        losses |= training.step()
    return losses


@every_case
def test_three_rounds_change_every_parameter_and_log_every_term(case):
    model = make(case)
    training = Training(model, images(), batch_size=8, average=0.0)
    before = [p.data.copy() for p in model.parameters()]
    losses = steps(training, 3 * max(o.every for o in training.objectives))
    assert losses.keys() == TERMS[MODEL_CASES[case][0]]
    assert all(np.isfinite(v) and v.ndim == 0 for v in losses.values())
    idle = "D." + model.D.named_parameters()[-1][0] if "wgan" in case else ""  # D(x̃) − D(x): its last bias cancels
    for (name, p), old in zip(model.named_parameters(), before):
        assert np.array_equal(p.data, old) == (name == idle), name
        assert p.dtype == np.float32, name


@every_case
def test_each_parameter_belongs_to_one_objective(case):
    model = make(case)
    owned = [id(p) for objective in model.objectives() for p in objective.parameters]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())


@every_case
def test_samples_and_reconstructions_have_the_shape_and_range_of_images(case):
    model, x = make(case), images(5)
    low, high = model.pixel_range
    batch = tensor(x.images.astype(np.float32) / 255 * (high - low) + low)
    for drawn in (model.sample(5), model.reconstruct(batch)):
        if drawn is not None:
            assert drawn.shape == (5, 1, 12, 12)
            assert drawn.dtype == np.float32
            assert low <= drawn.data.min() < drawn.data.max() <= high
            assert drawn.node is None  # nothing was recorded


@every_case
def test_drawing_leaves_mode_and_statistics_as_they_were(case):
    model = make(case)
    before = model.state_dict()
    for training in (True, False):
        model.train(training)
        model.sample(4, Generator(0))
        assert [m.training for _, m in model.named_modules()] == [training] * len(model.named_modules())
    assert all(np.array_equal(v, before[k]) for k, v in model.state_dict().items())


@every_case
def test_samples_come_from_the_generator_that_is_handed_in(case):
    model = make(case)
    if model.sample(1) is None:
        pytest.skip("draws nothing new")
    state = model.rng.state()
    a, b, c = (model.sample(3, Generator(seed)).numpy() for seed in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert model.rng.state() == state


@every_case
def test_each_objective_overfits_8_images_while_the_others_stand_still(case):
    """Of a GAN: D learns to tell 8 images from what G draws, then G learns to deceive that D."""
    model, data = make(case), images(8)
    low, high = model.pixel_range
    x = tensor(data.images.astype(np.float32) / 255 * (high - low) + low)
    batch = (x, data.labels) if model.labels else (x,)
    for objective in model.objectives():
        optimizer, totals = Adam(objective.parameters, 1e-2), []
        for _ in range(120):
            loss = sum(objective.loss(*batch, *model.draw(x)).values())
            totals.append(float(loss))
            optimizer.step(grad(loss, objective.parameters))
        before, after = totals[0], np.mean(totals[-5:])
        assert after < before - 0.5 * abs(before), f"{objective.name}: {before} → {after}"


@every_case
def test_a_model_loaded_from_another_draws_and_measures_the_same(case):
    a, b, x = make(case, seed=1), make(case, seed=2), images(8)
    steps(Training(a, images(), batch_size=8), 2)
    b.load_state_dict(a.state_dict())
    a.eval(), b.eval()
    drawn = [m.sample(3, Generator(0)) for m in (a, b)]
    assert drawn[0] is None or np.array_equal(drawn[0].numpy(), drawn[1].numpy())
    pixels = x.images.astype(np.float32) / 255
    a.rng.restore(b.rng.state())
    measured = [{k: float(v) for k, (v, _) in m.measure(pixels, x.labels).items()} for m in (a, b)]
    assert measured[0] == measured[1]


SIZES = [(1, 28, 28), (3, 32, 32), (1, 33, 33), (3, 45, 26), (3, 64, 64), (1, 8, 20)]


@pytest.mark.parametrize("shape", SIZES, ids=str)
@every_case
def test_any_size_and_colour_trains_and_draws(case, shape):
    if "unpool" in case and (shape[1] % 4 or shape[2] % 4):
        with pytest.raises(ValueError, match="needs sides divisible by 4; got"):
            make(case, shape, width=2)
        return
    model = make(case, shape, **{"hidden": 4} if "dense" in case or "gaussian" in case else {"width": 2})
    training = Training(model, images(4, shape), batch_size=4)
    assert all(np.isfinite(v) for v in steps(training, 2).values())
    x = images(2, shape).images.astype(np.float32) / 255
    for drawn in (model.sample(2), model.reconstruct(tensor(x))):
        assert drawn is None or drawn.shape == (2, *shape)


@every_case
def test_the_seed_decides_the_weights(case):
    a, b, c = make(case, seed=1), make(case, seed=1), make(case, seed=2)
    assert all(np.array_equal(x.data, y.data) for x, y in zip(a.parameters(), b.parameters()))
    assert not np.array_equal(a.parameters()[0].data, c.parameters()[0].data)


# ------------------------------------------------------------------------------------------------ the base classes


def test_an_unknown_model_is_answered_with_a_guess():
    assert find_model("gan") is MODELS["gan"]
    with pytest.raises(KeyError, match=r"no model 'wgan-gp'. Did you mean 'wgan_gp'\? Known: ae, "):
        find_model("wgan-gp")
    with pytest.raises(KeyError, match=r"no model 'xyz'. Known: ae, "):
        find_model("xyz")


def test_a_new_model_is_told_what_to_define():
    with pytest.raises(NotImplementedError, match=r"Model: define objectives\(self\) -> \[Objective\(...\)\]"):
        Model((1, 8, 8)).objectives()
    with pytest.raises(NotImplementedError, match=r"SingleObjective: define loss\(self, x\) -> {term: scalar}"):
        SingleObjective((1, 8, 8)).loss(None)


def test_a_new_model_costs_its_equations():
    """A model of the reader's own, defined in a few lines, goes through the one loop."""

    class Mean(SingleObjective):
        def __init__(self, shape, rng=None):
            super().__init__(shape, rng)
            self.mean = make("ae dense").g[-2].bias  # any parameter with one number for each pixel

        def loss(self, x):
            return {"distance": ((x.reshape(len(x), -1) - self.mean) ** 2).sum(axis=1).mean()}

    model, data = Mean((1, 12, 12)), images(16)
    steps(Training(model, data, batch_size=16, lr=0.05), 200)
    expected = data.images.reshape(16, -1).mean(axis=0) / 255
    assert abs(model.mean.data - expected).max() < 0.02


def test_an_objective_is_due_on_each_step_by_default():
    assert Objective("loss", None, []).every == 1


def test_generate_puts_pieces_together_in_order():
    calls = []

    def draw(k):
        calls.append(k)
        return tensor(np.full((k, 1), len(calls), np.float32))

    out = generate(draw, 600, size=256)
    assert calls == [256, 256, 88]
    assert out.numpy().ravel().tolist() == [1] * 256 + [2] * 256 + [3] * 88

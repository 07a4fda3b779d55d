"""Loss scaling for float16: nothing is lost at the small end, and a step that overflows changes nothing."""

import numpy as np
import pytest
from backend import fake_cupy_graph
from training_cases import images, make

import minigen as mg
from minigen import nn, optim
from minigen.autograd import grad
from minigen.backend import set_precision, to_numpy
from minigen.loop import Training
from minigen.optim import LossScale, scaling


@pytest.fixture
def float16():
    before = set_precision("float16")
    yield
    set_precision(before)


def tiny_gradients(scaled):
    """(gradient in float16's range or below, the same in float32) of a product whose cotangent is about 1e-9."""
    rng = mg.Generator(0)
    x, w = rng.normal((8, 16)), mg.tensor(rng.normal((16, 4)), requires_grad=True)
    loss = 1e-9 * (mg.tensor(x) @ w).sum()
    if not scaled:
        return grad(loss, w).data, 1e-9 * x.sum(axis=0)[:, None] * np.ones((1, 4))
    scale = LossScale()
    return scale.unscaled([grad(loss, w, scale.cotangent(loss))])[0], 1e-9 * x.sum(axis=0)[:, None] * np.ones((1, 4))


def test_without_scaling_float16_loses_small_gradients_altogether(float16):
    got, _ = tiny_gradients(scaled=False)
    assert (got == 0).all()


def test_with_scaling_they_are_as_exact_as_float16_is(float16):
    got, expected = tiny_gradients(scaled=True)
    # The scaled cotangent, 6.6e-5, is rounded to 11 bits: 2⁻¹¹ relative, and so are the factors x.
    assert np.linalg.norm(got - expected) < 2**-10 * np.linalg.norm(expected)


class Case:
    """A dense layer under Adam, whose gradients can be made to overflow."""

    def __init__(self, kind=optim.Adam):
        self.layer = nn.Dense(3, 2, rng=mg.Generator(1))
        self.optimizer, self.scale = kind(self.layer.parameters(), 0.1), LossScale()
        self.x = mg.Generator(2).normal((5, 3))

    def step(self, factor=1.0):
        loss = factor * (self.layer(mg.tensor(self.x)) ** 2).mean()
        parameters = self.layer.parameters()
        with self.scale.overflows_expected():
            gradients = self.scale.unscaled(grad(loss, parameters, self.scale.cotangent(loss)))
        with self.scale.guarding(self.optimizer):
            self.optimizer.step(gradients)

    def everything(self):
        vectors = [self.optimizer.flat.values, *(getattr(self.optimizer, n) for n in self.optimizer.state_names)]
        return np.concatenate([to_numpy(v).copy() for v in vectors])


@pytest.mark.parametrize(
    "kind", [optim.Adam, optim.AdamW, optim.RMSprop, optim.Momentum, optim.SGD], ids=lambda k: k.__name__
)
@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e38])
def test_a_step_that_overflows_changes_nothing_but_halves_the_factor(kind, bad):
    case = Case(kind)
    case.step()
    before, factor = case.everything(), float(case.scale.values[0])
    case.step(bad)
    np.testing.assert_array_equal(case.everything(), before)
    assert float(case.scale.values[0]) == factor / 2
    case.step()
    assert (case.everything() != before).any()


def test_the_factor_doubles_after_many_good_steps_and_one_overflow_begins_the_count_again(monkeypatch):
    monkeypatch.setattr(scaling, "GROW_AFTER", 4)
    case, factors = Case(), []
    for i in range(12):
        case.step(np.inf if i == 2 else 1.0)
        factors.append(float(case.scale.values[0]) / scaling.START)
    assert factors == [1, 1, 0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1, 2, 2]


def test_the_factor_has_a_bound(monkeypatch):
    monkeypatch.setattr(scaling, "GROW_AFTER", 1)
    case = Case()
    for _ in range(20):
        case.step()
    assert float(case.scale.values[0]) == scaling.LARGEST


def test_powers_of_two_change_no_bit_of_a_step_in_float32():
    plain, scaled = Case(), Case()
    for _ in range(5):
        scaled.step()
        loss = (plain.layer(mg.tensor(plain.x)) ** 2).mean()
        plain.optimizer.step(grad(loss, plain.layer.parameters()))
    np.testing.assert_array_equal(plain.everything(), scaled.everything())


@pytest.mark.parametrize("name", ["gan conv", "vae dense", "wgan_gp dense"])
def test_a_model_trains_in_float16_and_logs_its_factors(name, float16):
    training = Training(make(name), images(), batch_size=8, seed=3, clip=10.0)
    for _ in range(4):
        losses = training.step()
    assert all(np.isfinite(float(v)) for v in losses.values())
    assert {f"{o.name}/loss scale" for o in training.objectives if o.every == 1} <= losses.keys()


def test_float16_trains_close_to_float32():
    def after(steps, precision):
        before = set_precision(precision)
        try:
            training = Training(make("vae dense"), images(), batch_size=8, seed=3)
            for scale in filter(None, training.scales):
                scale.values[0] = 256.0  # no step overflows, so none is left out
            return [sum(float(v) for n, v in training.step().items() if "scale" not in n) for _ in range(steps)]
        finally:
            set_precision(before)

    half, single = np.array(after(20, "float16")), np.array(after(20, "float32"))
    assert half[-1] < 0.95 * half[0]  # it does learn
    np.testing.assert_allclose(half, single, rtol=0.01)  # products to 1e-3, over 20 steps
    assert (half != single).any()


def test_a_resumed_run_keeps_its_factors(float16):
    first = Training(make("vae dense"), images(), batch_size=8, seed=3)
    first.scales[0].values[...] = [512.0, 7.0]
    first.step()
    second = Training(make("vae dense"), images(), batch_size=8, seed=3)
    second.restore(*first.state())
    assert second.scales[0].values.tolist() == first.scales[0].values.tolist() == [512.0, 8.0]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the stand-in's overflows are NumPy's; a GPU does not warn
def test_a_scaled_step_is_replayed_as_a_graph_also_over_an_overflow(fake_cupy, float16, monkeypatch):
    monkeypatch.setattr(fake_cupy_graph, "blas_in_capture", True)  # products are cuBLAS's here

    def factors(graph):
        mg.use("cupy")
        training = Training(make("vae dense"), images(), batch_size=8, seed=3, graph=graph)
        training.scales[0].values[...] = mg.backend.asarray(np.float32([2.0**126, 0.0]))  # too much even for float32
        for _ in range(30):
            training.step()
        arrays, _ = training.state()
        return arrays

    replayed, ordinary = factors(True), factors(False)
    assert replayed["scale/loss"][0] < 2.0**126  # the portable products of the stand-in overflow as float32 does
    assert all((replayed[name] == ordinary[name]).all() for name in ordinary)


def test_other_precisions_scale_nothing():
    assert Training(make("vae dense"), images(), batch_size=8).scales == [None]

"""A resumed run is the uninterrupted one, bit for bit; averages of the weights, and the way back."""

import json

import numpy as np
import pytest
from training_cases import MODEL_CASES, images, make, training_of

from minigen import Training
from minigen.data import horizontal_flip

DATA = images()
every_case = pytest.mark.parametrize("case", MODEL_CASES)


def same(a, b):
    """Whether two `state()`s are equal to the bit; JSON stands for the file between them."""
    (arrays_a, numbers_a), (arrays_b, numbers_b) = a, b
    if json.dumps(numbers_a) != json.dumps(numbers_b) or arrays_a.keys() != arrays_b.keys():
        return False
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(arrays_a.values(), arrays_b.values()))


# ------------------------------------------------------------------------------------------------ resuming


@every_case
def test_a_run_resumed_in_mid_epoch_equals_the_uninterrupted_one_to_the_bit(case):
    """Weights, statistics, optimisers, average, random numbers, data order; dropout, augmentation and clip included."""
    options = {"augment": horizontal_flip, "clip": 1.0, "average": 0.9}
    whole, half = training_of(case, **options), training_of(case, **options)
    for _ in range(5):
        losses = whole.step()
    for _ in range(2):  # of 3 batches in an epoch
        half.step()
    arrays, numbers = half.state()
    other = training_of(case, seed=7, **options)  # other weights, order and noise: all must be replaced
    other.restore(arrays, json.loads(json.dumps(numbers)))
    for _ in range(3):
        resumed = other.step()
    assert same(whole.state(), other.state())
    assert {k: float(v) for k, v in losses.items()} == {k: float(v) for k, v in resumed.items()}


def test_a_resumed_run_keeps_adams_step_count():
    a = training_of()
    for _ in range(4):
        a.step()
    b = training_of()
    b.restore(*a.state())
    assert [o.steps for o in b.optimizers] == [4]
    assert b.steps == 4


def test_a_state_is_a_copy():
    a = training_of("vae conv", average=0.9)
    before = a.state()
    held = {k: v.copy() for k, v in before[0].items()}, json.loads(json.dumps(before[1]))
    a.step()
    assert same(before, held)
    assert not same(before, a.state())


def test_the_state_of_another_model_is_refused():
    with pytest.raises(ValueError, match=r"AE.load_state_dict: f.1.weight has shape"):
        training_of("ae dense").restore(*Training(make("ae dense", hidden=9), DATA).state())


@every_case
def test_the_same_seed_repeats_to_the_bit(case):
    a, b = training_of(case), training_of(case)
    for _ in range(2):
        a.step()
        b.step()
    assert same(a.state(), b.state())


def test_another_seed_gives_other_weights_noise_and_order():
    a, b = training_of("gan conv", seed=0), training_of("gan conv", seed=1)
    assert not np.array_equal(a.loader.order, b.loader.order)
    assert not np.array_equal(a.model.noise(3), b.model.noise(3))
    assert not np.array_equal(a.model.D[0].weight.data, b.model.D[0].weight.data)


# ------------------------------------------------------------------------------------------------ averages


def test_inside_averaged_the_model_holds_its_average_and_afterwards_its_own_weights():
    training = training_of("gan conv")
    for _ in range(3):
        training.step()
    before = training.state()
    with training.averaged() as model:
        inside = [p.data.copy() for p in model.G.parameters()]
    averages = [v for k, v in before[0].items() if k.startswith("average/") and k != "average/steps"]
    assert all(np.array_equal(p, a) for p, a in zip(inside, averages, strict=True))
    assert same(before, training.state())  # statistics and random numbers too


@pytest.mark.parametrize("where", ["calibrate", "inside"])
def test_averaged_restores_everything_after_an_exception(where):
    training = training_of("gan conv")
    training.step()
    before = training.state()
    calibrate = training.model.calibrate

    def broken():
        calibrate()
        if where == "calibrate":
            raise KeyError

    training.model.calibrate = broken
    with pytest.raises(KeyError), training.averaged():
        raise KeyError
    assert same(before, training.state())

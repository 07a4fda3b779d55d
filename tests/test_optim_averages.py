"""Clipping of gradients, averages of weights, and schedules: each against its formula."""

import math

import numpy as np
import pytest

from minigen.autograd import Tensor
from minigen.nn import Parameter
from minigen.optim import EMA, SGD, clip_grad_norm, global_norm, schedules

SHAPES = [(3, 4), (2, 3, 2, 2), ()]


def parameters(seed=0):
    rng = np.random.default_rng(seed)
    return [Parameter(np.asarray(rng.standard_normal(s), np.float32)) for s in SHAPES]


def gradients(step):
    rng = np.random.default_rng(1000 + step)
    return [np.asarray(rng.standard_normal(s), np.float32) for s in SHAPES]


# ------------------------------------------------------------------------------------------------ clipping and averages


def test_the_global_norm_is_over_all_elements():
    expected = math.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients(0)))
    assert float(global_norm(gradients(0))) == pytest.approx(expected, rel=1e-6)


def test_clipping_scales_all_gradients_by_one_factor_to_the_bound():
    given = [*gradients(0), None]
    clipped, norm = clip_grad_norm(given, 0.5)
    assert clipped[-1] is None
    assert float(norm) == pytest.approx(float(global_norm(given[:-1])))
    assert float(global_norm(clipped[:-1])) == pytest.approx(0.5, rel=1e-5)
    for c, g in zip(clipped[:-1], given):
        np.testing.assert_allclose(c, g * (0.5 / float(norm)), rtol=1e-5)


def test_clipping_leaves_small_gradients_alone():
    clipped, _ = clip_grad_norm([Tensor(g) for g in gradients(0)], 1e3)
    assert all(np.array_equal(c, g) for c, g in zip(clipped, gradients(0)))


def test_an_average_follows_its_formula():
    params = parameters()
    ema = EMA(params, 0.3)
    expected = [p.data.astype(np.float64) for p in params]
    for t in range(5):
        for p, g in zip(params, gradients(t)):
            p.data += g
        ema.update()
        d = min(0.3, (1 + t) / (10 + t))
        expected = [d * e + (1 - d) * p.data for e, p in zip(expected, params)]
    for a, e in zip(ema.averages, expected):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-6)


def test_applied_exchanges_weights_and_averages_and_restores_both_after_an_exception():
    params = parameters()
    ema = EMA(params)
    for p in params:
        p.data += 1
    own, average = [p.data.copy() for p in params], [a.copy() for a in ema.averages]
    arrays = [p.data for p in params]
    with pytest.raises(KeyError), ema.applied():
        assert all(np.array_equal(p.data, a) for p, a in zip(params, average))
        raise KeyError
    assert all(np.array_equal(p.data, o) for p, o in zip(params, own))
    assert all(np.array_equal(a, b) for a, b in zip(ema.averages, average))
    assert all(p.data is array for p, array in zip(params, arrays))  # the optimiser's views are still theirs


def test_an_average_restored_into_another_goes_on_to_the_bit():
    params = parameters()
    a = EMA(params, 0.9)
    params[0].data += 1
    a.update()
    b = EMA(parameters(seed=5), 0.9)
    b.load_state_dict(a.state_dict())
    b.parameters = params
    a.update()
    b.update()
    assert all(np.array_equal(x, y) for x, y in zip(a.averages, b.averages))


# ------------------------------------------------------------------------------------------------ schedules


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (schedules.warmup(1.0, 4), {0: 0.25, 1: 0.5, 3: 1.0, 100: 1.0}),
        (schedules.warmup(schedules.linear(1.0, 10), 2), {0: 0.5, 1: 0.9, 5: 0.5}),
        (schedules.step_decay(1.0, 10, 0.5), {0: 1.0, 9: 1.0, 10: 0.5, 25: 0.25}),
        (schedules.exponential(2.0, 0.5), {0: 2.0, 1: 1.0, 3: 0.25}),
        (schedules.linear(1.0, 10, 0.2), {0: 1.0, 5: 0.6, 10: 0.2, 99: 0.2}),
        (schedules.cosine(1.0, 10, 0.2), {0: 1.0, 5: 0.6, 10: 0.2, 99: 0.2}),
    ],
)
def test_a_schedule_has_the_values_of_its_formula(schedule, values):
    assert {t: schedule(t) for t in values} == pytest.approx(values)


@pytest.mark.parametrize("chosen", [[0, 1, 2], [1, 2], [0, 2], [2, 1, 0], []], ids=str)
def test_an_average_over_flat_storage_is_the_average_of_each_parameter(chosen):
    """Neighbours in the optimiser's vector are averaged as one; others, and those of no optimiser, one by one."""
    params, loose = parameters(), parameters(seed=3)[:1]
    optimizer = SGD(params, 0.1)
    taken = [*[params[i] for i in chosen], *loose]
    flat, each = EMA(taken, 0.9, [optimizer.flat]), EMA(taken, 0.9)
    assert len(flat.runs) == {"[0, 1, 2]": 1, "[1, 2]": 1, "[0, 2]": 2, "[2, 1, 0]": 3, "[]": 0}[str(chosen)]
    for t in range(3):
        optimizer.step(gradients(t))
        flat.update()
        each.update()
    for p, a, b in zip(taken, flat.averages, each.averages, strict=True):
        assert a.shape == p.shape
        assert np.array_equal(a, b)
    with flat.applied():
        assert all(np.array_equal(p.data, b) for p, b in zip(taken, each.averages))

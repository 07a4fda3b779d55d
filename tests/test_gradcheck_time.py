"""What a check finds does not depend on how busy the machine is; where a function itself takes long, it says so."""

import time

import numpy as np
import pytest

from minigen import ops
from minigen.autograd import op
from minigen.gradcheck import evidence, gradcheck, kinks

X, C = np.random.default_rng(0).standard_normal((2, 5, 5))


def transposed(wait=0.0):
    """An op with a transposed gradient, whose calls wait, but take no time of this thread's own."""
    return op(x=lambda g: (g * C).T)(lambda x: time.sleep(wait) or x * C)


def diagnosis(f, x, **options):
    return gradcheck(f, x, raise_on_failure=False, **options).diagnosis


def test_on_a_busy_machine_every_element_is_looked_at_all_the_same(monkeypatch):
    monkeypatch.setattr(evidence, "SECONDS", 0.1)  # 100 calls, 0.3 s of waiting
    assert diagnosis(transposed(wait=3e-3), X).kind == "transposed"


def test_on_a_busy_machine_kinks_are_left_out_all_the_same(monkeypatch):
    monkeypatch.setattr(kinks, "SECONDS", 0.15)  # some hundred calls, 0.3 s of waiting
    waits = lambda x: time.sleep(3e-3) or ops.relu(x)
    report = gradcheck(waits, np.where(np.arange(16) % 4, 1.0, 0.0), order=1)
    assert "Left out: 4 elements at a kink" in report.notes[0]


def test_a_function_that_takes_long_itself_is_explained_from_some_elements_and_that_is_said(monkeypatch):
    monkeypatch.setattr(evidence, "SECONDS", 0.0)
    assert diagnosis(transposed(), X).text.endswith("Only 1 of 25 elements of x were looked at.")


def test_what_is_looked_at_where_time_runs_out_is_spread_over_the_input(monkeypatch):
    now = iter(range(10**6))  # each look at the clock is a second later
    monkeypatch.setattr(evidence, "SECONDS", 8.0)
    monkeypatch.setattr(evidence.time, "thread_time", lambda: float(next(now)))
    places, columns = evidence._measured(lambda point: 2.0 * point[0], [np.zeros(900)], 0, 1.0)
    assert len(places) == 9
    assert (np.diff(places) > 0).all()
    assert places.max() > 450
    np.testing.assert_allclose(columns, 2.0 * np.eye(900)[:, places], rtol=0, atol=1e-9)


def test_where_there_are_too_many_kinks_to_look_for_that_is_said(monkeypatch):
    monkeypatch.setattr(kinks, "SECONDS", 0.0)
    found = diagnosis(ops.relu, np.array([0.0, 1.0, -2.0]))
    assert (found.kind, found.text) == ("kink", "the function has kinks at too many places to leave out.")


@pytest.mark.parametrize(("size", "said"), [(4096, False), (4097, True)])
def test_of_an_input_of_thousands_of_elements_some_are_looked_at_and_that_is_said(size, said):
    tripled = op(x=lambda g: 3.0 * g)(lambda x: x * 1.0)
    found = diagnosis(tripled, np.ones(size), order=1)
    assert found.text.startswith("the VJP for x gives 3 ")
    assert ("Only 192 of 4097 elements of x were looked at." in found.text) == said

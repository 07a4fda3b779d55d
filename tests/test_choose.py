"""--backend auto: a trial on both devices; the faster one is taken, and the times are told."""

import sys

import pytest
from backend.fake_cupy import installed
from training_cases import images, make

from minigen import backend, choose
from minigen.loop import Training
from minigen.models.base import Objective


class Sleeper:
    """A training whose step takes as long as it is told, on each device."""

    def __init__(self, seconds, every=1):
        self.seconds, self.steps = seconds[backend.default().__name__], 0
        self.objectives = [Objective("D", None, []), Objective("G", None, [], every=every)]

    def step(self):
        Clock.now += self.seconds
        self.steps += 1


class Clock:
    """In the place of `time`: it goes on when a Sleeper takes a step."""

    now = 0.0

    @classmethod
    def perf_counter(cls):
        return cls.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(choose, "time", Clock)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(choose, "SECONDS", 0.02)


@pytest.mark.parametrize(
    ("gpu", "cpu", "name"), [(0.001, 0.005, "cupy"), (0.005, 0.001, "numpy"), (0.001, 0.05, "cupy")]
)
def test_the_faster_device_is_taken_and_the_times_are_told(gpu, cpu, name, fake_cupy, clock):
    said = []
    chosen, why = choose.choose(lambda: Sleeper({"cupy": gpu, "numpy": cpu}), said.append)
    assert said == ["--backend auto: trying the GPU and the CPU. " + choose.FIRST_TIME]
    assert chosen == name == backend.default().__name__
    assert "ms on the GPU" in why and "ms on the CPU" in why
    assert why.endswith({"cupy": "so it is CuPy.", "numpy": "so it is NumPy."}[name])


def test_every_objective_has_its_turn_before_a_time_is_taken(clock):
    training = Sleeper({"numpy": 0.001}, every=5)
    choose.seconds_a_step(training)
    assert training.steps % 5 == 0 and training.steps >= 25


def test_a_device_that_is_plainly_slower_is_not_tried_for_long(clock):
    training = Sleeper({"numpy": 0.03})
    assert choose.seconds_a_step(training, enough=0.001) >= 0.03
    assert training.steps == 1


def test_without_cupy_it_is_numpy_and_nothing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert choose.choose(lambda: pytest.fail("nothing needs a trial"), pytest.fail) == ("numpy", "")


def told(chosen_and_why):
    chosen, why = chosen_and_why
    return chosen == "numpy" and "python -m minigen.doctor" in why


def test_a_cupy_that_finds_no_gpu_is_told():
    with installed(devices=0):
        assert told(choose.choose(lambda: pytest.fail("nothing needs a trial"), pytest.fail))


def test_a_cupy_of_which_a_part_is_missing_is_told(tmp_path, monkeypatch):
    (tmp_path / "cupy.py").write_text("import a_part_of_cupy_that_is_missing")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert told(choose.choose(lambda: pytest.fail("nothing needs a trial"), pytest.fail))


def test_a_trial_leaves_the_training_that_follows_as_it_is(fake_cupy):
    build = lambda: Training(make("vae dense"), images(), batch_size=8, seed=3)
    chosen, _ = choose.choose(build, print)
    tried = build()
    losses = [float(backend.to_numpy(v)) for v in tried.step().values()]
    backend.use(chosen)
    fresh = build()
    assert [float(backend.to_numpy(v)) for v in fresh.step().values()] == losses

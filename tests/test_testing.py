"""minigen.testing: the one line that checks somebody's layer."""

import doctest
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import strategies as st

from minigen import Generator, models, ops, testing
from minigen.autograd import Tensor, op
from minigen.backend import asarray
from minigen.gradcheck import gradcheck
from minigen.gradcheck.drawing import sweep as sweeping
from minigen.gradcheck.drawing.target import make_target
from minigen.nn import Dense, Module, Parameter
from minigen.testing import GradientError, Loss, check


@op(x=lambda g, w: g * w, w=lambda g, x: g * x)
def scale(x, w):
    return x * w


@op(x=lambda g, w: g * w, w=lambda g: g)
def wrong_scale(x, w):
    return x * w


@op(x=lambda g: g[..., ::-1])
def wrong_flip(x):
    return x * 1.0


class Gate(Module):
    def __init__(self, channels):
        self.weight = Parameter(asarray(np.zeros(channels, np.float32)))

    def forward(self, x):
        return x * ops.sigmoid(self.weight)


class WrongGate(Gate):
    def forward(self, x):
        return wrong_scale(x, ops.sigmoid(self.weight))


def failure(*args, **options):
    with pytest.raises(GradientError) as caught:
        check(*args, **options)
    return caught.value


def test_one_line_checks_an_op_a_function_an_instance_or_a_class():
    assert check(scale, "N C", "C")
    assert check(lambda x: ops.exp(x) * 2, "N C")
    assert check(Dense(3, 2, rng=Generator(0)), "N 3")
    assert check(Gate, "N channels H channels")
    assert check(Gate, lambda C: Gate(C), "N C")


def test_without_inputs_they_are_inferred():
    report = check(scale)
    assert report.subject == "scale"
    assert report.order == 2
    assert check(Gate)
    assert check(Dense(17, 2))


def test_the_loss_of_a_model_is_checked_in_the_parameters_that_it_trains():
    gan = models.GAN((1, 8, 8), net="dense", hidden=4, latent=2, rng=Generator(0))
    loss = Loss(gan, "D", Generator(1).uniform((2, 1, 8, 8)))
    assert check(loss).subject == "GAN: D"
    assert {name.split(".")[0] for name, _ in loss.named_parameters()} == {"D"}


def test_a_loss_of_another_name_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"^Loss: GAN has the objectives D, G; got 'loss'\.$"):
        Loss(models.GAN((1, 8, 8), net="dense"), "loss")


def test_options_come_last_and_may_be_drawn():
    assert check(ops.softmax, "N C H", {"axis": st.integers(-3, 2)})


def test_a_wrong_op_fails_with_its_report_and_the_inputs_of_the_simplest_case():
    error = failure(wrong_flip, "N C")
    assert not error.report
    assert error.report.subject == "wrong_flip"
    assert error.__notes__ == ["for the inputs x (2, 3) (examples(); draw 1 of 25)"]


def test_the_failing_case_is_reduced_to_the_axis_that_matters():
    @op(x=lambda g, x: g * (2.0 if x.shape[1] > 3 else 1.0))
    def wrong_when_wide(x):
        return x * 1.0

    assert "for the inputs x (2, 4) " in failure(wrong_when_wide, "N C").__notes__[0]


def test_a_wrong_layer_inside_a_module_is_found():
    assert "weight" in {e.name for e in failure(WrongGate).report.elements}


def test_order_and_tolerance_are_those_of_gradcheck():
    @op(x=lambda g, x: g * 3 * np.asarray(getattr(x, "data", x)) ** 2)
    def cube(x):
        return x**3

    assert check(cube, "N", order=1)
    assert failure(cube, "N").report.order == 2


def test_what_is_wrong_in_float32_only_is_found_as_the_command_finds_it():
    @op(x=lambda g, x: g * 3 * x**2 * (1 if g.dtype == np.float64 else 1.5))
    def cube(x):
        return x**3

    error = failure(cube, "N C")
    assert error.report.diagnosis.kind == "constant factor"
    assert "; in float32)" in error.__notes__[0]
    assert check(cube, "N C", dtype="float64")


def test_a_function_may_hold_float64_arrays_and_modules():
    weights, layer = np.linspace(1, 2, 3), Gate(3)
    layer.weight.data = weights
    assert check(lambda x: ops.exp(x) * weights, "N 3", draws=5)
    assert check(lambda x: layer(x), "N 3", draws=5)
    assert check(lambda x: ops.exp(x) if isinstance(x, Tensor) else x, "N 3", draws=5)


def test_draws_are_counted_and_the_same_each_time():
    seen = []

    def f(x):
        seen.append(np.array(x.data))
        return x * 2.0

    runs = []
    for _ in range(2):
        seen.clear()
        check(f, "N C", draws=3)
        runs.append([x.tobytes() for x in seen])
    assert runs[0] == runs[1]
    shapes = set()
    check(lambda x: shapes.add(x.shape) or x * 2.0, "N C", draws=40)
    assert len(shapes) > 10


def failing(monkeypatch, fails):
    """`sweep` with a gradcheck that fails where fails(number of the call, x) says so; and the list of its failures."""
    wrong, right = gradcheck(wrong_flip, np.ones((1, 2)), raise_on_failure=False), gradcheck(ops.exp, np.ones(1))
    calls, failures = [], []

    def check(f, x, **options):
        calls.append(x)
        if fails(len(calls), x):
            failures.append(x)
            return wrong
        return right

    monkeypatch.setattr(sweeping, "gradcheck", check)
    return failures


def test_after_many_failing_cases_the_search_for_a_simpler_one_ends(monkeypatch):
    draw = make_target("exp", ops.exp, ("A B C D",)).draw
    failures = failing(monkeypatch, lambda n, x: x.size > 150)
    assert not sweeping.sweep(draw, draws=100, shrinks=3)
    assert len(failures) == 4


def test_what_fails_only_once_is_wrong_all_the_same(monkeypatch):
    draw = make_target("exp", ops.exp, ("N C",)).draw
    failures = failing(monkeypatch, lambda n, x: n == 3)
    found = sweeping.sweep(draw)
    assert not found
    assert found.draws == 3
    assert found.case.inputs[0] is failures[0]


def test_a_function_that_is_not_deterministic_fails_and_is_no_puzzle():
    rng = np.random.default_rng(0)
    assert failure(lambda x: x * rng.standard_normal(), "N C").report.diagnosis.kind == "not deterministic"


@pytest.mark.parametrize(
    ("target", "inputs", "message"),
    [
        (
            scale,
            [np.arange(3), np.arange(3)],
            "check(scale: expected floats among the inputs; got x (3,) int64, w (3,)",
        ),
        (scale, ["N C"], "raises TypeError"),
        (scale, ["N C", "N+C"], 'the shape "N+C": expected names and numbers'),
        (Dense(17, 2), ["N 3"], "raises ValueError"),
        (lambda x: None, ["N"], "returns None. Does it end without a return?"),
    ],
    ids=range(5),
)
def test_where_nothing_can_be_checked_one_sentence_says_why(target, inputs, message):
    with pytest.raises(ValueError, match=r"^check\(") as caught:
        check(target, *inputs)
    assert message in str(caught.value)


def test_the_examples_in_the_docstrings_are_right():
    assert doctest.testmod(testing) == (0, 5)


def test_every_strategy_is_offered_here():
    from minigen.gradcheck.drawing import strategies

    assert set(strategies.__all__) - set(testing.__all__) == set()


def test_in_somebody_elses_suite_pytest_shows_the_report(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        "from minigen import op\n"
        "from minigen.testing import check\n"
        "@op(x=lambda g, x: g * 2 * x**2)\n"
        "def cube(x):\n    return x**3\n"
        "def test_cube():\n    check(cube)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 1
    assert re.search(r"E +.*gradcheck\(cube\)", done.stdout)
    assert "for the inputs x (2, 3) (inferred: x (N, C); draw 1 of 25)" in done.stdout

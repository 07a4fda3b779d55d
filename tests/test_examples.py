"""minigen.examples: whatever of the engine is public can be checked, and is right."""

import pytest

from minigen import models, nn, ops
from minigen.autograd import Op
from minigen.gradcheck.drawing.discover import discover
from minigen.gradcheck.drawing.sweep import sweep


@pytest.fixture(scope="module")
def engine():
    """The Targets of minigen."""
    return discover("minigen")


def names(targets):
    return {t.name.partition(":")[0] for t in targets}


def test_there_is_nothing_for_which_inputs_are_wanting(engine):
    assert [t.problem for t in engine if t.problem] == []


def test_every_public_op_and_layer_is_a_target(engine):
    layers = {name for name, x in vars(nn).items() if isinstance(x, type) and hasattr(x, "forward")}
    assert set(ops.__all__) - names(engine) == set()
    assert layers - {"Module"} - names(engine) == set()


def test_every_loss_of_every_model_is_a_target(engine):
    losses = {case.f.__name__ for t in engine if t.name.partition(":")[0] in vars(models) for case in first_cases(t)}
    expected = {
        f"{model.__name__}: {o.name}" for model in models.MODELS.values() for o in model((1, 8, 8)).objectives()
    }
    assert expected - losses == set()


def first_cases(target):
    found = sweep(target.draw, 1, order=1)
    return [found.case] if hasattr(found.case.f, "__name__") else []


def test_only_what_returns_integers_or_has_no_gradient_is_left_out_by_design(engine):
    assert {t.name for t in engine if t.how == "no derivative by design"} == {
        *("argmax", "argmin", "one_hot"),
        "power_iteration",  # singular vectors, constants by definition
    }
    assert not any(isinstance(t.of, Op) for t in engine if t.draw is None)


def test_the_engine_is_right(engine):
    """Two draws of each; `python -m minigen.gradcheck minigen` draws more."""
    wrong = [str(s.report) for t in engine if t.draw is not None and not (s := sweep(t.draw, 2))]
    assert wrong == []

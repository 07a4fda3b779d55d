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


@pytest.fixture(scope="module")
def checked(engine):
    """{name: the Sweep} of two draws of each; `python -m minigen.gradcheck minigen` draws more."""
    return {t.name: sweep(t.draw, 2) for t in engine if t.draw is not None}


def test_the_engine_is_right(checked):
    assert [str(s.report) for s in checked.values() if not s] == []


def test_every_gradient_that_can_be_other_than_0_is(checked):
    """A gradient that is 0 at all examples has not been checked."""
    idle = {name: [note.split(" has no influence")[0] for note in s.idle] for name, s in checked.items() if s.idle}
    assert idle == {
        "sign": ["x"],
        "WGANGP: D": ["D.3.bias"],  # a constant added to D cancels in D(x) − D(G(z)), and in D's slope
    }

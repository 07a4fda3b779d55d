"""What the report of a failure holds: the wrong element, the op to blame, the whole derivative, and a message."""

import re

import numpy as np
import pytest
from gradcheck_cases import X, absurd_cube, failure, slightly_wrong_cube, wrong_in_one_place

from minigen import ops
from minigen.autograd import op
from minigen.gradcheck import GradientError, gradcheck

rng = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(7,), (5, 3), (40, 50), (3, 100, 200)])
def test_the_single_wrong_element_is_located(shape):
    at = np.zeros(shape, bool)
    index = tuple(n * 2 // 3 for n in shape)
    at[index] = True
    x = np.random.default_rng(1).standard_normal(shape)
    worst = failure(lambda x: wrong_in_one_place(x, at=at), x).worst
    assert worst.index == index
    assert worst.ratio == pytest.approx(2)


def test_locating_costs_some_hundred_evaluations_at_most():
    calls = []
    failure(lambda x: calls.append(1) or absurd_cube(x), rng.standard_normal(20_000))
    assert len(calls) < 400


def test_the_message_names_function_derivative_element_and_ratio():
    @op(x=lambda g: -g)
    def twice(x):
        return 2 * x

    with pytest.raises(GradientError) as caught:
        gradcheck(twice, np.array([[1.0, 2.0]]))
    assert "gradcheck(twice): the first derivative is wrong" in str(caught.value)
    assert re.search(r"x\[0, \d\]: numeric -?\d\.\d+, VJP -?\d\.\d+, ratio VJP/numeric -0\.5\n", str(caught.value))
    assert "constant factor: the VJP for x gives −0.5 = −1/2" in str(caught.value)
    assert caught.value.report.worst.name == "x"


def test_the_maps_of_a_failure_hold_the_whole_derivative():
    numeric, analytic = failure(absurd_cube, X).maps["x"]
    assert numeric.shape == analytic.shape == X.shape
    assert (analytic == 1234.5).all()
    assert abs(numeric).max() < 100


def test_the_op_to_blame_is_named_inside_a_larger_function():
    report = failure(lambda x: ops.tanh(slightly_wrong_cube(ops.exp(x))).sum(), X)
    assert report.op.startswith("the op slightly_wrong_cube, called as slightly_wrong_cube(x: (4, 3) float64)")
    assert "constant factor: the VJP for x gives 1.00001 times" in str(report)


def test_the_cause_is_named_even_for_large_inputs():
    report = failure(absurd_cube, rng.standard_normal(20_000))
    assert report.diagnosis.kind == "forgotten cotangent"
    assert report.maps is None

"""gradcheck passes what is right, and finds what is wrong: one planted fault a test."""

import numpy as np
import pytest
from gradcheck_cases import (
    X,
    absurd_cube,
    cube,
    cube_with_constant_second_derivative,
    cube_with_wrong_fast_path,
    cube_with_wrong_recorded_path,
    failure,
    slightly_wrong_cube,
)

from minigen import ops
from minigen.autograd import Tensor, detach, grad, op, tensor
from minigen.gradcheck import GradientError, gradcheck

rng = np.random.default_rng(0)


# ------------------------------------------------------------------------------------------------ right ones


def test_a_right_derivative_passes_up_to_second_order():
    report = gradcheck(cube, X)
    assert report
    assert report.order == 2
    assert report.worst is None
    assert str(report).startswith("gradcheck(cube): right up to the second derivative")


def test_inputs_may_be_float32_arrays_or_tensors_of_any_size():
    assert gradcheck(cube, X.astype(np.float32))
    assert gradcheck(cube, tensor(X, requires_grad=True))
    assert gradcheck(cube, np.float64(2.0))
    assert gradcheck(cube, np.zeros((0, 3)))


def test_inputs_are_not_changed():
    x, t = X.astype(np.float32), tensor(X.astype(np.float32), requires_grad=True)
    before, node = t.data, t.node
    gradcheck(lambda x, t: x * t, x, t)
    assert np.array_equal(x, X.astype(np.float32))
    assert t.data is before
    assert t.node is node
    assert t.grad is None


def test_integers_masks_and_python_numbers_are_handed_through():
    seen = []

    def f(x, index, mask, k, nothing):
        seen.append((index, mask, k, nothing))
        return ops.where(mask, ops.getitem(x, index), 0.0) ** k

    index, mask = np.array([2, 0, 0]), np.array([True, False, True])
    assert gradcheck(f, np.array([1.0, 2.0, 3.0]), index, mask, 3, None)
    assert all(s[0] is index and s[1] is mask and s[2:] == (3, None) for s in seen)


def test_every_output_of_a_tuple_is_checked():
    assert gradcheck(lambda x: (x * 2.0, cube(x), ops.argmax(x)), X)
    assert failure(lambda x: (x * 2.0, absurd_cube(x)), X).order == 1


def test_every_input_is_checked():
    report = failure(lambda x, y: cube(x) * slightly_wrong_cube(y), X, X + 3)
    assert [e.name for e in report.elements] == ["y"]


def test_an_input_without_influence_is_right_when_others_have_some():
    assert gradcheck(lambda x, y: cube(x), X, X)


def test_kinks_near_by_do_not_disturb():
    x = rng.standard_normal((300, 400))  # 120,000 elements: some lie within the largest step of the kink
    x[0, :50] = 1e-3 * rng.standard_normal(50)
    assert gradcheck(ops.relu, x)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_tolerances_follow_the_size_of_inputs_and_outputs(size):
    assert gradcheck(cube, X * size)
    assert failure(slightly_wrong_cube, X * size).worst.ratio == pytest.approx(1 + 1e-5, abs=1e-7)


def test_a_gradient_penalty_can_be_checked_though_it_differentiates_inside():
    def penalty(x, w):
        x = x if x.node else tensor(x.data, requires_grad=True)
        return (grad(ops.tanh(x @ w).sum(), x, create_graph=True) ** 2).sum()

    assert gradcheck(penalty, X, rng.standard_normal((3, 2)))


def test_the_random_directions_come_from_the_seed():
    numeric = [gradcheck(cube, X, seed=s).numeric for s in (0, 0, 1)]
    assert numeric[0] == numeric[1] != numeric[2]


def test_a_check_costs_the_same_number_of_evaluations_whatever_the_size():
    counts = []
    for n in (1, 1000):
        calls = []
        gradcheck(lambda x, calls=calls: calls.append(1) or cube(x), rng.standard_normal(n))
        counts.append(len(calls))
    assert counts[0] == counts[1] <= 30


# ------------------------------------------------------------------------------------------------ wrong ones


def test_a_gradient_of_1234_5_does_not_pass():
    """A known checker compares the output error twice, and so passes this."""
    with pytest.raises(GradientError, match="the first derivative is wrong"):
        gradcheck(absurd_cube, X)


def test_an_error_of_one_in_a_hundred_thousand_is_found():
    assert failure(slightly_wrong_cube, X).worst.ratio == pytest.approx(1 + 1e-5, abs=1e-8)


def test_a_missing_gradient_is_found_though_the_output_depends_on_the_input():
    report = failure(lambda x: detach(x) ** 2 + 0.0 * cube(x), X)
    assert report.order == 1
    report = failure(lambda x, y: detach(x) * y, X, X)
    assert "x: no gradient reaches it, but numeric says" in str(report)


def test_a_statistic_taken_as_a_constant_fails_in_second_order_only():
    assert gradcheck(cube_with_constant_second_derivative, X, order=1)
    report = failure(cube_with_constant_second_derivative, X)
    assert report.order == 2
    assert "the second derivative is wrong" in str(report)


def test_a_fast_path_for_arrays_must_agree_with_the_recorded_one():
    assert failure(cube_with_wrong_fast_path, X, X).what == "first"
    report = failure(cube_with_wrong_recorded_path, X)
    assert report.what == "first (create_graph=True)"
    assert report.order == 1
    assert gradcheck(cube_with_wrong_recorded_path, X, order=1)


def test_second_order_tests_the_derivative_in_the_cotangent_too():
    @op(g=lambda h, x: h * x * 2)  # the factor 2 is wrong
    def product(g, x):
        return g * x

    @op(x=lambda g, x: product(g, 2 * (x.data if isinstance(x, Tensor) else x)))
    def square(x):
        return x * x

    assert "cotangent" in {e.name for e in failure(square, X).elements}


# ------------------------------------------------------------------------------------------------ not fooled


def test_inputs_drawn_with_the_seed_of_the_check_are_no_special_point():
    """Were the cotangent the input itself, xᵀg would be symmetric, and a transposed gradient would pass."""

    @op(x=lambda g, w: g @ w.T, w=lambda g, x: g.T @ x)
    def product(x, w):
        return x @ w

    x = np.random.default_rng(0).standard_normal((3, 3))
    assert failure(product, x, x).diagnosis.kind == "transposed"


@pytest.mark.parametrize("seed", range(6))
def test_a_gradient_that_is_right_for_some_cotangents_only_is_found_whatever_the_seed(seed):
    """Of one element, half of all cotangents are positive: for them, this gradient is right."""

    @op(x=lambda g: g * (g > 0))
    def guided(x):
        return x * 1.0

    report = gradcheck(guided, np.array([0.7]), order=1, seed=seed, raise_on_failure=False)
    assert report.diagnosis.kind == "forgotten cotangent"


def test_an_input_without_influence_is_noted():
    report = gradcheck(lambda x, y: cube(x) + 0.0 * y, X, X)
    assert report.notes == ["y has no influence on the result at this point."]

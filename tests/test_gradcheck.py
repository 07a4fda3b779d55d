"""gradcheck passes what is right, and says what is wrong: one planted fault a test."""

import re

import numpy as np
import pytest

from minigen import ops
from minigen.autograd import Tensor, detach, grad, op, tensor
from minigen.gradcheck import GradientError, gradcheck

rng = np.random.default_rng(0)
X = rng.standard_normal((4, 3))


@op(x=lambda g, x: g * 3 * x**2)
def cube(x):
    return x**3


@op(x=lambda g, x: g * 3 * x**2 * (1 + 1e-5))
def slightly_wrong_cube(x):
    return x**3


@op(x=lambda g, x: g * 0 + 1234.5)
def absurd_cube(x):
    return x**3


@op(x=lambda g, x: g * 3 * (x.data if isinstance(x, Tensor) else x) ** 2)
def cube_with_constant_second_derivative(x):
    return x**3


@op(x=lambda g, x: g * (3 if isinstance(x, Tensor) else 1) * x**2, y=lambda g: g)
def cube_with_wrong_fast_path(x, y):
    return x**3 + y


@op(x=lambda g, x: g * (1 if isinstance(x, Tensor) else 3) * x**2)
def cube_with_wrong_recorded_path(x):
    return x**3


@op(x=lambda g, at: g * (1 + 1.0 * at))
def wrong_in_one_place(x, *, at):
    return x * 1.0


def failure(f, *inputs, **options):
    report = gradcheck(f, *inputs, raise_on_failure=False, **options)
    assert not report
    return report


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


# ------------------------------------------------------------------------------------------------ nothing to check


@pytest.mark.parametrize(
    ("f", "inputs", "message"),
    [
        (
            cube,
            [np.arange(3)],
            "floats among the inputs; got ndarray of int64. Integers have no derivative: pass x.ast",
        ),
        (cube, [3], "got int. Integers have no derivative"),
        (lambda: None, [], "expected at least one Tensor or array of floats among the inputs; got none."),
        (lambda x: None, [X], "as the result; got None. Is a `return` missing?"),
        (lambda x: ops.argmax(x), [X], "as the result; got a Tensor of int64."),
    ],
)
def test_a_call_with_nothing_to_check_is_an_error_of_one_sentence(f, inputs, message):
    with pytest.raises(ValueError, match=r"^gradcheck\(") as caught:
        gradcheck(f, *inputs)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 3}, "expected order 1 or 2; got 3"),
        ({"dtype": "float16"}, "expected dtype 'float64', 'float32', 'tf32'; got 'float16'"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        gradcheck(cube, X, **options)


def test_what_is_checked_must_be_callable():
    with pytest.raises(ValueError, match="expected a function, op or Module first; got ndarray"):
        gradcheck(X, cube)


# ------------------------------------------------------------------------------------------------ no comparison


@pytest.mark.parametrize(
    ("f", "kind", "text"),
    [
        (lambda x: x.data, "no gradient", "the result is an array, not a Tensor"),
        (lambda x: detach(x) * 2, "no gradient", "the result changes with x, but no gradient leads back to it."),
        (lambda x: Tensor(np.ones(3)), "ignored input", "the result does not depend on x."),
        (lambda x: ops.astype(x, np.float32), "wrong dtype", "the result is float32 for float64 inputs."),
        (lambda x: ops.log(x * 0.0), "nan", "the result made by the op log is -inf at [0, 0], where x = 0.12"),
        (lambda x: ops.sqrt(x * x * 0.0), "nan", "the gradient of x is nan at [0, 0]"),
        (lambda x: x * rng.standard_normal(), "not deterministic", "two calls with the same inputs gave different"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_where_a_comparison_means_nothing_the_report_says_why(f, kind, text):
    report = failure(f, X)
    assert report.diagnosis.kind == kind
    assert text in report.diagnosis.text
    assert report.diagnosis.advice in str(report)
    assert report.elements == []


# ------------------------------------------------------------------------------------------------ kinks


def test_an_element_at_a_kink_is_left_out_and_the_report_says_where():
    report = gradcheck(ops.relu, np.array([0.0, 1.0, -2.0]))
    assert report
    assert len(report.notes) == 1
    assert "Left out: 1 element at a kink" in report.notes[0]
    assert "x[0]: slope 0 to the left" in report.notes[0]


def test_ties_of_a_maximum_are_left_out():
    x = np.array([[1.0, 1.0, 0.0], [0.3, 2.0, 1.5]])
    report = gradcheck(lambda x: ops.max(x, axis=1), x)
    assert "2 elements at a kink" in report.notes[0]


def test_where_every_element_is_at_a_kink_nothing_is_vouched_for():
    assert failure(ops.relu, np.zeros(3)).diagnosis.kind == "kink"


def test_a_gradient_that_lies_outside_the_slopes_is_wrong_at_a_kink_too():
    @op(x=lambda g, x: g * ((x > 0) + 3.0 * (x == 0)))
    def relu_with_slope_3_at_0(x):
        return np.maximum(x, 0)

    diagnosis = failure(relu_with_slope_3_at_0, np.array([0.0, 1.0, -2.0])).diagnosis
    assert diagnosis.kind == "kink"
    assert "neither slope" in diagnosis.text


def test_a_wrong_gradient_beside_a_kink_is_still_found():
    assert failure(lambda x: ops.relu(x) + absurd_cube(x), np.array([0.0, 1.0, -2.0])).op.startswith(
        "the op absurd_cube"
    )


# ------------------------------------------------------------------------------------------------ precision


def test_vjps_can_be_checked_in_float32():
    seen = set()

    @op(x=lambda g, x: seen.add(x.dtype.name) or g * 3 * x**2)
    def watched_cube(x):
        return x**3

    assert gradcheck(watched_cube, X, dtype="float32", order=1)
    assert seen == {"float32"}


def test_a_fault_in_float32_alone_is_found_by_a_check_in_float32():
    @op(x=lambda g, x: g * 3 * x**2 * (1.01 if x.dtype == np.float32 else 1.0))
    def cube_with_wrong_float32(x):
        return x**3

    assert gradcheck(cube_with_wrong_float32, X)
    report = failure(cube_with_wrong_float32, X, dtype="float32")
    assert report.diagnosis.kind == "constant factor"
    assert gradcheck(cube_with_wrong_float32, X, dtype="tf32")  # 1 % is within TensorFloat-32's tolerance


def test_a_function_that_computes_in_float32_whatever_it_is_given_is_checked_with_coarse_differences():
    f = lambda x: ops.tanh(ops.astype(x, np.float32))
    assert gradcheck(f, X, dtype="float32", order=1)
    wrong = lambda x: absurd_cube(ops.astype(x, np.float32))
    assert not gradcheck(wrong, X, dtype="float32", order=1, raise_on_failure=False)


def test_an_op_that_makes_float64_of_float32_is_told():
    @op(x=lambda g: g * np.float64(2))
    def double(x):
        return x * np.float64(2)

    assert failure(double, X).diagnosis.kind == "wrong dtype"


def test_where_differences_of_no_two_steps_agree_none_is_trusted():
    report = failure(lambda x: ops.sin(1e9 * x), X)
    assert report.diagnosis.kind == "out of precision"
    assert report.diagnosis.text.endswith("so that none can be trusted.")


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

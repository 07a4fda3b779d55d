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
    assert counts[0] == counts[1] <= 20


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


@pytest.mark.parametrize("shape", [(7,), (5, 3), (40, 50), (3, 200, 1000)])
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
    failure(lambda x: calls.append(1) or absurd_cube(x), rng.standard_normal(100_000))
    assert len(calls) < 400


def test_the_message_names_function_derivative_element_and_ratio():
    @op(x=lambda g: -g)
    def twice(x):
        return 2 * x

    with pytest.raises(GradientError) as caught:
        gradcheck(twice, np.array([[1.0, 2.0]]))
    assert "gradcheck(twice): the first derivative is wrong" in str(caught.value)
    assert re.search(r"x\[0, \d\]: numeric -?\d\.\d+, VJP -?\d\.\d+, ratio VJP/numeric -0\.5$", str(caught.value))
    assert caught.value.report.worst.name == "x"


# ------------------------------------------------------------------------------------------------ nothing to check


@pytest.mark.parametrize(
    ("f", "inputs", "message"),
    [
        (cube, [np.arange(3)], "expected at least one Tensor or array of floats among the inputs; got ndarray."),
        (lambda: None, [], "expected at least one Tensor or array of floats among the inputs; got none."),
        (lambda x: None, [X], "expected a Tensor of floats, or a tuple of them, as the result; got none."),
        (lambda x: ops.argmax(x), [X], "as the result; got none."),
        (lambda x: x.data, [X], "expected Tensors as the result; got an array."),
        (lambda x: Tensor(np.ones(3)), [X], "the result does not depend on x. Was it cut by detach()?"),
        (lambda x: ops.astype(x, np.float32), [X], "got a float32 result for float64 inputs"),
        (lambda x: ops.log(x * 0.0), [X], "the result is not finite at these inputs"),
        (lambda x: x * rng.standard_normal(), [X], "not deterministic; two calls with the same inputs gave different"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_where_nothing_can_be_checked_one_sentence_says_why(f, inputs, message):
    with pytest.raises(ValueError, match=r"^gradcheck\(") as caught:
        gradcheck(f, *inputs)
    assert message in str(caught.value)


def test_the_order_is_1_or_2():
    with pytest.raises(ValueError, match="expected order 1 or 2; got 3"):
        gradcheck(cube, X, order=3)

"""Where no comparison is possible, or only a part of one: nothing to check, no numbers, kinks, float32."""

import numpy as np
import pytest
from gradcheck_cases import X, absurd_cube, cube, failure

from minigen import ops
from minigen.autograd import Tensor, detach, op
from minigen.gradcheck import gradcheck

rng = np.random.default_rng(0)


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

"""Attempts to fool the checker: wrong derivatives that are easily passed, and right ones that are easily accused."""

import numpy as np
import pytest

from minigen import ops
from minigen.autograd import Tensor, op
from minigen.backend import Generator
from minigen.gradcheck import gradcheck
from minigen.nn import BatchNorm, Dense, Module

rng = np.random.default_rng(0)
X = rng.standard_normal((4, 3))


@op(x=lambda g, x: 2.5 * g * 2 * x)
def wrong_square(x):
    return x * x


def kind_of(f, *inputs, **options):
    report = gradcheck(f, *inputs, raise_on_failure=False, **options)
    return report.diagnosis and report.diagnosis.kind


# ------------------------------------------------------------------------------------------------ must not pass


def test_a_vjp_that_reads_what_the_last_call_left_behind_is_found():
    """relu(a) + relu(b) would take b's mask for both."""
    last = {}

    def forward(x):
        last["mask"] = x > 0
        return x * last["mask"]

    assert kind_of(op(x=lambda g: g * last["mask"])(forward), X) == "hidden state"


def test_one_wrong_element_among_a_hundred_thousand_is_found():
    at = np.zeros(100_000)
    at[77_777] = 1

    @op(x=lambda g: g * (1 + 0.5 * at))
    def almost(x):
        return x * 1.0

    found = [gradcheck(almost, np.ones(100_000), seed=s, order=1, raise_on_failure=False) for s in range(4)]
    assert not any(found)


def test_a_wrong_gradient_of_a_parameter_that_hardly_matters_is_found():
    """As behind a LayerScale of 1e-6: in the sum over all directions its error is nothing."""
    w = 1e-2 * rng.standard_normal((3, 3))
    assert kind_of(lambda x, w: x + 1e-6 * (x @ wrong_square(w)), X, w) == "constant factor"
    assert gradcheck(lambda x, w: x + 1e-6 * (x @ (w * w)), X, w)


def test_a_small_term_on_a_large_offset_is_checked():
    assert kind_of(lambda x: 1e4 + 1e-4 * wrong_square(x), X) == "constant factor"


@pytest.mark.parametrize("bend", [lambda g: np.clip(g, -50, 50), lambda g: np.where(abs(g) < 1e-4, 0, g)])
def test_a_vjp_that_bends_large_or_small_cotangents_is_found(bend):
    f = op(x=lambda g: bend(g))(lambda x: x * 1.0)
    assert kind_of(f, X, order=1) == "forgotten cotangent"


def test_the_parameters_of_a_bound_method_are_checked_and_its_module_left_as_found():
    class Net(Module):
        def __init__(self):
            self.fc, self.bn = Dense(3, 3, rng=Generator(0)), BatchNorm(3)

        def loss(self, x):
            return self.bn(x @ wrong_square(self.fc.weight))

    net = Net()
    before = net.bn.running_mean.data.copy()
    report = gradcheck(net.loss, X, raise_on_failure=False)
    assert [e.name for e in report.elements] == ["fc.weight"]
    assert np.array_equal(net.bn.running_mean.data, before)


def test_buffers_of_a_module_that_a_function_closes_over_are_left_as_found():
    bn = BatchNorm(3)
    assert gradcheck(lambda x: bn(x), X)
    assert not bn.running_mean.data.any()


def test_outputs_in_nested_tuples_and_dicts_are_checked():
    assert kind_of(lambda x: (x * 1.0, (wrong_square(x), x)), X) == "constant factor"
    assert kind_of(lambda x: {"a": x * 1.0, "b": [wrong_square(x)]}, X) == "constant factor"


def test_a_result_that_the_next_call_overwrites_is_found():
    buffer = np.empty_like(X)
    f = op(x=lambda g, x: g * (1 - ops.tanh(x) ** 2))(lambda x: np.tanh(x, out=buffer))
    report = gradcheck(f, X, raise_on_failure=False)
    assert "it writes both into one array" in report.diagnosis.text


# ------------------------------------------------------------------------------------------------ must be named right


def test_kinks_beside_a_wrong_gradient_do_not_hide_its_cause():
    doubled = op(x=lambda g, x: 2 * g * (x > 0))(lambda x: np.maximum(x, 0))
    x = np.array([0.0, 1.0, -2.0, 0.0, 0.5])
    report = gradcheck(doubled, x, raise_on_failure=False)
    assert report.diagnosis.text.startswith("the VJP for x gives 2 ")
    assert "2 elements at a kink" in report.notes[0]


def test_a_border_that_is_left_out_is_no_shift_where_the_derivative_is_the_same_everywhere():
    inside = np.array([0.0, 1, 1, 1, 1])
    f = op(x=lambda g: g * inside)(lambda x: x.sum())
    report = gradcheck(f, rng.standard_normal(5), order=1, raise_on_failure=False)
    assert report.diagnosis.text.startswith("the VJP for x is right at 4 of 5 elements, and wrong at [0]")


def test_a_straight_through_estimator_is_no_derivative():
    ste = op(x=lambda g: g)(lambda x: np.round(x))
    report = gradcheck(ste, X, raise_on_failure=False)
    assert report.diagnosis.kind == "ignored input"
    assert "straight-through" in report.diagnosis.advice


def test_where_there_is_no_derivative_to_compare_with_none_is_called_wrong():
    """x^1.5 has a derivative at 0, but differences come to it only as √h; x^0.5 has none."""
    x = np.array([0.0, 0.3, -1.0])
    assert kind_of(lambda x: ops.relu(x) ** 1.5, x) == "out of precision"
    assert kind_of(lambda x: abs(x) ** 1.5, x) == "nan"
    assert kind_of(lambda x: x**1.5, np.array([0.0, 0.3])) == "nan"
    assert kind_of(ops.tanh, np.array([np.inf, 1.0])) == "nan"


def test_few_elements_prove_no_pattern():
    """Of two wrong elements of six, the wrong ones are as likely as not the largest."""

    @op(x=lambda g, x: g * np.where(abs(x) > 1, np.sign(x) * 2, x))
    def huber(x):
        return np.where(abs(x) > 1, abs(x) - 0.5, x * x / 2)

    few = gradcheck(huber, np.array([0.3, -0.4, 1.5, 0.7, 1.2, -0.2]), order=1, raise_on_failure=False)
    assert "exactly where" not in few.diagnosis.text
    many = gradcheck(huber, 2 * rng.standard_normal(60), order=1, raise_on_failure=False)
    assert "exactly where |x| > " in many.diagnosis.text


def test_the_map_of_a_linear_function_applied_forward_is_told():
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    rotate = op(x=lambda g: g @ turn)(lambda x: x @ turn)
    report = gradcheck(rotate, X[:, :2], raise_on_failure=False)
    assert report.diagnosis.kind == "transposed"
    assert "J·g instead of Jᵀ·g" in report.diagnosis.text


def test_the_worst_element_is_the_worst_of_all():
    at = np.zeros((9, 9))
    at[2, 7], at[3, 1] = 1.0, 0.5
    f = op(x=lambda g: g * (1 + at))(lambda x: x * 1.0)
    report = gradcheck(f, np.ones((9, 9)), order=1, raise_on_failure=False)
    numeric, analytic = report.maps["x"]
    assert report.worst.index == np.unravel_index(abs(numeric - analytic).argmax(), (9, 9))


# ------------------------------------------------------------------------------------------------ must pass


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x / ops.sqrt((x * x).sum(axis=1, keepdims=True)),  # of one number a row: ±1
        lambda x: ops.softmax(x, axis=1).sum(axis=1),
        lambda x: ops.layer_norm(x, x.shape[1:]).sum(axis=1),
        lambda x: ops.sin(x) ** 2 + ops.cos(x) ** 2,
    ],
)
@pytest.mark.parametrize("shape", [(5, 1), (2, 1), (4, 3)])
def test_a_derivative_that_is_zero_but_for_rounding_passes(f, shape):
    for seed in range(5):
        assert gradcheck(f, np.random.default_rng(seed).standard_normal(shape), seed=seed)


def test_a_bias_before_batch_norm_passes_though_its_gradient_is_only_rounding():
    bias = lambda x, b: ops.batch_norm(x + b, None, None, training=True)
    assert gradcheck(bias, X, X[0])


def test_an_op_that_computes_in_float32_inside_passes_a_check_in_float32():
    @op(x=lambda g, out: g * (1 - out * out))
    def single(x):
        return np.tanh(x.astype(np.float32)).astype(x.dtype)

    assert kind_of(single, X) == "out of precision"
    assert gradcheck(single, X, dtype="float32", order=1)


def test_a_class_is_no_layer_yet():
    with pytest.raises(ValueError, match=r"got the class BatchNorm: make an instance, BatchNorm\(...\)"):
        gradcheck(BatchNorm, X)


def test_complex_numbers_are_refused_by_name():
    with pytest.raises(ValueError, match="Complex numbers are not supported"):
        gradcheck(lambda x: Tensor(x), X.astype(complex))

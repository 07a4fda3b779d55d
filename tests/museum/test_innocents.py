"""What is right is never accused: chosen suspects, and random draws over all ops of the engine."""

import innocent_modules  # noqa: F401 (importing them puts them among the innocents)
import innocents
import pytest
from draws import any_case
from exhibit import INNOCENTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minigen.gradcheck import gradcheck

DTYPES = st.sampled_from(["float64", "float32"])


def report_of(function):
    return next(e for e in INNOCENTS if e.name == function.__name__).check()


@pytest.mark.parametrize("e", INNOCENTS, ids=lambda e: e.name)
def test_what_is_right_passes(e):
    report = e.check()
    assert report, report


@pytest.mark.parametrize("function", [innocents.absolute_at_zero, innocents.maximum_of_equals, innocents.relu_of_zeros])
def test_elements_at_a_kink_are_left_out_and_the_report_says_so(function):
    assert "at a kink" in " ".join(report_of(function).notes)


@pytest.mark.parametrize("function", [innocents.one_input_ignored, innocents.every_element_saturated])
def test_an_input_without_influence_is_noted(function):
    assert "has no influence on the result" in " ".join(report_of(function).notes)


def accuses_none(case, dtype):
    name, f, inputs = case
    report = gradcheck(f, *inputs, dtype=dtype, raise_on_failure=False)
    # Where rounding leaves nothing to compare with, as for tiny inputs of some losses, to say so accuses nobody.
    assert report or report.diagnosis.kind == "out of precision", f"{name}\n{report}"


@given(any_case(), DTYPES)
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_op_of_the_engine_is_accused_in_150_draws(case, dtype):
    accuses_none(case, dtype)


@pytest.mark.slow
@given(any_case(), DTYPES)
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_op_of_the_engine_is_accused_in_1000_draws(case, dtype):
    accuses_none(case, dtype)

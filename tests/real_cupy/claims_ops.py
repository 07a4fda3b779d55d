"""On the real CuPy, on a GPU that does nothing: every op, and in what order results lie. Run by test_real_cupy.py."""

import cupy
import numpy as np
import pytest
from backend.memory_order import AS_THE_ARGUMENT, ROW_MAJOR, images, in_row_major_order
from backend.test_on_device import ROWS, called, gradients, outputs
from real_cupy import inside

from minigen.backend import use

# With a mask as index the shape of the result depends on values, and here there are none.
ROWS = [case for case in ROWS if getattr(case.call.keywords.get("index"), "dtype", None) != "bool"]
FORBIDDEN = "bad launch", "wrong stream", "missing"


@pytest.fixture(autouse=True)
def on_cupy():
    use("cupy")
    inside.log()
    yield
    assert not [line for line in inside.log() if line.startswith(FORBIDDEN)]


def like(a, b):
    assert isinstance(a, cupy.ndarray)
    assert (a.shape, a.dtype) == (b.shape, b.dtype)


@pytest.mark.parametrize("case", ROWS, ids=lambda c: c.name)
def test_an_op_has_the_shape_and_dtype_that_it_has_on_numpy(case):
    for a, b in zip(outputs(called(case, cupy)[0]), outputs(called(case, np)[0]), strict=True):
        like(a, b)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", [c for c in ROWS if c.differentiable], ids=lambda c: c.name)
def test_a_derivative_has_the_shape_and_dtype_that_it_has_on_numpy(case, order):
    for a, b in zip(gradients(case, cupy, order), gradients(case, np, order), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            like(a.data, b.data)


@pytest.mark.parametrize("name", ROW_MAJOR | AS_THE_ARGUMENT)
def test_a_result_lies_in_memory_as_the_stand_in_says(name):
    result = (ROW_MAJOR | AS_THE_ARGUMENT)[name](cupy, *images(cupy))
    assert in_row_major_order(result) == (name in ROW_MAJOR)

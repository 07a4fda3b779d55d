"""What the tests of gradcheck share: ops with one fault each, and a check that must fail."""

import numpy as np

from minigen.autograd import Tensor, op
from minigen.gradcheck import gradcheck

X = np.random.default_rng(0).standard_normal((4, 3))


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

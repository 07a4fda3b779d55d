"""Ops of any number of inputs, of several outputs, and with quantities that their VJPs share."""

import numpy as np
import pytest

from minigen import ops
from minigen.autograd import grad, op, tensor


def leaf(*values):
    return tensor(np.array(values, np.float32), requires_grad=True)


@op(xs=lambda g, i, xs, xs_shape: g * (2 * i + 1) * xs[i] ** (2 * i) if len(xs_shape) == len(xs) else None)
def odd_powers(*xs):
    """x₀ + x₁³ + x₂⁵ + ..."""
    return sum(x ** (2 * i + 1) for i, x in enumerate(xs))


def test_the_vjp_of_any_number_of_inputs_is_told_which_one_is_meant():
    a, b, c = leaf(2.0), leaf(3.0), leaf(1.0)
    gs = grad(odd_powers(a, b, c), [a, b, c])
    assert [g.item() for g in gs] == [1, 27, 5]


def test_constants_may_stand_among_any_number_of_inputs_also_in_second_order():
    a, c = leaf(2.0), leaf(3.0)
    first = grad(odd_powers(a, np.ones(1, np.float32), c), c, create_graph=True)
    assert first.item() == 5 * 3**4
    assert grad(first, c).item() == 20 * 3**3


def test_the_error_of_one_of_many_inputs_names_its_number():
    @op(xs=lambda g, i: g if i == 0 else g[:, None])
    def first_of(*xs):
        return xs[0] + 0 * xs[1]

    a, b = leaf(1.0, 2.0), leaf(1.0, 2.0)
    with pytest.raises(Exception) as raised:
        grad(first_of(a, b).sum(), [a, b])
    assert raised.value.__notes__ == [r"in the VJP of first_of for 'xs[1]'"]


def test_several_outputs_come_as_a_tuple_and_an_unused_one_gets_zeros():
    x = leaf(1.0, 2.0, 3.0)
    first, second, third = ops.split(x, 1)
    assert grad((first * third).sum(), x).tolist() == [3, 0, 1]
    assert grad(second.sum(), x).tolist() == [0, 1, 0]


def test_an_output_is_differentiable_with_respect_to_an_output():
    x = leaf(1.0, 2.0)
    first, second = ops.split(x, 1)
    assert grad(first * second, second).tolist() == [1]


def test_an_unused_output_is_seen_by_the_vjp_as_none():
    seen = []

    @op(x=lambda g: seen.append([p is None for p in g]) or g[0])
    def twins(x):
        return x * 1, x * 1

    x = leaf(1.0)
    grad(twins(x)[0], x)
    assert seen == [[False, True]]


def test_a_shared_quantity_is_computed_once_a_backward_pass():
    calls = []

    @op(
        doubled=lambda g, y: calls.append(1) or 2 * g * y,
        x=lambda g, doubled: doubled,
        y=lambda g, doubled, x: doubled * x,
    )
    def f(x, y):
        return x * y

    x, y = leaf(1.0), leaf(3.0)
    assert [g.item() for g in grad(f(x, y), [x, y])] == [6, 6]
    assert len(calls) == 1
    assert grad(f(x, y), x).item() == 6
    assert len(calls) == 2


def test_out_is_differentiable_again():
    @op(x=lambda g, out: g * out)
    def exponential(x):
        return np.exp(x)

    x = leaf(2.0)
    first = grad(exponential(x), x, create_graph=True)
    assert grad(first, x).item() == first.item() == exponential(x).item()


def test_out_of_an_op_with_several_outputs_is_differentiable_again():
    def pull(g, out):
        """Of (x²/2, x): x for the first, which is the second output; 1 for the second."""
        terms = [t for t in (g[0] is not None and g[0] * out[1], g[1]) if t is not None and t is not False]
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    @op(x=pull)
    def half_square(x):
        return x * x / 2, x * 1

    x = leaf(3.0)
    first = grad(half_square(x)[0], x, create_graph=True)
    assert first.item() == 3
    assert grad(first, x).item() == 1


def test_an_input_that_no_used_output_depends_on_has_no_gradient():
    @op(x=lambda g: g[0], y=lambda g: g[1])
    def both(x, y):
        return x * 2, y * 2

    x, y = leaf(1.0), leaf(1.0)
    assert grad(both(x, y)[0], [x, y], allow_unused=True)[1] is None

"""@op: what a definition must be, how an op may be called, what it records and saves, and what its errors say."""

import gc
import weakref

import numpy as np
import pytest

from minigen import ops
from minigen.autograd import Op, grad, no_grad, op, tensor


def leaf(*values):
    return tensor(np.array(values, np.float32), requires_grad=True)


@op(x=lambda g, x: g * 3 * x**2)
def cube(x):
    """x³."""
    return x**3


@op(x=lambda g, y: g * y, y=lambda g, x: g * x)
def product(x, y):
    return x * y


@op(x=lambda g, scale: g * scale)
def scaled(x, *, scale=2.0, shift=0.0):
    return x * scale + shift


# ------------------------------------------------------------------------------------------------ definition


def test_an_op_keeps_the_name_the_docstring_and_the_function():
    assert (cube.__name__, cube.__doc__, cube.__wrapped__(2)) == ("cube", "x³.", 8)
    assert isinstance(cube, Op)
    assert repr(scaled) == "<op scaled(x, scale=2.0, shift=0.0)>"


def test_a_vjp_that_asks_for_a_wrong_name_fails_at_definition_and_is_told_the_right_ones():
    with pytest.raises(
        TypeError, match=r"op 'f': the VJP for 'x' asks for 'z'; it may ask for \['out', 'x', 'x_shape'\]"
    ):

        @op(x=lambda g, z: g * z)
        def f(x):
            return x


def test_a_rule_for_something_that_is_no_input_fails_at_definition():
    with pytest.raises(TypeError, match=r"op 'f': a rule is given for \['z'\], but the inputs are \['x'\]"):

        @op(x=lambda g: g, z=lambda g: g)
        def f(x):
            return x


def test_a_wrong_name_in_a_shared_quantity_fails_at_definition():
    with pytest.raises(TypeError, match="the VJP for 'both' asks for 'wrong'"):

        @op(both=lambda g, wrong: g, x=lambda g, both: both)
        def f(x):
            return x


def test_an_input_or_option_called_out_fails_at_definition():
    for define in (lambda: op()(lambda out: out), lambda: op()(lambda x, *, out=None: x)):
        with pytest.raises(TypeError, match="'out' is the result"):
            define()


# ------------------------------------------------------------------------------------------------ calls


def test_arrays_and_numbers_give_arrays_and_numbers():
    assert cube(2) == 8
    assert type(cube(np.ones(2))) is np.ndarray


def test_options_may_be_given_by_name_or_by_position():
    x = leaf(1.0)
    for out in (
        scaled(x, scale=3.0, shift=1.0),
        scaled(x, 3.0, 1.0),
        scaled(x, 3.0, shift=1.0),
        scaled(x=x, scale=3.0, shift=1.0),
    ):
        assert out.tolist() == [4]
        assert grad(out, x).tolist() == [3]
    assert grad(scaled(x), x).tolist() == [2]


def test_positional_options_stand_in_pytorchs_order():
    x = np.arange(6.0).reshape(2, 3)
    assert ops.sum(tensor(x), 1).tolist() == [3, 12]
    assert ops.sum(tensor(x), 1, True).shape == (2, 1)
    assert ops.softmax(tensor(x), 0).tolist() == ops.softmax(x, axis=0).tolist()
    assert ops.var(tensor(x), 0, 0).tolist() == x.var(0).tolist()


def test_dim_and_keepdim_and_input_are_understood():
    x = leaf(1.0, 2.0).reshape(1, 2)
    assert ops.sum(x, dim=1).tolist() == [3]
    assert ops.sum(x, dim=1, keepdim=True).shape == (1, 1)
    assert ops.mean(input=x, dim=0).tolist() == [1, 2]
    assert x.max(dim=1, keepdim=True).shape == (1, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: scaled(x, 1, 2, 3), "too many positional arguments"),
        (lambda x: scaled(), "missing a required argument: 'x'"),
        (lambda x: scaled(x, size=2), "got an unexpected keyword argument 'size'"),
        (lambda x: scaled(x, 1.0, scale=2.0), "multiple values for argument 'scale'"),
        (lambda x: scaled(x, x=x), "multiple values for argument 'x'"),
    ],
)
def test_a_call_with_wrong_arguments_is_told_the_signature(call, message):
    with pytest.raises(TypeError, match=rf"^scaled\(x, scale=2\.0, shift=0\.0\): {message}\.$"):
        call(leaf(1.0))


def test_a_missing_option_is_named():
    with pytest.raises(TypeError, match="'shape'"):
        ops.reshape(leaf(1.0))


def test_a_numpy_scalar_is_the_number_it_is():
    x = leaf(1.0, 2.0)
    out = product(x, np.float64(2))
    assert out.dtype == np.float32
    assert grad(out.sum(), x).dtype == np.float32


def test_an_op_in_a_class_body_is_a_method():
    class Volume:
        of_cube = cube

    volume = Volume()
    assert Volume.of_cube is cube
    with pytest.raises(TypeError, match="Volume"):
        volume.of_cube()  # Volume() ** 3: it was bound
    assert tensor([0.0]).exp().tolist() == [1]


def test_the_error_of_an_op_carries_a_note_with_all_shapes_and_options():
    with pytest.raises(ValueError) as raised:
        product(tensor(np.ones((2, 3), np.float32)), tensor(np.ones(4)))
    assert raised.value.__notes__ == ["in product(x: (2, 3) float32, y: (4,) float64)"]
    with pytest.raises(Exception) as raised:
        ops.sum(leaf(1.0), axis=3)
    assert raised.value.__notes__ == ["in sum(x: (1,) float32, axis=3)"]


def test_the_error_of_a_vjp_carries_a_note_with_op_and_input():
    @op(x=lambda g: g + None)
    def wrong(x):
        return x

    x = leaf(1.0)
    with pytest.raises(TypeError) as raised:
        grad(wrong(x), x)
    assert raised.value.__notes__ == ["in the VJP of wrong for 'x'"]


# ------------------------------------------------------------------------------------------------ what is recorded


def test_a_call_records_its_op_its_parents_and_only_what_a_vjp_names():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    z = product(x, y)
    assert z.node.op is product
    assert z.node.parents == [x.node, y.node]
    assert set(z.node.saved) == {"x", "y"}
    assert z.node.serial > y.node.serial > x.node.serial


def test_what_only_the_vjp_of_a_constant_names_is_not_saved():
    assert set(product(leaf(1.0), tensor([2.0])).node.saved) == {"y"}
    assert set(product(2.0, leaf(1.0)).node.saved) == {"x"}


def test_only_constants_record_nothing():
    assert product(tensor([1.0]), tensor([2.0])).node is None


def test_nothing_is_recorded_in_no_grad_neither_as_block_nor_as_decorator():
    x = leaf(1.0)
    with no_grad():
        assert cube(x).node is None
    assert no_grad()(cube)(x).node is None
    assert cube(x).node is not None


def test_a_node_keeps_arrays_and_no_tensor():
    x, y = leaf(1.0), leaf(2.0)
    z = product(x, y)
    assert all(type(v) is np.ndarray for v in z.node.saved.values())
    reference = weakref.ref(y)
    gc.disable()
    try:
        del y
        assert reference() is None
    finally:
        gc.enable()
    assert grad(z, x).tolist() == [2]


def test_new_data_of_a_tensor_leaves_the_recorded_graph_as_it_was():
    x, w = leaf(1.0), leaf(3.0)
    y = product(x, w)
    w.data = w.data + 1  # another array: not a change in place
    assert grad(y, x).tolist() == [3]


# ------------------------------------------------------------------------------------------------ many inputs, outputs


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

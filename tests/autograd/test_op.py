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

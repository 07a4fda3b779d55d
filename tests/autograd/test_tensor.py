"""Tensor: operators with numbers and arrays on both sides, indexing, comparison, printing."""

import operator

import numpy as np
import pytest

from minigen.autograd import Tensor, grad, tensor

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)
Y = np.array([[2.0, 0.5, 1.0], [3.0, 2.0, 0.25]], np.float32)


def leaf(values=X):
    return tensor(np.array(values, np.float32), requires_grad=True)


# ------------------------------------------------------------------------------------------------ making


@pytest.mark.parametrize(
    "data", [1.5, [1.5, 2.0], ((1.0,), (2.0,)), np.float64(1.5)], ids=["float", "list", "tuple", "scalar"]
)
def test_python_floats_become_float32(data):
    if isinstance(data, np.float64):
        assert tensor(data).dtype == np.float64  # it has a dtype of its own
    else:
        assert tensor(data).dtype == np.float32


def test_arrays_keep_their_dtype_and_their_memory():
    for dtype in (np.float64, np.int32, bool):
        a = np.ones(3, dtype)
        assert tensor(a).dtype == dtype
        assert np.shares_memory(tensor(a).data, a)


def test_integers_stay_integers_and_have_no_gradient():
    assert tensor([1, 2]).dtype.kind == "i"
    with pytest.raises(TypeError, match=r"only floats have gradients; got int64. Pass dtype='float32'"):
        tensor([1, 2], requires_grad=True)
    assert tensor([1, 2], requires_grad=True, dtype="float32").requires_grad


@pytest.mark.parametrize("data", ["abc", None, [[1.0], [1.0, 2.0]], object()], ids=["text", "None", "ragged", "object"])
def test_what_holds_no_numbers_is_refused(data):
    with pytest.raises((TypeError, ValueError), match=r"expected numbers|inhomogeneous"):
        tensor(data)


def test_a_tensor_of_a_tensor_is_cut_from_its_graph():
    assert tensor(leaf() * 2).node is None


# ------------------------------------------------------------------------------------------------ operators

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]


@pytest.mark.parametrize("f", BINARY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("other", [2, 2.5, np.float64(1.5), np.float32(0.5), Y, Y[:1], 1.5 * Y[0]], ids=range(7))
def test_an_operator_with_a_number_or_an_array_on_either_side_is_numpys_and_differentiable(f, other):
    x = leaf()
    for out, expected in ((f(x, other), f(X, other)), (f(other, x), f(other, X))):
        assert isinstance(out, Tensor)
        np.testing.assert_allclose(out.data, expected, rtol=1e-6)
        assert out.dtype == np.float32
        assert grad(out.sum(), x).dtype == np.float32


@pytest.mark.parametrize("f", BINARY, ids=lambda f: f.__name__)
def test_an_operator_of_two_tensors(f):
    x, y = leaf(X), leaf(Y)
    np.testing.assert_array_equal(f(x, y).data, f(X, Y))
    assert [g.shape for g in grad(f(x, y).sum(), [x, y])] == [X.shape, Y.shape]


def test_matrix_products_with_arrays_on_either_side():
    x = leaf()
    for out, expected in ((x @ Y.T, X @ Y.T), (Y.T @ x, Y.T @ X), (x @ Y[0], X @ Y[0]), (Y[:, 0] @ x, Y[:, 0] @ X)):
        np.testing.assert_allclose(out.data, expected, rtol=1e-6)
        assert grad(out.sum(), x).shape == X.shape


def test_augmented_assignment_makes_a_new_tensor():
    x = y = leaf()
    x += 1
    x *= 2
    assert x is not y
    np.testing.assert_array_equal(y.data, X)
    assert grad(x.sum(), y).tolist() == [[2] * 3] * 2


def test_minus_and_abs():
    np.testing.assert_array_equal((-leaf()).data, -X)
    np.testing.assert_array_equal(abs(-leaf()).data, X)


def test_numpys_functions_do_not_take_tensors_for_arrays_by_accident():
    with pytest.raises(TypeError, match="__array_ufunc__"):
        np.exp(leaf())


# ------------------------------------------------------------------------------------------------ comparison

COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@pytest.mark.parametrize("f", COMPARISONS, ids=lambda f: f.__name__)
def test_comparisons_are_by_element_with_numbers_arrays_and_tensors_on_either_side(f):
    x = leaf()
    for other in (3, np.float32(3), Y, tensor(Y)):
        raw = other.data if isinstance(other, Tensor) else other
        for out, expected in ((f(x, other), f(X, raw)), (f(other, x), f(raw, X))):
            assert isinstance(out, Tensor)
            assert out.dtype == bool
            assert out.node is None
            np.testing.assert_array_equal(out.data, expected)


def test_booleans_combine():
    a, b = tensor(X) > 2, tensor(X) < 5
    np.testing.assert_array_equal((a & b).data, (X > 2) & (X < 5))
    np.testing.assert_array_equal((a | b).data, (X > 2) | (X < 5))
    np.testing.assert_array_equal((~a).data, X <= 2)


def test_tensors_are_hashed_by_identity():
    x, same = leaf(), leaf()
    assert {x: 1, same: 2}[x] == 1


# ------------------------------------------------------------------------------------------------ indexing

INDICES = [
    *(0, -1, np.int64(1), (0, 2), (1, -1), slice(None), slice(0, 1), (slice(None), slice(None, None, -1))),
    *(None, (None, 0), (slice(None), None, 1), Ellipsis, (Ellipsis, 0), (), [1, 0, 1], (slice(None), [2, 0])),
    *([[0, 1], [1, 1]], np.array([1, 0]), ([0, 1], [2, 2]), X > 2, (slice(None), np.array([True, False, True]))),
]


@pytest.mark.parametrize("index", INDICES, ids=range(len(INDICES)))
def test_indexing_is_numpys_and_its_gradient_counts_how_often_an_element_was_taken(index):
    x = leaf()
    out = x[index]
    np.testing.assert_array_equal(out.data, X[index])
    expected = np.zeros_like(X)
    np.add.at(expected, index, 1)
    np.testing.assert_array_equal(grad(out.sum(), x).data, expected)


def test_a_tensor_may_be_an_index():
    x = leaf()
    np.testing.assert_array_equal(x[tensor([1, 0])].data, X[[1, 0]])
    np.testing.assert_array_equal(x[x > 2].data, X[X > 2])
    np.testing.assert_array_equal(x[:, tensor([1, 1])].data, X[:, [1, 1]])


def test_an_index_out_of_range_tells_the_shape():
    with pytest.raises(IndexError) as raised:
        leaf()[2]
    assert "(2, 3)" in raised.value.__notes__[0]


def test_assignment_to_elements_is_refused_with_a_way_out():
    with pytest.raises(TypeError, match=r"not changed in place.*where\(mask, value, tensor\)"):
        leaf()[0] = 1


def test_iteration_goes_over_the_first_axis_and_is_differentiable():
    x = leaf()
    first, second = x
    assert len(x) == 2
    assert grad((first * second).sum(), x).tolist() == X[::-1].tolist()


@pytest.mark.parametrize("use", [len, list], ids=["len", "iteration"])
def test_a_single_number_has_no_length(use):
    with pytest.raises(TypeError):
        use(tensor(1.0))


# ------------------------------------------------------------------------------------------------ Python numbers


def test_a_single_element_is_a_bool_a_float_and_an_int():
    assert float(tensor([[2.5]])) == 2.5 == tensor([2.5]).item()
    assert int(tensor(2.5)) == 2
    assert bool(tensor(1.0))
    assert not bool(tensor([0.0]))
    assert [10, 20, 30][tensor(2)] == 30
    assert f"{tensor(2.0):.2f}" == "2.00"


@pytest.mark.parametrize("convert", [bool, float, int], ids=lambda f: f.__name__)
def test_several_elements_are_no_single_number(convert):
    with pytest.raises((ValueError, TypeError)):
        convert(leaf())


def test_a_float_is_no_index():
    with pytest.raises(TypeError):
        [1, 2][tensor(1.0)]


# ------------------------------------------------------------------------------------------------ printing


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tensor([1.0, 2.5]), "tensor([1. , 2.5], float32)"),
        (lambda: tensor(1.0), "tensor(1., float32)"),
        (lambda: leaf([1.0]), "tensor([1.], float32, requires_grad)"),
        (lambda: leaf([1.0]) * 2, "tensor([2.], float32, from mul)"),
        (lambda: tensor([[1, 2], [3, 4]]), "tensor([[1, 2],\n        [3, 4]], int64)"),
        (lambda: tensor([True]), "tensor([ True], bool)"),
    ],
    ids=["float", "number", "leaf", "result", "matrix", "bool"],
)
def test_printing_shows_values_dtype_and_origin(make, text):
    assert repr(make()) == str(make()) == text


def test_printing_a_large_tensor_shortens_it_and_tells_the_shape():
    text = repr(tensor(np.zeros((100, 100), np.float32)))
    assert "..." in text
    assert "shape=(100, 100)" in text
    assert len(text) < 300


# ------------------------------------------------------------------------------------------------ methods


def test_methods_have_numpys_names_and_keywords():
    x = leaf()
    for out, expected in (
        (x.sum(axis=0), X.sum(axis=0)),
        (x.mean(axis=1, keepdims=True), X.mean(axis=1, keepdims=True)),
        (x.max(axis=1), X.max(axis=1)),
        (x.min(), X.min()),
        (x.reshape(3, 2), X.reshape(3, 2)),
        (x.reshape((3, -1)), X.reshape(3, -1)),
        (x.transpose(1, 0), X.T),
        (x.transpose(), X.T),
        (x.T, X.T),
        (x.swapaxes(0, 1), X.T),
        (x.flatten(), X.ravel()),
        (x.exp(), np.exp(X)),
        (x.log(), np.log(X)),
        (x.sqrt(), np.sqrt(X)),
        (x.clip(2, 5), X.clip(2, 5)),
        (x.astype(np.float64), X.astype(np.float64)),
        (x.argmax(axis=1), X.argmax(axis=1)),
        (x.var(axis=1), X.var(axis=1, ddof=1)),
        (x.std(axis=1), X.std(axis=1, ddof=1)),
    ):
        np.testing.assert_allclose(out.data, expected, rtol=1e-6)
        assert out.dtype == expected.dtype


def test_shape_ndim_size_and_dtype_are_those_of_the_array():
    x = leaf()
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3), 2, 6, np.float32, 2)

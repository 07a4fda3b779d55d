"""jvp, hvp and jacobian: closed forms, differences, PyTorch, adjointness, nesting, and what their errors say."""

import doctest

import numpy as np
import pytest

import minigen as mg
from minigen import hvp, jacobian, jvp, nn, ops
from minigen.autograd import Tensor, functional, grad, no_grad, op, tensor

rng = np.random.default_rng(0)
A, X, V = rng.standard_normal((4, 3)), rng.standard_normal(3), rng.standard_normal(3)
IMAGE, KERNEL = rng.standard_normal((2, 3, 6, 5)), rng.standard_normal((4, 3, 3, 2))
S = A.T @ A  # symmetric
close = lambda a, b, tol=1e-12: np.testing.assert_allclose(a, b, rtol=tol, atol=tol)  # the same sums in another order


def layers(x, w):
    """Of two inputs, and curved in both: (3,), (4, 3) → (4,)."""
    return ops.tanh(ops.matmul(w, x)) * ops.softmax(ops.matmul(w, ops.sin(x)), axis=0)


def slope_penalty(x, w):
    """As in WGAN-GP: a function of a gradient, differentiated again."""
    g = grad(ops.tanh(ops.matmul(w, x)).sum(), x, create_graph=True)
    return (ops.sqrt((g * g).sum() + 1e-12) - 1) ** 2


# ------------------------------------------------------------------------------------------------ closed forms


def test_jvp_of_a_matrix_is_the_matrix_times_the_tangent():
    value, slope = jvp(lambda x: ops.matmul(A, x), X, V)
    close(value, A @ X)
    close(slope, A @ V)


@pytest.mark.parametrize(
    ("linear", "x"),
    [
        (lambda x: ops.conv2d(x, KERNEL, stride=2, padding=1), IMAGE),
        (lambda w: ops.conv2d(IMAGE, w, dilation=2, padding=(2, 1)), KERNEL),
        (lambda x: ops.conv_transpose2d(x, KERNEL.transpose(1, 0, 2, 3), stride=2), IMAGE),
        (lambda x: ops.avg_pool2d(x, 2), IMAGE),
        (lambda x: ops.pad(x, (1, 2, 0, 1), "reflect"), IMAGE),
    ],
    ids=["conv2d in x", "conv2d in w", "conv_transpose2d", "avg_pool2d", "pad"],
)
def test_the_derivative_of_a_linear_op_is_the_op_itself(linear, x):
    u = rng.standard_normal(x.shape)
    close(jvp(linear, x, u)[1], linear(u))


def test_hvp_of_a_quadratic_form_is_its_matrix_times_the_vector():
    value, product = hvp(lambda x: (x * ops.matmul(S, x)).sum() / 2, X, V)
    assert value.item() == pytest.approx(X @ S @ X / 2)
    close(product, S @ V)


def test_hvp_of_two_inputs_has_the_mixed_terms():
    x, y, (u, v) = np.array([2.0]), np.array([3.0]), (np.array([1.0]), np.array([10.0]))
    _, (hx, hy) = hvp(lambda x, y: (x * x * y).sum(), (x, y), (u, v))
    assert (hx.item(), hy.item()) == (2 * 3 * 1 + 2 * 2 * 10, 2 * 2 * 1)  # 2y·u + 2x·v and 2x·u


def test_jacobian_of_softmax():
    p = ops.softmax(X, axis=0)
    close(jacobian(lambda x: ops.softmax(x, axis=0), X), np.diag(p) - np.outer(p, p))


def test_a_jacobian_has_the_shape_of_the_output_then_that_of_the_input():
    by_x, by_w = jacobian(ops.matmul, [A, S])
    assert (by_x.shape, by_w.shape) == ((4, 3, 4, 3), (4, 3, 3, 3))
    close(by_x, np.einsum("ik,lj->ijkl", np.eye(4), S))
    close(by_w, np.einsum("ik,jl->ijkl", A, np.eye(3)))


def test_an_output_without_elements_has_a_jacobian_without_elements():
    assert jacobian(lambda x: x[:0], X).shape == (0, 3)


# ------------------------------------------------------------------------------------------------ several ways


def test_jvp_is_the_slope_of_a_difference():
    w, (u, v) = A, (V, rng.standard_normal(A.shape))
    slope = jvp(layers, (X, w), (u, v))[1]
    h = 1e-6
    difference = (layers(X + h * u, w + h * v) - layers(X - h * u, w - h * v)) / (2 * h)
    close(slope, difference, 1e-8)  # truncation h² = 1e-12, rounding 1e-16 / h = 1e-10


def test_hvp_is_the_difference_of_gradients():
    def gradient(x):
        x = tensor(x, requires_grad=True)
        return grad(layers(x, A).sum(), x).numpy()

    h = 1e-6
    difference = (gradient(X + h * V) - gradient(X - h * V)) / (2 * h)
    close(hvp(lambda x: layers(x, A).sum(), X, V)[1], difference, 1e-8)


def test_jvp_and_the_vjp_are_adjoint():
    """⟨v, J·u⟩ = ⟨Jᵀv, u⟩, of a network with every kind of layer."""
    random = mg.Generator(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1, rng=random), nn.BatchNorm2d(4), mg.silu, nn.Flatten(), nn.Dense(4 * 9, 5, rng=random)
    )
    x = tensor(IMAGE.astype(np.float32), requires_grad=True)
    u, v = random.normal(x.shape), random.normal((2, 5))
    forward = float((jvp(net, x, u)[1].data * v).sum())
    backward = float((grad(net(x), x, v).data * u).sum())
    assert forward == pytest.approx(backward, rel=1e-4)  # float32, some hundred terms


def test_hvp_is_the_jvp_of_the_gradient():
    gradient = jacobian(lambda x: slope_penalty(x, A), X)
    again = jvp(lambda x: jacobian(lambda x: slope_penalty(x, A), x, create_graph=True), X, V)
    close(again[0], gradient)
    close(hvp(lambda x: slope_penalty(x, A), X, V)[1], again[1])


def test_a_hessian_is_the_jacobian_of_a_jacobian_and_symmetric():
    f = lambda x: (layers(x, A) ** 2).sum()
    H = jacobian(lambda x: jacobian(f, x, create_graph=True), X)
    close(H, H.T)
    close(H @ V, hvp(f, X, V)[1])


# ------------------------------------------------------------------------------------------------ PyTorch


def test_all_three_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    t, U = torch.from_numpy, rng.standard_normal(A.shape)
    torch_layers = lambda x, w: torch.tanh(w @ x) * torch.softmax(w @ torch.sin(x), 0)
    value, slope = torch.func.jvp(torch_layers, (t(X), t(A)), (t(V), t(U)))
    for ours, theirs in zip(jvp(layers, (X, A), (V, U)), (value, slope)):
        close(ours, theirs)
    for ours, theirs in zip(jacobian(layers, (X, A)), torch.func.jacrev(torch_layers, (0, 1))(t(X), t(A))):
        close(ours, theirs)
    loss = lambda x, w: torch_layers(x, w).sum()
    _, theirs = torch.autograd.functional.hvp(loss, (t(X), t(A)), (t(V), t(U)))
    for ours, product in zip(hvp(lambda x, w: layers(x, w).sum(), (X, A), (V, U))[1], theirs):
        close(ours, product)


# ------------------------------------------------------------------------------------------------ what goes in and out


def test_several_outputs_give_several_slopes():
    values, slopes = jvp(lambda x: (x**2, ops.sin(x), Tensor(X)), X, V)
    assert type(values) is type(slopes) is tuple
    for slope, expected in zip(slopes, (2 * X * V, np.cos(X) * V, 0 * X)):
        close(slope, expected)


def test_one_tensor_given_twice_is_two_arguments():
    x = tensor(X, requires_grad=True)
    for create_graph in (False, True):
        by_first, by_second = jacobian(lambda a, b: a * b * b, (x, x), create_graph)
        close(by_first, np.diag(X**2))
        close(by_second, np.diag(2 * X**2))


def test_what_does_not_depend_on_an_input_has_zeros():
    unused, constant = lambda x, y: (x**3).sum(), lambda x: Tensor(np.ones(2))
    assert hvp(unused, (X, A), (V, A))[1][1].tolist() == np.zeros((4, 3)).tolist()
    assert jacobian(unused, (X, A))[1].tolist() == np.zeros((4, 3)).tolist()
    assert jacobian(constant, X).tolist() == np.zeros((2, 3)).tolist()
    assert jvp(constant, X, V)[1].tolist() == [0, 0]
    assert hvp(lambda x: x.sum(), X, V)[1].tolist() == [0, 0, 0]


def test_no_inputs_and_no_outputs_are_no_special_case():
    assert jvp(lambda: Tensor(np.ones(2)), [], [])[1].tolist() == [0, 0]
    assert jvp(lambda x: (), X, V) == ((), ())
    assert jacobian(lambda: Tensor(np.ones(2)), []) == []


def test_float32_stays_float32_whatever_the_tangent_is():
    x = X.astype(np.float32)
    results = [*jvp(ops.sin, x, V), *hvp(lambda x: ops.sin(x).sum(), x, [1, 2, 3] * np.ones(3, int))]
    results += [jacobian(ops.sin, x), jacobian(lambda x: (x * x).sum(), 2.0)]
    assert {r.dtype for r in results} == {np.dtype(np.float32)}


def test_the_inputs_and_their_graph_are_left_as_found():
    x = tensor(X.copy(), requires_grad=True)
    node = x.node
    for result in (*jvp(ops.sin, x, V), *hvp(lambda x: ops.sin(x).sum(), x, V), jacobian(ops.sin, x)):
        assert result.node is None
    assert x.node is node
    assert x.grad is None
    assert x.tolist() == X.tolist()


def test_no_grad_around_them_changes_nothing():
    with no_grad():
        close(jvp(ops.sin, X, V)[1], np.cos(X) * V)
        close(hvp(lambda x: (x**3).sum(), X, V)[1], 6 * X * V)
        close(jacobian(ops.sin, X), np.diag(np.cos(X)))


def test_on_the_device_everything_stays_there(fake_cupy):
    """Hidden transfers raise on the stand-in for CuPy."""
    xp = mg.use("cupy")
    x, v = xp.asarray(X), xp.asarray(V)
    results = [*jvp(ops.sin, x, v), *hvp(lambda x: (x**3).sum(), x, v), jacobian(ops.sin, tensor(x))]
    assert {type(r.data) for r in results} == {xp.ndarray}
    close(results[1].numpy(), np.cos(X) * V)


# ------------------------------------------------------------------------------------------------ derivatives of them


@pytest.mark.parametrize(
    "function",
    [
        lambda x, v: jvp(lambda x: layers(x, A), x, v, create_graph=True)[1],
        lambda x, v: jvp(lambda x: layers(x, A), x, v, create_graph=True)[0],
        lambda x, v: hvp(lambda x: slope_penalty(x, A), x, v, create_graph=True)[1],
        lambda x, v: jacobian(lambda x: layers(x, A), x, create_graph=True) * v,
    ],
    ids=["jvp", "value", "hvp", "jacobian"],
)
def test_with_create_graph_the_result_has_the_right_derivatives_itself(function):
    assert mg.gradcheck(function, X, V, order=1)


def test_with_create_graph_weights_that_f_holds_are_reached():
    w = tensor(A, requires_grad=True)
    penalty = lambda w: hvp(lambda x: slope_penalty(x, w), X, V, create_graph=True)[1].sum()
    h = 1e-6 * rng.standard_normal(A.shape)
    difference = penalty(tensor(A + h)) - penalty(tensor(A - h))
    assert (grad(penalty(w), w).data * 2 * h).sum() == pytest.approx(
        difference.item(), rel=1e-7
    )  # as above: h², 1e-16/h


# ------------------------------------------------------------------------------------------------ errors


@op(x=lambda g, x: g * np.cos(x))
def arrays_only(x):
    return np.sin(x)


@op(x=lambda g, x: Tensor(2 * getattr(g, "data", g) * getattr(x, "data", x)))
def cutting(x):
    return x**2


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: jvp(ops.sin, X, V[:2]), ValueError, r"jvp: .*tangents.*shapes \[\(3,\)\]; got \[\(2,\)\]"),
        (lambda: jvp(ops.matmul, (A, X), V), ValueError, r"jvp: .*\[\(4, 3\), \(3,\)\]; got \[\(3,\)\]"),
        (lambda: hvp(ops.sum, X, A), ValueError, r"hvp: .*vectors.*got \[\(4, 3\)\]"),
        (lambda: hvp(ops.sin, X, V), ValueError, r"hvp: .*single number; got shape \(3,\)\. Reduce it"),
        (
            lambda: jacobian(ops.sin, np.arange(3)),
            TypeError,
            r"jacobian: .*floats; got int64 for inputs\[0\]\. Convert",
        ),
        (lambda: hvp(ops.mul, (X, 2), (V, 1)), TypeError, r"hvp: .*floats; got int64 for inputs\[1\]"),
        (lambda: jvp(lambda x: x.data, X, V), TypeError, r"jvp: .*return a Tensor; got ndarray"),
        (lambda: jacobian(lambda x: (x, x), X), TypeError, r"jacobian: .*got tuple\. Differentiate one"),
        (lambda: jvp(lambda x: x > 0, X, V), TypeError, r"jvp: .*return floats; got bool"),
        (lambda: jvp(cutting, X, V), ValueError, r"jvp: .*cuts the graph on the way to inputs\[0\]"),
    ],
    ids=range(10),
)
def test_what_cannot_be_done_is_said_in_one_sentence(call, error, says):
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize(
    "function", [lambda: jvp(arrays_only, X, V), lambda: hvp(lambda x: arrays_only(x).sum(), X, V)]
)
def test_a_vjp_that_takes_no_tensor_is_named_with_the_reason(function):
    with pytest.raises(TypeError) as caught:
        function()
    notes = " ".join(caught.value.__notes__)
    assert "in the VJP of arrays_only for 'x'" in notes
    assert "VJPs receive Tensors" in notes


def test_a_vjp_for_arrays_only_is_enough_for_a_jacobian():
    close(jacobian(arrays_only, X), np.diag(np.cos(X)))


def test_the_examples_in_the_docstrings_are_true():
    found = doctest.testmod(functional, extraglobs={"np": np})
    assert found.failed == 0
    assert found.attempted >= 4

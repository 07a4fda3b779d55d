"""Faults of the second order, of the graph, and of conduct: what a layer does beside its arithmetic."""

import numpy as np
from fault import fault
from layers import (
    BIAS,
    POSITIVE,
    WIDE,
    X,
    cube,
    matmul,
    norm,
    product,
    relu,
    sigmoid,
    spread,
    standardise,
    standardise_x,
)

# ------------------------------------------------------------------------------------------------ second order


@fault("constant statistic", standardise, X)
def batch_norm_with_constant_deviation(F, g, x):
    return standardise_x(F, g, x, F.constant(spread(F, x)))


@fault("constant statistic", sigmoid, X)
def sigmoid_with_constant_output(F, g, x):
    y = F.constant(sigmoid(F, x))
    return g * y * (1 - y)


@fault("wrong fast path", cube, X)
def cube_with_wrong_fast_path(F, g, x):
    return g * (3 if F.recording(g) else 6) * x**2


@fault("wrong fast path", cube, X)
def cube_with_wrong_recorded_path(F, g, x):
    return g * (6 if F.recording(g) else 3) * x**2


@fault("breaks under create_graph", cube, X)
def cube_through_numpy(F, g, x):
    return g * F.by_numpy(lambda a: 3 * np.square(a), x)


# ------------------------------------------------------------------------------------------------ the graph


@fault("no gradient", matmul, X, WIDE, target=lambda F, layer, x, w: layer(x, F.constant(w)))
def dense_with_detached_weight(F, g, x, w):
    return g @ F.transpose(w), F.transpose(x) @ g


@fault("ignored input", matmul, X, WIDE, BIAS, target=lambda F, layer, x, w, b: layer(x, w))
def dense_that_forgets_its_bias(F, g, x, w):
    return g @ F.transpose(w), F.transpose(x) @ g


@fault("hidden from the graph", cube, X, target=lambda F, layer, x: layer(x) * F.tanh(F.constant(x)))
def gate_outside_the_graph(F, g, x):
    return g * 3 * x**2


# ------------------------------------------------------------------------------------------------ conduct


def halved_cube(F, x):
    F.times_in_place(x, 0.5)
    return x**3


@fault("modified in place", halved_cube, X)
def input_halved_in_place(F, g, x):
    return g * 1.5 * x**2


@fault("modified in place", cube, X)
def cotangent_multiplied_in_place(F, g, x):
    F.times_in_place(g, 3 * x**2)
    return g


@fault("not deterministic", product, X, target=lambda F, layer, x: layer(x, F.noise((4, 3))))
def unseeded_dropout(F, g, x, mask):
    return g * mask, g * x


@fault("not deterministic", product, X, POSITIVE)
def mask_drawn_again_in_backward(F, g, x, mask):
    return g * F.noise((4, 3)), g * x


@fault("kink", relu, np.where(np.abs(X) < 0.2, 0.0, X))
def relu_at_zero(F, g, x):
    return F.where(F.positive(x), g, g * 0)


@fault("nan", norm, X * np.array([[1.0], [0.0], [1.0], [1.0]]))
def norm_of_a_row_of_zeros(F, g, x):
    return F.reshape(g / norm(F, x), (4, 1)) * x


@fault("wrong dtype", lambda F, x: F.float32(x) ** 3, X)
def forward_in_float32(F, g, x):
    return F.float32(g * 3 * x**2)


@fault("wrong dtype", cube, X)
def gradient_in_float32(F, g, x):
    return F.float32(g * 3 * x**2)


@fault("wrong shape", matmul, X, WIDE)
def weight_gradient_transposed(F, g, x, w):
    return g @ F.transpose(w), F.transpose(g) @ x


@fault("VJP raises", matmul, X, WIDE)
def dense_of_shapes_that_do_not_fit(F, g, x, w):
    return g @ w, F.transpose(x) @ g


@fault("memory layout", cube, X.T)
def memory_taken_as_row_major(F, g, x):
    return g * 3 * (F.reshape(F.transpose(x), x.shape) if F.strided(x) else x) ** 2


@fault("out of precision", lambda F, x: F.sin(1e9 * x), X)
def sine_of_many_periods(F, g, x):
    """Right; but no difference of values can tell."""
    return g * 1e9 * F.cos(1e9 * x)

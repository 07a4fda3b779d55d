"""Right in one way of calling, wrong in another: second derivative, fast path, recorded path, precision."""

import numpy as np
from exhibit import exhibit, normal

from minigen import ops
from minigen.autograd import Tensor, no_grad, op

X = normal(5, 3)


def raw(x):
    return x.data if isinstance(x, Tensor) else x


# ------------------------------------------------------------------------------------------------ the second derivative


def _batch_norm_x(g, x, out):
    mean = lambda t: t.mean(axis=0, keepdims=True)
    return (g - mean(g) - out * mean(g * out)) * (1 / np.sqrt(raw(x).var(axis=0, keepdims=True) + 1e-5))


@exhibit("constant statistic", X, order=2)
@op(x=_batch_norm_x)
def batch_norm_of_dezero(x):
    """DeZero's batch norm saves 1/σ as a number: the second derivative, which WGAN-GP needs, lacks a term."""
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)


@exhibit("constant statistic", X, order=2)
@op(x=lambda g, out: raw(out) * (g - (g * raw(out)).sum(axis=1, keepdims=True)))
def softmax_with_saved_output(x):
    """The output is saved as an array and taken for a constant when the backward pass is differentiated."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@no_grad()
def _slope(x):
    return 1.0 - ops.tanh(x) ** 2


@exhibit("constant statistic", X, order=2)
@op(x=lambda g, x: g * _slope(x))
def tanh_with_slope_not_recorded(x):
    """no_grad() around the derivative 'to save memory': it is a constant then."""
    return np.tanh(x)


@op(g=lambda h, slope: h * slope, slope=lambda h, g: h * g * 2)
def _times_slope(g, slope):
    return g * slope


@exhibit("constant factor", X, says="2", op="times_slope", order=2)
@op(x=lambda g, x: _times_slope(g, 3 * x * x))
def cube_through_helper(x):
    """The VJP is right, and is an op; the derivative of that op is wrong."""
    return x**3


# ------------------------------------------------------------------------------------------------ two ways


def _sigmoid_x(g, out):
    if isinstance(out, Tensor):
        return g * (out * (1.0 - out))
    grad = 1.0 - out
    grad *= g
    return grad


@exhibit("wrong fast path", X)
@op(x=_sigmoid_x)
def sigmoid_with_hasty_kernel(x):
    """The in-place kernel for arrays forgot a factor; the formula for Tensors did not."""
    return 0.5 * (1 + np.tanh(0.5 * x))


@exhibit("wrong fast path", X)
@op(x=lambda g, out: g * (1.0 + out * out) if isinstance(out, Tensor) else g * (1.0 - out * out))
def tanh_with_wrong_formula(x):
    """The kernel for arrays is used and right; the formula, which only create_graph=True takes, has a wrong sign."""
    return np.tanh(x)


@exhibit("breaks under create_graph", X)
@op(x=lambda g, x: np.where(x > 0, g, 0.0))
def relu_by_where(x):
    """np.where takes a Tensor for an array: the result is right, and cut from the graph."""
    return np.maximum(x, 0)


@exhibit("breaks under create_graph", X, says="copy")
@op(x=lambda g, x: _zeroed(g.copy(), x <= 0))
def relu_by_assignment(x):
    """The usual backward of relu: copy, then assign. Tensors have no copy, and are not assigned to."""
    return np.maximum(x, 0)


def _zeroed(g, mask):
    g[mask] = 0
    return g


@exhibit("breaks under create_graph", X)
@op(x=lambda g, x: np.multiply(g, np.cos(x)))
def sine(x):
    """A function of NumPy in a VJP, where an op was needed."""
    return np.sin(x)


# ------------------------------------------------------------------------------------------------ float32


def _silu_x(g, x):
    s = ops.sigmoid(x)
    return g * (0.5 * s * (1 + x * (1 - s)) if x.dtype == np.float32 else s * (1 + x * (1 - s)))


@exhibit("constant factor", X.astype(np.float32), says="1/2", at="x", dtype="float32")
@op(x=_silu_x)
def silu_in_float32(x):
    """A branch for float32, the precision of training; the test of the gradient runs in float64."""
    return x / (1 + np.exp(-x))


@exhibit("wrong dtype", X.astype(np.float32), says="float64", dtype="float32")
@op(x=lambda g, x: g * np.sqrt(2 / np.pi))
def scaled(x):
    """np.sqrt(2/π) is a float64, and so is every float32 array that meets it since NumPy 2."""
    return x * np.sqrt(2 / np.pi)


@exhibit("wrong dtype", X, says="float32")
@op(x=lambda g, x: (g * (x > 0)).astype(np.float32))
def relu_with_narrow_gradient(x):
    """The mask was to be float32; the brackets are in the wrong place."""
    return np.maximum(x, 0)


@exhibit("wrong dtype", X, says="float32")
@op(x=lambda g, x: g * 2 * x)
def square_in_single_precision(x):
    """asarray(x, float32) at the door of the forward pass, as a habit."""
    x = np.asarray(x, np.float32)
    return x * x

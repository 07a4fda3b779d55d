"""Rows of the table: arithmetic, functions, activations, reductions."""

import math

import numpy as np
import oracles as o
from oracles import each, over
from table import apart, image, normal, positive, row, x, y

from minigen import ops

# ------------------------------------------------------------------------------------------------ elementwise

row("add", x, y[0], oracle=each(lambda a, b: a + b), saves="")
row("sub", x[:, :1], y, oracle=each(lambda a, b: a - b), saves="")
row("mul", x, y[:, :1], oracle=each(lambda a, b: a * b), saves="x y")
row("div", x, positive(4), oracle=each(lambda a, b: a / b), saves="y out")
row("neg", x, oracle=each(lambda a: -a), saves="")
row("pow", x, 3, oracle=each(lambda a, b: a**b), saves="x exponent")
row("pow", positive(3, 4), -1.5, oracle=each(lambda a, b: a**b), saves="x exponent")
row("pow", positive(3, 4), y, oracle=each(lambda a, b: a**b), saves="x exponent out")
row("pow", 2.0, y, oracle=each(lambda a, b: a**b), saves="x out")
row("square", x, oracle=each(lambda a: a * a), saves="x")
row("reciprocal", positive(3, 4), oracle=each(lambda a: 1 / a), saves="out")
row("exp", x, oracle=each(math.exp), saves="out")
row("expm1", x, oracle=each(math.expm1), saves="x")
row("log", positive(3, 4), oracle=each(math.log), saves="x")
row("log1p", positive(3, 4), oracle=each(math.log1p), saves="x")
row("sqrt", positive(3, 4), oracle=each(math.sqrt), saves="out")
row("rsqrt", positive(3, 4), oracle=each(lambda a: 1 / math.sqrt(a)), saves="out")
row("sin", x, oracle=each(math.sin), saves="x")
row("cos", x, oracle=each(math.cos), saves="x")
row("erf", 3 * normal(3, 40), oracle=each(math.erf), saves="x")
row("abs", x, oracle=each(lambda a: max(a, -a)), saves="x")
row("sign", x, oracle=each(lambda a: (a > 0) - (a < 0)), saves="")
row("clip", x, min=-0.5, max=0.5, oracle=lambda x, min, max: each(lambda a: sorted((a, min, max))[1])(x))
row("clip", x, min=0.0, oracle=lambda x, min: each(lambda a: a if a > min else min)(x))
row("maximum", x, y, oracle=each(lambda a, b: a if a > b else b), saves="x y")
row("minimum", x, y, oracle=each(lambda a, b: a if a < b else b), saves="x y")
row("minimum", x, 0.25, oracle=each(lambda a, b: a if a < b else b), saves="x y")
row("where", x > 0, x, y[0], oracle=each(lambda c, a, b: a if c else b), saves="condition")
row("where", y > 0, 2.0, y, oracle=each(lambda c, a, b: a if c else b), saves="condition")
row("astype", x, call=lambda x: ops.astype(x, x.dtype), oracle=lambda x: x)

# ------------------------------------------------------------------------------------------------ activations

row("relu", x, oracle=each(lambda a: a if a > 0 else 0), saves="out")
row("leaky_relu", image, oracle=each(lambda a: a if a > 0 else 0.01 * a), saves="out negative_slope")
row(
    "leaky_relu",
    x,
    negative_slope=0.2,
    oracle=lambda x, negative_slope: each(lambda a: a if a > 0 else negative_slope * a)(x),
    saves="out negative_slope",
)
row("tanh", x, oracle=each(math.tanh), saves="out")
row("sigmoid", image, oracle=each(lambda a: 1 / (1 + math.exp(-a))), saves="out")
row("softplus", x, oracle=each(lambda a: math.log(1 + math.exp(a))), saves="x beta")
row("softplus", x, beta=2.5, oracle=lambda x, beta: np.log(1 + np.exp(beta * x)) / beta, saves="x beta")
row("elu", x, oracle=each(lambda a: a if a > 0 else math.exp(a) - 1), saves="x alpha")
row(
    "elu",
    x,
    alpha=0.7,
    oracle=lambda x, alpha: each(lambda a: a if a > 0 else alpha * (math.exp(a) - 1))(x),
    saves="x alpha",
)
row("silu", x, oracle=each(lambda a: a / (1 + math.exp(-a))), saves="x")
row("gelu", x, oracle=each(lambda a: 0.5 * a * math.erfc(-a / math.sqrt(2))))
row(
    "gelu",
    x,
    approximate="tanh",
    oracle=lambda x, approximate: each(
        lambda a: 0.5 * a * (1 + math.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)))
    )(x),
)
row("softmax", x, oracle=lambda x: o.softmax(x, 1), saves="out axis")
row("softmax", image, axis=1, oracle=o.softmax, saves="out axis")
row("log_softmax", x, oracle=lambda x: np.log(o.softmax(x, 1)), saves="out axis")
row("log_softmax", image, axis=1, oracle=lambda x, axis: np.log(o.softmax(x, axis)), saves="out axis")

# ------------------------------------------------------------------------------------------------ reductions

three = apart(2, 3, 4)
reduced = lambda f: lambda x, axis, keepdims: over(f, axis, keepdims)(x)
for axis, keepdims in ((None, False), (1, True), ((0, -1), False)):
    options = {"axis": axis, "keepdims": keepdims}
    row("sum", three, **options, oracle=reduced(math.fsum), saves="x_shape axis")
    row("mean", three, **options, oracle=reduced(lambda v: math.fsum(v) / len(v)), saves="x_shape axis")
    row("var", three, **options, oracle=reduced(o.variance), saves="x x_shape axis correction")
    row("std", three, **options, oracle=reduced(lambda v: math.sqrt(o.variance(v))))
    row("max", three, **options, oracle=reduced(lambda v: sorted(v)[-1]), saves="x out x_shape axis")
    row("min", three, **options, oracle=reduced(lambda v: sorted(v)[0]), saves="x out x_shape axis")
    row(
        "logsumexp",
        three,
        **options,
        oracle=reduced(lambda v: math.log(math.fsum(map(math.exp, v)))),
        saves="x x_shape axis",
    )
row(
    "var",
    x,
    correction=0,
    oracle=lambda x, correction: over(lambda v: o.variance(v, 0))(x),
    saves="x x_shape axis correction",
)
row("argmax", x, axis=1, differentiable=False, oracle=lambda x, axis: over(lambda v: v.index(max(v)), 1)(x))
row("argmin", x, axis=0, differentiable=False, oracle=lambda x, axis: over(lambda v: v.index(min(v)), 0)(x))

"""Chains of elementwise arithmetic on the GPU: one launch each, from one formula in C++ that CuPy compiles.

CuPy's own operators launch a kernel each and give every result in row-major order, whatever the order of their
arguments: a channels-last image would come out channels-first, be read and written in strides, and be copied back
before the next convolution. Here arrays are walked through in the order in which one of them, the lead, lies in
memory, and the result lies as it does. Strides and broadcasting may be any.
"""

import functools
import math

import numpy as np

from .. import portable, portable_chains
from .compile import REALS

BOOL = np.dtype(bool)


def chain(twin, inputs, formula, lead=0, outputs="T y"):
    """A kernel with the name, arguments and meaning of its portable `twin`, which serves other types than REALS.

    inputs, formula, outputs: as of cupy.ElementwiseKernel; the names of inputs are those of the twin's arguments. T is
    the type of the arrays; numbers become it.  lead: which argument's order in memory the result takes.
    """

    @functools.wraps(twin)  # the signature too
    def call(*args):
        import cupy

        x = args[lead]
        if not all(a.dtype in (x.dtype, BOOL) for a in args if isinstance(a, cupy.ndarray)) or x.dtype not in REALS:
            return twin(*args)
        f = _compiled(cupy, inputs, outputs, formula, f"minigen_{twin.__name__}")
        if x.ndim != 4 or x.flags.c_contiguous:
            return f(*args)
        return f(*[a.transpose(0, 2, 3, 1) if getattr(a, "ndim", 0) == 4 else a for a in args]).transpose(0, 3, 1, 2)

    call.__module__ = __name__
    return call


@functools.cache
def _compiled(cupy, inputs, outputs, formula, name):
    """One for each library that was ever imported as `cupy`: the stand-in of the tests is a new one each time."""
    return cupy.ElementwiseKernel(inputs, outputs, formula, name)


# ------------------------------------------------------------------------------------------------ activations

SIGMA = "T s = T(0.5) + T(0.5) * tanh(T(0.5) * x);"  # the tanh form cannot overflow
PHI = "T phi = T(0.5) * (1 + erf(x * T(0.7071067811865476)));"

_leaky_relu = chain(
    portable.leaky_relu, "T x, T slope", "y = x > 0 ? x : slope == 0 && x <= 0 ? T(0) : slope * x"
)  # 0·x would be NaN at infinity; what is NaN stays so
leaky_relu_grad = chain(portable.leaky_relu_grad, "T g, T out, T slope", "y = out > 0 ? g : slope * g", lead=1)
tanh = chain(portable.tanh, "T x", "y = tanh(x)")
tanh_grad = chain(portable.tanh_grad, "T g, T out", "y = g * (1 - out * out)", lead=1)
sigmoid = chain(portable.sigmoid, "T x", SIGMA + "y = s")
sigmoid_grad = chain(portable.sigmoid_grad, "T g, T out", "y = g * (out * (1 - out))", lead=1)
masked = chain(portable.masked, "T x, bool mask, T scale", "y = x * T(mask) * scale")


def leaky_relu(x, slope):
    """max(x, slope·x) for 0 ≤ slope ≤ 1; relu is slope 0.  Raises ValueError for a slope outside [0, 1]."""
    if not 0 <= slope <= 1:
        raise ValueError(f"leaky_relu: expected a slope in [0, 1]; got {slope}.")
    return _leaky_relu(x, slope)


softplus = chain(
    portable_chains.softplus,
    "T x, T beta",
    "T z = beta * x; y = (max(z, T(0)) + log1p(exp(z > 0 ? -z : z))) / beta",
)
softplus_grad = chain(
    portable_chains.softplus_grad, "T g, T x, T beta", "y = g * (T(0.5) + T(0.5) * tanh(T(0.5) * beta * x))", lead=1
)
elu = chain(portable_chains.elu, "T x, T alpha", "y = x > 0 ? x : alpha * expm1(x)")
elu_grad = chain(portable_chains.elu_grad, "T g, T x, T alpha", "y = x > 0 ? g : g * (alpha * exp(x))", lead=1)
silu = chain(portable_chains.silu, "T x", SIGMA + "y = x * s")
silu_grad = chain(portable_chains.silu_grad, "T g, T x", SIGMA + "y = g * (s + x * s * (1 - s))", lead=1)
gelu = chain(portable_chains.gelu, "T x", PHI + "y = x * phi")
gelu_grad = chain(
    portable_chains.gelu_grad,
    "T g, T x",
    PHI + "y = g * (phi + x * (T(0.3989422804014327) * exp(T(-0.5) * x * x)))",
    lead=1,
)

# ------------------------------------------------------------------------------------------------ losses

bce_logits = chain(
    portable_chains.bce_logits, "T x, T target", "y = max(x, T(0)) - x * target + log1p(exp(x > 0 ? -x : x))"
)
bce_logits_grad = chain(portable_chains.bce_logits_grad, "T g, T x, T target", SIGMA + "y = g * (s - target)", lead=1)
gaussian_kl = chain(portable_chains.gaussian_kl, "T mu, T logvar", "y = T(0.5) * (mu * mu + (expm1(logvar) - logvar))")
gaussian_kl_grad = chain(portable_chains.gaussian_kl_grad, "T g, T logvar", "y = g * (T(0.5) * expm1(logvar))", lead=1)

# ------------------------------------------------------------------------------------------------ classes
# `raw` arrays are indexed by the formula; i counts the elements of the result in row-major order.

_pick = (
    "raw T x, I classes, int32 C, int32 inner",
    "T y",
    "bool there = 0 <= classes && classes < C;"
    "y = there ? x[(i / inner * C + classes) * inner + i % inner] : T(__int_as_float(0x7FC00000))",  # NaN
)
_place = (
    "raw T g, raw I classes, int32 C, int32 inner",
    "T y",
    "long long at = i / inner / C * inner + i % inner; y = classes[at] == i / inner % C ? g[at] : T(0)",
)


def pick(x, classes):
    """(N, C, ...), integers (N, ...) → (N, ...): of each row of C numbers the one named; NaN where there is none."""
    if x.dtype not in REALS:
        return portable_chains.pick(x, classes)
    import cupy

    inner = math.prod(x.shape[2:])
    return _compiled(cupy, *_pick, "minigen_pick")(cupy.ascontiguousarray(x), classes, x.shape[1], inner)


def place(g, classes, C):
    """The adjoint of `pick`: (N, ...) → zeros (N, C, ...) with each g in its place."""
    if g.dtype not in REALS:
        return portable_chains.place(g, classes, C)
    import cupy

    y = cupy.empty((len(g), C, *g.shape[1:]), g.dtype)
    g, classes = cupy.ascontiguousarray(g), cupy.ascontiguousarray(classes)
    return _compiled(cupy, *_place, "minigen_place")(g, classes, C, math.prod(g.shape[1:]), y)


# ------------------------------------------------------------------------------------------------ running statistics

update_running = chain(
    portable_chains.update_running,
    "T mean, T var, T rate, T unbias",
    "running_mean += rate * (mean - running_mean); running_var += rate * (var * unbias - running_var)",
    outputs="T running_mean, T running_var",
)

"""Activation functions: names, options and meaning as in torch.nn.functional. All are safe for |x| = 10⁴."""

from functools import partial

from ..autograd import op
from ..backend.kernels import kernels
from .common import fast_on_arrays
from .elementwise import erf, exp, minimum

# ------------------------------------------------------------------------------------------------ piecewise linear


@op(g=lambda h, y, slope: _leaky_relu_grad(h, y, slope=slope))
def _leaky_relu_grad(g, y, *, slope):
    """g where y > 0, slope·g elsewhere; linear in g, piecewise constant in y."""
    return kernels(g).leaky_relu_grad(g, y, slope)


@op(x=lambda g, out, negative_slope: _leaky_relu_grad(g, out, slope=negative_slope))
def leaky_relu(x, *, negative_slope=0.01):
    """x for x > 0, slope·x elsewhere. 0 ≤ slope ≤ 1.       Maas et al. 2013"""
    return kernels(x).leaky_relu(x, negative_slope)


@op(x=lambda g, out: _leaky_relu_grad(g, out, slope=0))
def relu(x):
    """max(x, 0);   1 for x > 0, else 0."""
    return kernels(x).leaky_relu(x, 0)


def slope_of(f):
    """The slope of `f` below 0 where it is `relu`, `leaky_relu` or a functools.partial of it, else None."""
    if f is relu:
        return 0.0
    options = {} if f is leaky_relu else None
    if isinstance(f, partial) and f.func is leaky_relu and not f.args:
        options = f.keywords
    if options is None or options.keys() - {"negative_slope"}:
        return None
    slope = options.get("negative_slope", leaky_relu.options["negative_slope"])
    return slope if isinstance(slope, int | float) and 0 <= slope < 1 else None


# ------------------------------------------------------------------------------------------------ smooth


@fast_on_arrays(lambda g, out: kernels(g).tanh_grad(g, out))
def _tanh_x(g, out):
    return g * (1.0 - out * out)


@op(x=_tanh_x)
def tanh(x):
    """tanh x;   1 − tanh² x."""
    return kernels(x).tanh(x)


@fast_on_arrays(lambda g, out: kernels(g).sigmoid_grad(g, out))
def _sigmoid_x(g, out):
    return g * (out * (1.0 - out))


@op(x=_sigmoid_x)
def sigmoid(x):
    """σ(x) = 1 / (1 + e⁻ˣ);   σ·(1 − σ).       Computed as ½ + ½ tanh(x/2), which cannot overflow."""
    return kernels(x).sigmoid(x)


@fast_on_arrays(lambda g, x, beta: kernels(g).softplus_grad(g, x, beta))
def _softplus_x(g, x, beta):
    return g * sigmoid(beta * x)


@op(x=_softplus_x)
def softplus(x, *, beta=1.0, threshold=20.0):
    """ln(1 + e^{βx}) / β;   σ(βx).       `threshold` is PyTorch's; this form is exact for all x and needs none."""
    return kernels(x).softplus(x, beta)


@fast_on_arrays(lambda g, x, alpha: kernels(g).elu_grad(g, x, alpha))
def _elu_x(g, x, alpha):
    return g * (x > 0) + g * (x <= 0) * (alpha * exp(minimum(x, 0.0)))


@op(x=_elu_x)
def elu(x, *, alpha=1.0):
    """x for x > 0, α(eˣ − 1) elsewhere;   1, α·eˣ.       Clevert et al. 2016"""
    return kernels(x).elu(x, alpha)


@fast_on_arrays(lambda g, x: kernels(g).silu_grad(g, x))
def _silu_x(g, x):
    s = sigmoid(x)
    return g * (s + x * s * (1.0 - s))


@op(x=_silu_x)
def silu(x):
    """x·σ(x);   σ + x·σ·(1 − σ).       Elfwing et al. 2018"""
    return kernels(x).silu(x)


ROOT_HALF, ROOT_2_OVER_PI, ROOT_1_OVER_2PI = 0.5**0.5, 0.7978845608028654, 0.3989422804014327


@fast_on_arrays(lambda g, x: kernels(g).gelu_grad(g, x))
def _gelu_x(g, x):
    return g * (0.5 * (1.0 + erf(x * ROOT_HALF)) + x * (ROOT_1_OVER_2PI * exp(-0.5 * x * x)))


@op(x=_gelu_x)
def _gelu(x):
    """x·Φ(x);   Φ + x·φ."""
    return kernels(x).gelu(x)


def gelu(x, approximate="none"):
    """x·Φ(x), with Φ the normal distribution function.       Hendrycks & Gimpel 2016

    approximate: "none" (exact) or "tanh": ½x(1 + tanh(√(2/π)(x + 0.044715 x³))).
    """
    if approximate == "none":
        return _gelu(x)
    if approximate == "tanh":
        bounded = minimum(x * x, 1e4)  # beyond x = 100 the tanh is 1 anyway, and x³ must not overflow
        return 0.5 * x * (1.0 + tanh(ROOT_2_OVER_PI * x * (1.0 + 0.044715 * bounded)))
    raise ValueError(f'gelu: expected approximate="none" or "tanh"; got {approximate!r}.')


# ------------------------------------------------------------------------------------------------ over an axis


@fast_on_arrays(lambda g, out, axis: kernels(g).softmax_grad(g, out, axis))
def _softmax_x(g, out, axis):
    return out * (g - (g * out).sum(axis=axis, keepdims=True))


@op(x=_softmax_x)
def softmax(x, *, axis=-1):
    """pᵢ = e^{xᵢ} / Σⱼ e^{xⱼ};   p̄ᵢ ↦ pᵢ·(p̄ᵢ − Σⱼ p̄ⱼpⱼ).       The largest x is subtracted first."""
    return kernels(x).softmax(x, axis)


@fast_on_arrays(lambda g, out, axis: kernels(g).log_softmax_grad(g, out, axis))
def _log_softmax_x(g, out, axis):
    return g - exp(out) * g.sum(axis=axis, keepdims=True)


@op(x=_log_softmax_x)
def log_softmax(x, *, axis=-1):
    """xᵢ − ln Σⱼ e^{xⱼ};   gᵢ − pᵢ·Σⱼ gⱼ."""
    return kernels(x).log_softmax(x, axis)

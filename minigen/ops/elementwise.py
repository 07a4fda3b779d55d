"""Arithmetic and elementary functions, element by element. NumPy's broadcasting; its adjoint is in `autograd`."""

from ..backend import namespace
from ..backend import special as _special
from .common import elementwise, first_namespace

# ------------------------------------------------------------------------------------------------ arithmetic


@elementwise(x=lambda g: g, y=lambda g: g)
def add(x, y):
    """x + y."""
    return x + y


@elementwise(x=lambda g: g, y=lambda g: -g)
def sub(x, y):
    """x − y."""
    return x - y


@elementwise(x=lambda g, y: g * y, y=lambda g, x: g * x)
def mul(x, y):
    """x·y."""
    return x * y


@elementwise(x=lambda g, y: g / y, y=lambda g, out, y: -g * out / y)
def div(x, y):
    """x / y;   ∂/∂y = −x/y²."""
    return x / y


@elementwise(x=lambda g: -g)
def neg(x):
    """−x."""
    return -x


def _pow_x(g, x, exponent):
    below = where(exponent == 0, 1.0, exponent - 1) if hasattr(exponent, "shape") else exponent - 1 if exponent else 1
    return g * exponent * x**below  # at exponent 0 the factor 0 decides, not 0⁻¹


def _pow_exponent(g, out, x):
    log_x = log(where(x != 0, x, 1.0))
    return g * out * (log_x if hasattr(x, "shape") else float(log_x))  # a number must not widen float32


@elementwise(x=_pow_x, exponent=_pow_exponent)
def pow(x, exponent):
    """xᵏ;   ∂/∂x = k·xᵏ⁻¹,  ∂/∂k = xᵏ·ln x (0 at x = 0)."""
    return x**exponent


@elementwise(x=lambda g, x: g * (2.0 * x))
def square(x):
    """x²."""
    return x * x


@elementwise(x=lambda g, out: -g * out * out)
def reciprocal(x):
    """1/x;   −1/x²."""
    return 1.0 / x


# ------------------------------------------------------------------------------------------------ functions


@elementwise(x=lambda g, out: g * out)
def exp(x):
    """eˣ, its own derivative."""
    return namespace(x).exp(x)


@elementwise(x=lambda g, x: g * exp(x))
def expm1(x):
    """eˣ − 1, exact near 0."""
    return namespace(x).expm1(x)


@elementwise(x=lambda g, x: g / x)
def log(x):
    """ln x;   1/x."""
    return namespace(x).log(x)


@elementwise(x=lambda g, x: g / (1.0 + x))
def log1p(x):
    """ln(1 + x), exact near 0."""
    return namespace(x).log1p(x)


@elementwise(x=lambda g, out: 0.5 * g / out)
def sqrt(x):
    """√x;   1/(2√x)."""
    return namespace(x).sqrt(x)


@elementwise(x=lambda g, out: -0.5 * g * out * out * out)
def rsqrt(x):
    """1/√x;   −½·x^(−3/2)."""
    return 1.0 / namespace(x).sqrt(x)


@elementwise(x=lambda g, x: g * cos(x))
def sin(x):
    """sin x;   cos x."""
    return namespace(x).sin(x)


@elementwise(x=lambda g, x: -g * sin(x))
def cos(x):
    """cos x;   −sin x."""
    return namespace(x).cos(x)


@elementwise(x=lambda g, x: g * (2 / 3.141592653589793**0.5) * exp(-x * x))
def erf(x):
    """erf x = 2/√π ∫₀ˣ e^{−t²} dt;   2/√π·e^{−x²}."""
    return _special.erf(x)


@elementwise(x=lambda g, x: g * sign(x))
def abs(x):
    """|x|;   sign x (0 at 0)."""
    return namespace(x).abs(x)


@elementwise(x=lambda g: g * 0.0)
def sign(x):
    """−1, 0 or 1;   derivative 0."""
    return namespace(x).sign(x)


# ------------------------------------------------------------------------------------------------ selection


@elementwise(x=lambda g, out, x: g * (out == x))
def _clip(x, *, min, max):
    """x held to [min, max];   1 where it was not moved, else 0."""
    return namespace(x).clip(x, min, max)


def clip(x, min=None, max=None):
    """`x` held to [min, max]; None leaves that side open. The derivative is 1 on the bounds themselves.

    Raises ValueError where both bounds are None. PyTorch's `clamp`.
    """
    if min is None and max is None:
        raise ValueError("clip: expected min, max or both; got neither.")
    return _clip(x, min=min, max=max)


@elementwise(x=lambda g, x, y: 0.5 * (g * (x >= y) + g * (x > y)), y=lambda g, x, y: 0.5 * (g * (y >= x) + g * (y > x)))
def maximum(x, y):
    """The larger of x and y;   equal ones share the derivative."""
    return first_namespace(x, y).maximum(x, y)


@elementwise(x=lambda g, x, y: 0.5 * (g * (x <= y) + g * (x < y)), y=lambda g, x, y: 0.5 * (g * (y <= x) + g * (y < x)))
def minimum(x, y):
    """The smaller of x and y;   equal ones share the derivative."""
    return first_namespace(x, y).minimum(x, y)


@elementwise(x=lambda g, condition: where(condition, g, 0.0), y=lambda g, condition: where(condition, 0.0, g))
def where(condition, x, y):
    """x where the condition holds, y elsewhere. What is not taken passes no gradient, not even that of a NaN."""
    return first_namespace(condition, x, y).where(condition, x, y)


@elementwise(x=lambda g, from_dtype: astype(g, from_dtype))
def _astype(x, *, dtype, from_dtype):
    """x in another dtype;   g back in the dtype of x."""
    return x.astype(dtype, copy=False)


def astype(x, dtype):
    """`x` converted to `dtype`; the gradient is converted back."""
    return _astype(x, dtype=dtype, from_dtype=x.dtype)

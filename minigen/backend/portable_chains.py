"""Activations, losses and other chains of elementwise arithmetic in their shortest form, as in `portable`.

On the GPU each is one launch (gpu/elementwise.py); on the CPU these are what runs, but for those of cpu_elementwise.
"""

from .arrays import namespace
from .portable import sigmoid
from .special import erf

ROOT_HALF, ROOT_1_OVER_2PI = 0.5**0.5, 0.3989422804014327


def softplus(x, beta):
    """ln(1 + e^{βx}) / β = (max(βx, 0) + ln(1 + e^{−|βx|})) / β, which cannot overflow."""
    xp = namespace(x)
    z = x * beta
    return (xp.maximum(z, 0) + xp.log1p(xp.exp(-xp.abs(z)))) * (1 / beta)


def softplus_grad(g, x, beta):
    """x̄ = g·σ(βx)."""
    return g * sigmoid(beta * x)


def elu(x, alpha):
    """x for x > 0, α(eˣ − 1) elsewhere."""
    xp = namespace(x)
    return xp.maximum(x, 0) + alpha * xp.expm1(xp.minimum(x, 0))


def elu_grad(g, x, alpha):
    """x̄ = g where x > 0, g·α·eˣ elsewhere."""
    xp = namespace(x)
    return g * (x > 0) + g * (x <= 0) * (alpha * xp.exp(xp.minimum(x, 0)))


def silu(x):
    """x·σ(x)."""
    return x * sigmoid(x)


def silu_grad(g, x):
    """x̄ = g·(σ + x·σ·(1 − σ))."""
    s = sigmoid(x)
    return g * (s + x * s * (1 - s))


def _phi(x):
    """Φ, the normal distribution function."""
    return 0.5 * (1.0 + erf(x * ROOT_HALF))


def gelu(x):
    """x·Φ(x)."""
    return x * _phi(x)


def gelu_grad(g, x):
    """x̄ = g·(Φ + x·φ), with φ the normal density."""
    return g * (_phi(x) + x * (ROOT_1_OVER_2PI * namespace(x).exp(-0.5 * x * x)))


def bce_logits(x, target):
    """−t·ln σ(x) − (1 − t)·ln(1 − σ(x)) = max(x, 0) − x·t + ln(1 + e^{−|x|}); target: an array or a number."""
    xp = namespace(x)
    return xp.maximum(x, 0) - x * target + xp.log1p(xp.exp(-xp.abs(x)))


def bce_logits_grad(g, x, target):
    """x̄ = g·(σ(x) − t)."""
    return g * (sigmoid(x) - target)


def gaussian_kl(mu, logvar):
    """½(μ² + σ² − ln σ² − 1); expm1 keeps the digits of σ² − 1 near the prior."""
    return 0.5 * (mu * mu + (namespace(mu).expm1(logvar) - logvar))


def gaussian_kl_grad(g, logvar):
    """The cotangent of ln σ²: g·½(σ² − 1)."""
    return g * (0.5 * namespace(logvar).expm1(logvar))


def update_running(mean, var, rate, unbias, running_mean, running_var):
    """running ← (1 − rate)·running + rate·batch, in place: of the mean, and of the variance times `unbias`."""
    for running, batch in ((running_mean, mean), (running_var, var * unbias)):
        running *= 1 - rate
        running += rate * batch


# ------------------------------------------------------------------------------------------------ over an axis


def total(x, axis, keepdims):
    """Σ x over `axis`: None (all), an int or a tuple."""
    return x.sum(axis=axis, keepdims=keepdims)


def average(x, axis, keepdims):
    """Σ x / n over `axis`: None (all), an int or a tuple."""
    sums = x.sum(axis=axis, keepdims=keepdims)
    return sums / (x.size // max(1, sums.size))


def softmax(x, axis):
    """pᵢ = e^{xᵢ} / Σⱼ e^{xⱼ}; the largest x is subtracted first."""
    e = namespace(x).exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def softmax_grad(g, out, axis):
    """x̄ᵢ = pᵢ·(gᵢ − Σⱼ gⱼpⱼ)."""
    return out * (g - (g * out).sum(axis=axis, keepdims=True))


def log_softmax(x, axis):
    """xᵢ − ln Σⱼ e^{xⱼ}."""
    xp = namespace(x)
    z = x - x.max(axis=axis, keepdims=True)
    return z - xp.log(xp.exp(z).sum(axis=axis, keepdims=True))


def log_softmax_grad(g, out, axis):
    """x̄ᵢ = gᵢ − pᵢ·Σⱼ gⱼ."""
    return g - namespace(g).exp(out) * g.sum(axis=axis, keepdims=True)


def normalize(x, axis, eps):
    """(x − μ)/√(σ² + ε), μ and σ² over `axis`, an int or a tuple."""
    centred = x - x.mean(axis=axis, keepdims=True)
    return centred / namespace(x).sqrt((centred * centred).mean(axis=axis, keepdims=True) + eps)


def normalize_grad(g, x, out, axis, eps):
    """x̄ = (g − ⟨g⟩ − x̂·⟨g·x̂⟩) / √(σ² + ε), averages over `axis`; out: x̂."""
    centred = x - x.mean(axis=axis, keepdims=True)
    rstd = 1 / namespace(x).sqrt((centred * centred).mean(axis=axis, keepdims=True) + eps)
    return rstd * (g - g.mean(axis=axis, keepdims=True) - out * (g * out).mean(axis=axis, keepdims=True))


# ------------------------------------------------------------------------------------------------ of classes


def pick(x, classes):
    """(N, C, ...), integers (N, ...) → (N, ...): of each row of C numbers the one named."""
    return namespace(x).take_along_axis(x, classes[:, None], axis=1)[:, 0]


def place(g, classes, C):
    """The adjoint of `pick`: (N, ...) → zeros (N, C, ...) with each g in its place."""
    xp = namespace(g)
    hit = classes[:, None] == xp.arange(C).reshape((1, -1) + (1,) * (g.ndim - 1))
    return xp.where(hit, g[:, None], xp.zeros((), g.dtype))

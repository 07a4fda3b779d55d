"""Initial weights. Each function makes a NumPy array: init(shape, fan_in, fan_out, rng) with a NumPy generator.

The idea of all: y = Σ w·x over fan_in terms has Var y = fan_in·Var w·E[x²]. Choose Var w so that Var y stays about
Var x through the layers (or, going back with fan_out, so that gradients do). A uniform on [−a, a] has variance a²/3.
fan_in: inputs that one output sees; fan_out: outputs that one input reaches.
"""

import numpy as np


def _uniform(shape, variance, rng):
    a = (3 * variance) ** 0.5
    return rng.uniform(-a, a, shape).astype(np.float32)


def _normal(shape, variance, rng):
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(variance**0.5)


def torch_default(shape, fan_in, fan_out, rng):
    """U(±1/√fan_in), variance 1/(3·fan_in): what PyTorch's layers begin with."""
    return _uniform(shape, 1 / (3 * fan_in), rng)


def glorot_uniform(shape, fan_in, fan_out, rng):
    """Variance 2/(fan_in + fan_out), between the 1/fan_in and 1/fan_out wanted.       Glorot & Bengio 2010"""
    return _uniform(shape, 2 / (fan_in + fan_out), rng)


def glorot_normal(shape, fan_in, fan_out, rng):
    """Variance 2/(fan_in + fan_out), normal."""
    return _normal(shape, 2 / (fan_in + fan_out), rng)


def he_uniform(shape, fan_in, fan_out, rng):
    """Variance 2/fan_in: ReLU passes half of E[x²], so the weights make up for it.       He et al. 2015"""
    return _uniform(shape, 2 / fan_in, rng)


def he_normal(shape, fan_in, fan_out, rng):
    """Variance 2/fan_in, normal."""
    return _normal(shape, 2 / fan_in, rng)


def normal(std):
    """N(0, std²) whatever the size, as DCGAN's 0.02."""
    return lambda shape, fan_in, fan_out, rng: _normal(shape, std**2, rng)


def orthogonal(shape, fan_in, fan_out, rng):
    """Orthonormal rows (or columns, whichever are fewer) as a matrix of shape[0] rows.       Saxe et al. 2014"""
    rows, columns = shape[0], int(np.prod(shape[1:]))
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))  # else the distribution would not be uniform
    return (q if rows >= columns else q.T).reshape(shape).astype(np.float32)

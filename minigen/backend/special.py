"""The error function, which NumPy does not have."""

import numpy as np

from .arrays import namespace

# Rational minimax approximations, full double precision: W. J. Cody, Rational Chebyshev approximations for the
# error function, Mathematics of Computation 23 (1969); coefficients of his program CALERF.
SMALL = (  # |x| ≤ 0.46875:  x·P(x²)/Q(x²)
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
MIDDLE = (  # 0.46875 ≤ x ≤ 4:  1 − e^{−x²}·P(x)/Q(x)
    (
        *(2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1),
        *(2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3),
        1.23033935479799725e3,
    ),
    (
        *(1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3),
        *(3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
    ),
)
LARGE = (  # x ≥ 4:  1 − e^{−x²}/x·(1/√π − P(1/x²)/(x²·Q(1/x²)))
    (
        *(1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1),
        *(1.60837851487422766e-2, 6.58749161529837803e-4),
    ),
    (
        *(1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1, 6.05183413124413191e-2),
        2.33520497626869185e-3,
    ),
)


def erf(x):
    """erf x = 2/√π ∫₀ˣ e^{−t²} dt, elementwise, to the precision of the dtype of x."""
    xp = namespace(x)
    if xp is not np:
        from cupyx.scipy.special import erf as cupy_erf

        return cupy_erf(x)
    a = np.abs(x)
    small, middle, large = np.minimum(a, 0.46875), np.clip(a, 0.46875, 4), np.clip(a, 4, 10)
    result = small * _ratio(SMALL, small * small)
    result = np.where(a > 0.46875, 1 - np.exp(-middle * middle) * _ratio(MIDDLE, middle), result)
    inverse = 1 / (large * large)
    tail = np.exp(-large * large) / large * (1 / np.sqrt(np.pi).item() - inverse * _ratio(LARGE, inverse))
    return np.copysign(np.where(a > 4, 1 - tail, result), x)


def _ratio(coefficients, x):
    above, below = (_horner(c, x) for c in coefficients)
    return above / below


def _horner(coefficients, x):
    value = coefficients[0] + 0 * x
    for c in coefficients[1:]:
        value = value * x + c
    return value

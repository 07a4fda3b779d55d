"""The hypotheses: what a wrong derivative looks like. Each takes the Evidence, and answers with a Diagnosis or None.

N is the numeric, A the analytic derivative. A hypothesis fits where the derivative that it predicts is A: it must
explain 98 % of the difference between N and A, in every entry of the Jacobian.
"""

from .factors import (
    constant_factor,
    factor_of_an_input,
    forgotten_cotangent,
    no_gradient,
    no_influence,
    wrong_fast_path,
)
from .partial import partly_wrong
from .places import (
    cotangent_moved,
    flipped,
    not_transposed,
    other_input_moved,
    permuted,
    shifted,
    swapped_inputs,
    transposed,
)
from .sums import extra_sum, lost_contributions, missing_term

# In order: what is simple and cannot be mistaken first, what fits many things last.
FIRST_ORDER = [
    no_gradient,
    no_influence,
    forgotten_cotangent,
    wrong_fast_path,
    constant_factor,
    swapped_inputs,
    not_transposed,
    transposed,
    flipped,
    lost_contributions,
    extra_sum,
    shifted,
    factor_of_an_input,
    missing_term,
    cotangent_moved,
    other_input_moved,
    permuted,
    partly_wrong,
]
IN_G = [constant_factor, partly_wrong]  # of the derivative of a VJP with respect to g

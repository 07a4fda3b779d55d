"""Is this derivative right, and if not, why? Numeric against analytic, first and second order.

Along a random direction u, with a random cotangent v, two numbers must agree:

    numeric     d/dε ⟨v, f(x + ε·u)⟩ at ε = 0, from values of f alone
    analytic    ⟨vᵀJ, u⟩, from the VJPs

One direction tests all elements at once, so a check costs a few evaluations of f whatever the size. The second order
is the same test of the function (x, v) ↦ ⟨vᵀJ(x), w⟩, which the VJPs themselves compute. Numeric derivatives are
central differences of steps ε and ε/2, extrapolated to step 0 (Richardson): the error is O(ε⁴).

Only when a check fails are single elements looked at, every op that ran is checked by itself, and hypotheses are
tested against the whole Jacobian. Reading order: subject.py (what is checked), compare.py (how), stages.py (in which
order), then for failures kinks.py, locate.py, evidence.py, hypotheses.py, diagnosis.py; report.py says it.
"""

import numpy as np

from .compare import STEPS
from .diagnosis import KINDS, diagnose
from .report import Diagnosis, Element, GradientError, Report
from .stages import Stages
from .subject import Subject, as_found

__all__ = ["KINDS", "Diagnosis", "Element", "GradientError", "Report", "gradcheck"]

# The relative difference that is allowed: 20 machine epsilons for float32 and TF32 (10 bits) would do for one product;
# sums of thousands of terms and batch statistics need some hundred.
PRECISIONS = {"float64": (None, 1e-6), "float32": (np.float32, 1e-3), "tf32": (np.float32, 3e-2)}


def gradcheck(f, *inputs, order=2, seed=0, eps=None, tol=None, dtype="float64", raise_on_failure=True):
    """Check the derivatives of `f` with respect to all float `inputs`, and, of a Module, its parameters.

    f: a function or op that returns a Tensor or a tuple of them, or a Module.  Tensors and arrays of floats are
    checked, as float64 copies; everything else (integers, masks, Python numbers, None) is handed through.
    order: 1, or 2 for the second derivative as well.  seed: of the random directions.
    eps: the one step to use, relative to the size of the inputs.
    tol: the relative difference that is allowed; by default 1e-6, for float32 1e-3, for TF32 3e-2.
    dtype: "float64"; "float32" or "tf32" let the VJPs run in float32 (on a GPU perhaps on TensorFloat-32) and compare
    them with differences in float64, or, where `f` computes in float32 whatever it is given, with coarser ones.
    raise_on_failure: False returns the failing Report instead.

    A Module's parameters, buffers and random generators are left as found; the latter two are set back before every
    evaluation, so that dropout draws the same mask each time. Elements at a kink (relu at 0, ties of max) at which the
    VJP lies between the slopes on both sides are left out, and the report's notes say so. Of inputs with thousands of
    elements, and of functions that take long (measured in this thread's own seconds: other work on the machine changes
    nothing), a failure is explained from some elements drawn at random; the diagnosis says from how many.

    Returns a Report. Raises GradientError with a Report, which names the fault (see KINDS), where something is wrong;
    ValueError where there is nothing to check: no float input, no float output.

    >>> bool(gradcheck(lambda x: x * x, np.linspace(-1.0, 1.0, 5)))
    True
    """
    if order not in (1, 2):
        raise ValueError(f"gradcheck: expected order 1 or 2; got {order!r}.")
    if dtype not in PRECISIONS:
        raise ValueError(f"gradcheck: expected dtype {', '.join(map(repr, PRECISIONS))}; got {dtype!r}.")
    if not callable(f) or isinstance(f, type):
        what = type(f).__name__
        if isinstance(f, type):
            what = f"the class {f.__name__}: make an instance, {f.__name__}(...)"
        raise ValueError(f"gradcheck: expected a function, op or Module first; got {what}.")
    low, default = PRECISIONS[dtype]
    with as_found(f) as put_back, np.errstate(all="ignore"):  # what is not finite is told, and by name
        subject = Subject(f, inputs, put_back, low)
        stages = Stages(subject, order, seed, STEPS if eps is None else (eps,), default if tol is None else tol)
        report = stages.run()
        if not report:
            diagnose(stages, report)
    if raise_on_failure and not report:
        raise GradientError(report)
    return report

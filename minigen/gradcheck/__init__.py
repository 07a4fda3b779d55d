"""Is this derivative right? Numeric against analytic, first and second order, for functions and Modules.

Along a random direction u, with a random cotangent v, two numbers must agree:

    numeric     d/dε ⟨v, f(x + ε·u)⟩ at ε = 0, from values of f alone
    analytic    ⟨vᵀJ, u⟩, from the VJPs

One direction tests all elements at once, so a check costs four evaluations of f whatever the size. The second order
is the same test of the function (x, v) ↦ ⟨vᵀJ(x), w⟩, which the VJPs themselves compute. Only when a check fails are
single elements looked at, to name the worst.

Numeric derivatives are central differences of steps ε and ε/2, extrapolated to step 0 (Richardson): the error is
O(ε⁴). Everything is in float64.
"""

import numpy as np

from .compare import STEPS, compare, first_order, second_order
from .report import Element, GradientError, Report
from .subject import Subject, as_found, outputs_worth_checking, random_like

__all__ = ["Element", "GradientError", "Report", "gradcheck"]


def gradcheck(f, *inputs, order=2, seed=0, eps=None, tol=1e-6, raise_on_failure=True):
    """Check the derivatives of `f` with respect to all float `inputs`, and, of a Module, its parameters.

    f: a function or op that returns a Tensor or a tuple of them, or a Module.  Tensors and arrays of floats are
    checked, as float64 copies; everything else (integers, masks, Python numbers, None) is handed through.
    order: 1, or 2 for the second derivative as well.  seed: of the random directions.
    eps: the one step to use, relative to the size of the inputs.  tol: the relative difference that is allowed.
    raise_on_failure: False returns the failing Report instead.

    A Module's parameters, buffers and random generators are left as found; the latter two are set back before every
    evaluation, so that dropout draws the same mask each time.

    Returns a Report. Raises GradientError where a derivative is wrong, ValueError where there is nothing to check:
    no float input, no float output, an output that does not depend on the inputs, or is not the same each time.

    >>> bool(gradcheck(lambda x: x * x, np.linspace(-1.0, 1.0, 5)))
    True
    """
    if order not in (1, 2):
        raise ValueError(f"gradcheck: expected order 1 or 2; got {order!r}.")
    rng, steps = np.random.default_rng(seed), STEPS if eps is None else (eps,)
    with as_found(f) as put_back:
        subject = Subject(f, inputs, put_back)
        point, names = subject.point, list(subject.names)
        cotangents = [random_like(y, rng) for y in outputs_worth_checking(subject)]
        judge = lambda *args: compare(*args, rng, steps, tol)
        report = judge(first_order(subject, cotangents, False), subject.title, "first", point, names)
        if report and order == 2:  # VJPs may take another way for Tensors than for arrays: it must lead to the same
            function = first_order(subject, cotangents, True)
            report = judge(function, subject.title, "first (create_graph=True)", point, names)
        if report and order == 2:
            function = second_order(subject, [random_like(x, rng) for x in point])
            names += [f"cotangent{i if len(cotangents) > 1 else ''}" for i in range(len(cotangents))]
            report = judge(function, subject.title, "second", point + cotangents, names)
    if raise_on_failure and not report:
        raise GradientError(report)
    return report

"""For the tests of your own layers: one line checks an op, a function or a Module.

    from minigen.testing import check

    def test_scale():
        check(scale, "N C", "C")                     # shapes: equal letters are equal sizes

    def test_gate():
        check(Gate)                                  # a class: sizes and shapes are inferred, as far as they can be

Under pytest it fails with a report of the smallest failing case: what is wrong, where, and what to do. Needs
Hypothesis: `pip install hypothesis`.
"""

from .gradcheck import GradientError
from .gradcheck.strategies import (
    LAYOUTS,
    arrays,
    convolutions,
    dilations,
    images,
    kernels,
    paddings,
    pairs,
    poolings,
    shapes,
    strides,
    transposed_convolutions,
)
from .gradcheck.sweep import sweep
from .gradcheck.target import INFER, make_target

__all__ = [
    "LAYOUTS",
    "GradientError",
    "arrays",
    "check",
    "convolutions",
    "dilations",
    "images",
    "kernels",
    "paddings",
    "pairs",
    "poolings",
    "shapes",
    "strides",
    "transposed_convolutions",
]


def check(target, *inputs, draws=25, order=2, **options):
    """Check the derivatives of `target` at inputs that Hypothesis draws; returns the Report of the last check.

    target: an op, a function, a Module or a class of Modules.
    inputs: as the values of examples() in `minigen.gradcheck.discover`: shapes as strings ("N C H W"), strategies,
        options in a dict at the end, anything else, which is handed through. For a class of Modules an instance, or a
        function that makes one from sizes, comes first where it cannot be made of sizes by name. Without inputs they
        are read from annotations or inferred.
    draws: how many.  order, options: as in `gradcheck`: seed, tol, dtype.

    Draws are the same in each run. Raises GradientError with the report of the simplest failing
    case and its inputs; ValueError where nothing can be checked.

    >>> from minigen import ops
    >>> bool(check(ops.tanh, "N C"))
    True
    """
    __tracebackhide__ = True  # pytest shows the line that called, and the report
    name = getattr(target, "__name__", type(target).__name__)
    found = make_target(name, target, inputs or INFER)
    if found.draw is None:
        raise ValueError(f"check({found.problem})")
    swept = sweep(found.draw, draws, order=order, **options)
    if swept.case is None:
        raise ValueError(f"check({name}): every drawn input was refused; the last: {found.refused[-1]}. Give others.")
    if not swept:
        error = GradientError(swept.report)
        error.add_note(f"for the inputs {swept.case} ({found.how}; draw {swept.draws} of {draws})")
        raise error
    return swept.report

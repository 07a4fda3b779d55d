"""For the tests of your own layers: one line checks an op, a function or a Module.

    from minigen.testing import Loss, check

    def test_scale():
        check(scale, "N C", "C")                     # shapes: equal letters are equal sizes

    def test_gate():
        check(Gate)                                  # a class: sizes and shapes are inferred, as far as they can be

    def test_my_gan():
        check(Loss(MyGAN((1, 8, 8)), "D", images))   # a model's loss, in the parameters that it trains

Under pytest it fails with a report of the smallest failing case: what is wrong, where, and what to do. Needs
Hypothesis: `pip install "minigen[test]"`.
"""

from .gradcheck import GradientError
from .gradcheck.drawing.strategies import (
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
from .gradcheck.drawing.sweep import sweep
from .gradcheck.drawing.target import INFER, make_target
from .gradcheck.showing.verdict import in_precision
from .nn import Module

__all__ = [
    "LAYOUTS",
    "GradientError",
    "Loss",
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


class Loss(Module):
    """One objective of a model on a fixed batch, as a function of the parameters that minimise it.

    name: of the objective: "loss", or "D" or "G" of a GAN.  batch: arrays, as `fit` would hand them to the loss.

    >>> from minigen import Generator, models
    >>> ae = models.AE((1, 8, 8), hidden=4, rng=Generator(0))
    >>> bool(check(Loss(ae, "loss", Generator(1).uniform((2, 1, 8, 8)))))
    True
    """

    def __init__(self, model, name, *batch):
        objectives = {o.name: o for o in model.objectives()}
        if name not in objectives:
            raise ValueError(f"Loss: {type(model).__name__} has the objectives {', '.join(objectives)}; got {name!r}.")
        self.model, self.batch, self.objective = model, batch, objectives[name]
        self.__name__ = f"{type(model).__name__}: {name}"

    def named_parameters(self):
        trained = {id(p) for p in self.objective.parameters}
        return [(name, p) for name, p in self.model.named_parameters() if id(p) in trained]

    def forward(self):
        drawn = self.model.draw(self.batch[0])
        return sum(self.objective.loss(*self.batch, *drawn).values())


def check(target, *inputs, draws=25, order=2, **options):
    """Check the derivatives of `target` at inputs that Hypothesis draws; returns the Report of the last check.

    target: an op, a function, a Module or a class of Modules.
    inputs: as the values of examples(), see minigen/gradcheck/drawing/discover.py: shapes as strings ("N C H W"),
        strategies, options in a dict at the end, anything else, which is handed through. For a class of Modules an
        instance, or a function that makes one from sizes, comes first where it cannot be made of sizes by name.
        Without inputs they are read from annotations or inferred.
    draws: how many.  order, options: as in `gradcheck`: seed, tol, dtype.

    Without `dtype` the last case is checked in float32 besides, as by `python -m minigen.gradcheck`: results and
    gradients are float32, and those of float64 but for rounding. The GPU is left to the command.

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
    report, where = swept.report, f"draw {swept.draws} of {draws}"
    if report and "dtype" not in options:
        low = in_precision(found, swept.case, options.get("seed", 0))
        report, where = (report, where) if low else (low, "in float32")
    if not report:
        error = GradientError(report)
        error.add_note(f"for the inputs {swept.case} ({found.how}; {where})")
        raise error
    return report

"""The stages of a check, in order: is it sound, first order, first order recorded, second order, float32."""

import numpy as np

from ..backend import to_numpy
from .compare import STEPS, Comparison, first_order, second_order
from .kinks import find_kinks, leave_out
from .report import Diagnosis, Fault, Report
from .soundness import finite_gradient, holds_no_state, keeps_float32, linear_in_g, sound_gradients, sound_outputs
from .subject import random_like

RECORDED = "first (create_graph=True)"


class Stages:
    """The check of one subject. After `run`, `comparison` and `cotangents` are those of the stage that came last."""

    def __init__(self, subject, order=2, seed=0, steps=STEPS, tol=1e-6):
        self.subject, self.order, self.steps, self.tol = subject, order, steps, tol
        # Not default_rng(seed): whoever drew the inputs so would find g ∝ x, and much is symmetric then.
        self.rng = np.random.default_rng([*b"minigen.gradcheck", seed])
        self.what, self.notes, self.left_out = "value", [], set()
        self.comparison, self.cotangents = None, []

    def run(self):
        """The Report; of a failure, the diagnosis is still to be made, unless a Fault says it all."""
        self.what = "value"
        try:
            report = self._run()
        except Fault as fault:
            return Report(self.subject.title, self.what, False, diagnosis=fault.diagnosis, op=fault.op)
        report.notes += self.notes
        return report

    def _run(self):
        subject = self.subject
        outputs = sound_outputs(subject)
        self.cotangents = [random_like(y, self.rng) for y in outputs]
        if all(y.node is None for y in outputs):
            raise self._independent(outputs)
        self.what = "first"
        sound_gradients(subject, self.cotangents, False)
        point, names = subject.point, list(subject.names)
        report = self._compare(first_order(subject, self.cotangents, False), point, names)
        if report:
            linear_in_g(subject, self.cotangents, self.comparison)
            holds_no_state(subject, self.cotangents, False)
            self._note_idle_inputs()
        if report and self.order == 2:  # Tensors may take another way through a VJP than arrays, to the same
            self.what = RECORDED
            sound_gradients(subject, self.cotangents, True)
            report = self._compare(first_order(subject, self.cotangents, True), point, names)
        if report and self.order == 2:
            self.what = "second"
            names += [f"cotangent{i if len(self.cotangents) > 1 else ''}" for i in range(len(self.cotangents))]
            function = second_order(subject, [random_like(x, self.rng) for x in point])
            report = self._compare(function, point + self.cotangents, names)
        if report and subject.low is None and subject.is_layer:
            what, self.what = self.what, "first"
            keeps_float32(subject)
            self.what = what
        return report

    def _compare(self, function, point, names):
        """The Report of one stage; kinks at which the VJP is not wrong are left out."""
        subject = self.subject
        self.comparison = Comparison(function, point, names, self.rng, self.steps, self.tol, subject.low)
        order = "gradient" if self.what != "second" else "second derivative"
        for name, x, g in zip(names, point, self.comparison.gradients):
            finite_gradient(name, x, g, order)
        report = self.comparison.report(subject.title, self.what)
        if report:
            return report
        kinks = find_kinks(self.comparison)
        if kinks == []:
            return report
        advice = "Move the inputs away from it, by a little noise; there is no derivative at such a point."
        if kinks is None:
            report.diagnosis = Diagnosis("kink", "the function has kinks at too many places to leave out.", advice)
            return report
        if len(kinks) == sum(x.size for x in point if x.size):
            text = f"every element is at a kink, such as {kinks[0].describe(self.comparison)}."
            report.diagnosis = Diagnosis("kink", text, advice)
            return report
        leave_out(self.comparison, kinks)
        new = [k for k in kinks if (k.i, k.place) not in self.left_out]
        self.left_out |= {(k.i, k.place) for k in kinks}
        if new:
            self.notes.append(
                f"Left out: {len(new)} element{'s' if len(new) > 1 else ''} at a kink, where the VJP lies between the "
                f"slopes on both sides: {new[0].describe(self.comparison)}{', ...' if len(new) > 1 else ''}."
            )
        elsewhere, outside = self.comparison.report(subject.title, self.what), [k for k in kinks if not k.between]
        if elsewhere and outside:
            text = (
                f"at a kink the VJP gives neither slope, nor a value between: {outside[0].describe(self.comparison)}."
            )
            report.diagnosis = Diagnosis("kink", text, "At a kink, give one of the two slopes, or a value between.")
            return report
        return elsewhere

    def _independent(self, outputs):
        """No output is connected with the inputs: do the values depend on them?"""
        names = " or ".join(self.subject.names)
        _, moved = self.subject([x + 1e-3 * random_like(x, self.rng) for x in self.subject.point])
        if all(np.array_equal(to_numpy(y.data), to_numpy(z.data)) for y, z in zip(outputs, moved)):
            return Fault("ignored input", f"the result does not depend on {names}.", "Is an argument forgotten?")
        return Fault(
            "no gradient",
            f"the result changes with {names}, but no gradient leads back to it.",
            "Was it cut by detach(), .data or no_grad(), or made by an op without a VJP?",
        )

    def _note_idle_inputs(self):
        for name, g in zip(self.comparison.names, self.comparison.gradients):
            if g.size and not g.any():
                self.notes.append(f"{name} has no influence on the result at this point.")

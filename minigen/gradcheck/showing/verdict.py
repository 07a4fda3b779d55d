"""One target, checked on drawn cases: in float64 on the CPU, then once in float32, then on the GPU."""

import traceback
from dataclasses import dataclass, field

from .. import gradcheck
from ..drawing.sweep import sweep
from ..report import Report
from .parity import draws_random_numbers, holds_float64, in_float32, same_in_float32, same_on_the_gpu

STAGES = ("first", "second", "float32", "GPU")


@dataclass
class Verdict:
    """What was found of one target.

    word: "right", "wrong", "unchecked" (`problem` says why, in a sentence), or "left out" (it has no
        derivative by design, or cannot be imported here).
    draws: how many cases were checked.  stages: {each of STAGES: "ok", "WRONG" or "-" (not come to)}.
    remarks: sentences on what is right but may not be meant, or was seen in part only.
    case, report: the smallest failure, or the last check.  trace: of an exception that ended the check, or "".
    """

    target: object
    word: str = "right"
    draws: int = 0
    stages: dict = field(default_factory=lambda: dict.fromkeys(STAGES, "-"))
    case: object = None
    report: object = None
    problem: str | None = None
    remarks: list = field(default_factory=list)
    trace: str = ""

    @property
    def wrong(self):
        return self.word == "wrong"

    def note(self, stage, case, report):
        """Enter a Report under `stage`; returns whether it passed."""
        self.stages[stage] = "ok" if report else "WRONG"
        if self.report is None or not report:
            self.case, self.report = case, report
        if not report:
            self.word = "wrong"
        return bool(report)

    def leave(self, problem):
        """Nothing can be said of the target, for this reason."""
        self.word, self.problem = "unchecked", problem


def judge(target, twin=None, draws=25, order=2, seed=0):
    """The Verdict on a Target.

    twin: the same Target, discovered with the GPU as default device; None where there is none.
    draws: cases in float64; on the GPU a fifth as many.  order, seed: as in gradcheck.
    """
    verdict = Verdict(target)
    if target.draw is None:
        verdict.word, verdict.problem = ("unchecked" if target.problem else "left out"), target.problem
        return verdict
    try:
        _judge(verdict, twin, draws, order, seed)
    except Exception as error:  # a target that breaks the checker must not hide what is said of the others
        said = str(error).strip().splitlines() or ["no message"]
        verdict.trace = traceback.format_exc()
        verdict.leave(f"the check itself ended with {type(error).__name__}: {said[0]} (-v shows where).")
    return verdict


def _judge(verdict, twin, draws, order, seed):
    target = verdict.target
    found = sweep(target.draw, draws, order=order, seed=seed)
    case, report, verdict.draws = found.case, found.report, found.draws
    if case is None and found.doubtful:
        verdict.leave("no difference can be trusted at any drawn inputs: give some of ordinary size in examples().")
        return
    if case is None:
        why = f" ({target.refused[-1].rstrip('.')})" if target.refused else ""
        verdict.leave(
            f"no drawn inputs were accepted{why}. Give some: examples() returns {{{target.name!r}: (x, ...)}}."
        )
        return
    verdict.remarks += found.idle
    if found.doubtful > found.draws:
        verdict.remarks.append(f"{found.doubtful} more draws were passed over: no difference can be trusted there.")
    if report.what == "second":
        verdict.stages["first"] = "ok"
    if not verdict.note("second" if report.what == "second" else "first", case, report):
        return
    if not verdict.note("float32", case, in_precision(target, case, seed)):
        return
    if twin is not None:
        verdict.note("GPU", *same_on_the_gpu(target, twin, max(1, draws // 5), order, seed))


def in_precision(target, case, seed=0):
    """The Report in float32. A plain function may hold float64 arrays: no dtype is asked of it then.

    What draws random numbers is not compared: it may draw others in another precision.
    """
    low = in_float32(case)
    if draws_random_numbers(case):
        return Report(target.name, "float32", True)
    is_op = target.kind == "op" and getattr(low.f, "func", low.f) is target.of
    if is_op or not holds_float64(low):
        report = gradcheck(low.f, *low.inputs, order=1, seed=seed, dtype="float32", raise_on_failure=False)
        if not report:
            return report
    return same_in_float32(case, seed)

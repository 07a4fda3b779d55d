"""gradcheck of many drawn cases: the smallest that fails."""

from dataclasses import dataclass, field
from unittest import SkipTest

from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis.errors import Flaky, Unsatisfiable

from .. import gradcheck


@dataclass
class Sweep:
    """report, case: the smallest failure, or the last check of all where none failed; None where all were refused.

    draws: how many cases were checked until the first failure, or altogether.
    doubtful: how many were passed over, because no difference there can be trusted ("out of precision").
    idle: sentences on inputs without influence on the result in any of the cases.
    """

    report: object = None
    case: object = None
    draws: int = 0
    doubtful: int = 0
    idle: list = field(default_factory=list)

    def __bool__(self):
        return bool(self.report)


def quiet(draws, **more):
    """Settings of Hypothesis under which a check says the same each time, and nothing about how long it took."""
    unchecked = list(HealthCheck)
    return settings(
        max_examples=draws, derandomize=True, database=None, deadline=None, suppress_health_check=unchecked, **more
    )


def sampled(strategy, draws):
    """Up to `draws` different values of a strategy, the simplest first; the same each time."""
    seen = []
    given(strategy)(quiet(draws, phases=[Phase.generate])(lambda value: seen.append(value)))()
    return seen


def sweep(draw, draws=25, shrinks=50, **options):
    """gradcheck(case.f, *case.inputs, **options) for `draws` Cases of the strategy `draw` (`Target.draw`): a Sweep.

    Derandomised, without a database or a deadline. After a failure, `shrinks` failing cases at most are looked at for
    the smallest: each is diagnosed.
    """
    found, failures = Sweep(), 0

    @quiet(draws, phases=[Phase.generate, Phase.shrink], report_multiple_bugs=False)
    @given(draw)
    def check(case):
        nonlocal failures
        if failures > shrinks:
            raise SkipTest  # ends a run of Hypothesis at once
        report = gradcheck(case.f, *case.inputs, raise_on_failure=False, **options)
        if not report and report.diagnosis.kind == "out of precision":
            found.doubtful += 1
            reject()
        if not failures:
            idle = [n.replace("at this point", "at any inputs drawn") for n in report.notes if "no influence" in n]
            found.idle = [n for n in idle if n in found.idle or not found.draws]
            found.draws += 1
        if not failures or not report:
            found.report, found.case = report, case
        if not report:
            failures += 1
            raise _Failed  # Hypothesis goes on with smaller ones

    try:
        check()
    except (_Failed, SkipTest, Flaky):  # Flaky: it failed only once; it is said to be wrong all the same
        assert failures
    except Unsatisfiable:
        assert found.case is None
    return found


class _Failed(Exception):
    pass

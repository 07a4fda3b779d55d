"""gradcheck of many drawn cases: the smallest that fails."""

from dataclasses import dataclass


@dataclass
class Sweep:
    """report, case: the smallest failure, or the last check of all where none failed (None: every draw was refused).

    draws: how many cases were checked before the first failure, or altogether.
    """

    report: object
    case: object
    draws: int

    def __bool__(self):
        return bool(self.report)


def sweep(draw, draws=25, **options):
    """gradcheck(case.f, *case.inputs, **options) for `draws` Cases of the strategy `draw` (`Target.draw`): a Sweep.

    Derandomised, without a database or a deadline; after a failure Hypothesis looks for the smallest failing case.
    """
    raise NotImplementedError

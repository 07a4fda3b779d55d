"""What a gradcheck found, and how it says so."""

import math
from dataclasses import dataclass, field


class GradientError(AssertionError):
    """Something is wrong with what was checked. The message, and the attribute `report`, say what and where."""

    def __init__(self, report):
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong. kind: one of those in diagnosis.py.  text: what was found.  advice: what to do; a sentence."""

    kind: str
    text: str
    advice: str

    def __str__(self):
        return f"{self.kind}: {self.text} {self.advice}"


class Fault(Exception):
    """Raised inside the checker where going on would mean nothing; becomes the Report of that Diagnosis."""

    def __init__(self, kind, text, advice, op=None):
        super().__init__(text)
        self.diagnosis, self.op = Diagnosis(kind, text, advice), op


@dataclass(frozen=True)
class Element:
    """The worst element of one input: what differences say and what the VJP says of it."""

    name: str
    index: tuple
    numeric: float
    analytic: float
    reached: bool  # whether any gradient came to this input

    @property
    def error(self):
        return abs(self.numeric - self.analytic)

    @property
    def ratio(self):
        """analytic / numeric: 2 for a factor forgotten, −1 for a wrong sign."""
        return self.analytic / self.numeric if self.numeric else math.inf

    def __str__(self):
        if not self.reached:
            return f"{self.name}: no gradient reaches it, but numeric says {self.numeric:.8g} at {list(self.index)}"
        place = f"{self.name}{list(self.index) if self.index else ''}"
        return f"{place}: numeric {self.numeric:.8g}, VJP {self.analytic:.8g}, ratio VJP/numeric {self.ratio:.6g}"


@dataclass
class Report:
    """What a gradcheck found; true where it passed.

    what: the derivative that failed, or the last that was checked: "first", "first (create_graph=True)", "second";
        "value" where it did not come to a comparison.
    numeric, analytic: the two numbers that were compared, and the difference `allowed` between them.
    elements: after a failure, the worst element of each input, worst input first.
    diagnosis: after a failure, the Diagnosis.  op: the op that is to blame, where something larger was checked.
    maps: after a failure {input: (numeric, analytic)}, the whole derivative, where it is not too large to be computed.
    notes: what else is worth knowing: inputs without influence, kinks.
    """

    subject: str
    what: str
    passed: bool
    numeric: float = math.nan
    analytic: float = math.nan
    allowed: float = math.nan
    elements: list = field(default_factory=list)
    diagnosis: Diagnosis | None = None
    op: str | None = None
    maps: dict | None = None
    notes: list = field(default_factory=list)

    @property
    def order(self):
        return 2 if self.what == "second" else 1

    @property
    def worst(self):
        """The worst element of all, or None."""
        return self.elements[0] if self.elements else None

    def __bool__(self):
        return self.passed

    def __str__(self):
        numbers = f"numeric {self.numeric:.10g}, VJP {self.analytic:.10g}"
        if self.passed:
            lines = [f"gradcheck({self.subject}): right up to the {self.what} derivative ({numbers})."]
            return "\n    ".join(lines + self.notes)
        lines = [f"gradcheck({self.subject}): {self.diagnosis.kind if self.diagnosis else ''}"]
        if self.elements:
            lines = [
                f"gradcheck({self.subject}): the {self.what} derivative is wrong; along a random direction {numbers} "
                f"(allowed difference {self.allowed:.1e}). Worst element of each input:"
            ]
        lines += [str(e) for e in self.elements]
        if self.op:
            lines.append(f"To blame: {self.op}.")
        if self.diagnosis:
            lines.append(str(self.diagnosis) if self.elements else f"{self.diagnosis.text} {self.diagnosis.advice}")
        return "\n    ".join(lines + self.notes)

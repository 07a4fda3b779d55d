"""Verdicts as text: one table, and beneath it what is wrong and what to do. 100 columns wide."""

import os
import textwrap

from .verdict import STAGES

WIDTH = 100
LEAST = 18  # for the column of inputs, before names are cut


def columns(gpu):
    """The heads of the table; without the GPU's where there is none."""
    return ["name", "kind", "inputs", "draws", *(s for s in STAGES if gpu or s != "GPU"), "verdict"]


def cells(verdict, gpu):
    """What the table says of a Verdict: a text for each column."""
    target = verdict.target
    stages = [verdict.stages[s] for s in STAGES if gpu or s != "GPU"]
    return [target.name, target.kind, target.how or "-", str(verdict.draws or "-"), *stages, verdict.word]


def table(verdicts, gpu=False):
    """The table, a line for each Verdict. What has no room is cut: where the inputs come from, then names."""
    rows = [columns(gpu), *(cells(v, gpu) for v in verdicts)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    room = WIDTH - sum(widths) + widths[0] + widths[2] - 2 * (len(widths) - 1)  # for names and inputs
    widths[0] = min(widths[0], room - min(widths[2], LEAST))
    widths[2] = min(widths[2], room - widths[0])
    lines = ["  ".join(_shortened(c, w).ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(max(lines, key=len)), *lines[1:]])


def _shortened(text, width):
    return text if len(text) <= width else text[: width - 1] + "…"


def findings(verdict):
    """[(head, text)] of what is wrong with a target: its smallest failing case, what was found, what to do."""
    report = verdict.report
    found = [("where", _where(verdict))]
    if verdict.case is not None:
        found.append(("smallest case", str(verdict.case)))
    found += [("found", report.diagnosis.text), ("to do", report.diagnosis.advice)]
    if report.op and report.op != verdict.target.name:
        found.append(("to blame", report.op))
    found += [("worst", str(e)) for e in report.elements]
    return found + [("note", n) for n in report.notes]


def _where(verdict):
    """The stage, and there the derivative, that is wrong."""
    stage = next(s for s in STAGES if verdict.stages[s] == "WRONG")
    order, _, how = verdict.report.what.partition(" ")
    what = "result or VJPs, before any comparison" if order == "value" else f"{order} derivative {how}".rstrip()
    return f"{stage}: {what}" if stage in ("float32", "GPU") else what


def headline(verdict):
    """`cube (op, my_layer.py:4): constant factor`."""
    return f"{verdict.target.name} ({verdict.target.kind}, {place(verdict.target)}): {verdict.report.diagnosis.kind}"


def place(target):
    """`my_layer.py:4`, as short as it can be said from the present folder."""
    path = os.path.relpath(target.file) if target.file else "?"
    return f"{target.file if path.startswith('..') else path}:{target.line}"


def diagnosis(verdict):
    """The paragraph about a target that is wrong."""
    return "\n".join([headline(verdict), *(_item(head, text) for head, text in findings(verdict))])


def _item(head, text):
    indent = " " * 19
    return "\n".join(_wrapped(line, indent, indent) for line in text.splitlines()).replace(indent, f"    {head:<15}", 1)


def _wrapped(text, first="", rest="    "):
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def remarks(verdicts):
    """A line for each remark on a target that is right."""
    return [_wrapped(f"{v.target.name}: {text}") for v in verdicts if v.word == "right" for text in v.remarks]


def not_looked_at(names):
    """[the line on functions that are no targets], or []."""
    if not names:
        return []
    first = f'def {names[0]}(x: "N C")'
    said = f"Not looked at: the function{'s' * (len(names) > 1)} {', '.join(names)}. To have one checked, give its "
    return [_wrapped(f'{said}inputs, as in {first}, or in examples(): {{"{names[0]}": ("N C", ...)}}.')]


def reason(verdict):
    """The paragraph about a target that was not checked."""
    return _wrapped(f"{verdict.target.name}: {problem(verdict)}")


def problem(verdict):
    """Why a target was not checked, without its name."""
    return verdict.problem.removeprefix(verdict.target.name.partition(":")[0] + ": ")


def summary(verdicts, missing=0):
    """`2 of 31 are wrong: cube, Swish. 1 could not be checked.` missing: how many were not come to."""
    wrong, right, unchecked = (
        [v.target.name for v in verdicts if v.word == w] for w in ("wrong", "right", "unchecked")
    )
    checked = len(wrong) + len(right)
    said = [f"{checked} checked, none is wrong."]
    if wrong:
        said = [f"{len(wrong)} of {checked} {'is' if len(wrong) == 1 else 'are'} wrong: {', '.join(wrong)}."]
    if unchecked:
        said.append(f"{len(unchecked)} could not be checked.")
    if missing:
        said.append(f"Stopped: {missing} not come to.")
    return _wrapped(" ".join(said))

"""How a lesson is read. What may stand after ``` :

python                           runs; tracebacks point at the line of the lesson
python raises=ValueError         must raise it; what Python would print of it counts as printed
python file=my_layer.py          is written to that file, for later blocks to import and commands to use
python figure=v.png              draws: the block sets `figure`, a matplotlib Figure shown as figures/v.png
python source=minigen/x.py:f     must be the library's own source of f (a function, class, method A.f or constant)
output                           must equal what the block before printed; `...` stands for anything in a line
sh                               is shown only
sh run, sh run exit=1            runs, and must end with that status (0 unless said)
python exercise=2, python solution=2, python check=2
                                 stand alone, in a namespace of their own: the check must find the solution right,
                                 and must raise AssertionError or NotImplementedError on the unsolved exercise
text, math                       are shown only
"""

import ast
import difflib
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARKS = {  # language: what may follow it
    "python": {"raises", "file", "figure", "source", "exercise", "solution", "check"},
    "sh": {"run", "exit"},
    "output": set(),
    "text": set(),
    "math": set(),
}


class LessonError(Exception):
    """What is wrong with a lesson, and in which line."""

    def __init__(self, path, line, text):
        super().__init__(f"{path.name}:{line}: {text}")
        self.line = line


@dataclass
class Block:
    """A fenced block. line: of its first line of text, from 1. marks: {"raises": "ValueError"}; of a flag, ""."""

    line: int
    language: str
    marks: dict
    text: str


def blocks_of(path, text):
    """[Block] of a lesson. Raises LessonError for a fence that is not closed, and for a mark that is not known."""
    found, lines = [], text.splitlines(keepends=True)
    opened = fence = None
    for number, line in enumerate(lines, 1):
        if opened is None and (m := re.match(r"(`{3,})(.*)", line)):
            opened, fence, info = number, m[1], m[2].split()
        elif opened is not None and line.rstrip() == fence:
            found.append(_block(path, opened, info, "".join(lines[opened : number - 1])))
            opened = None
    if opened is not None:
        raise LessonError(path, opened, "this block is not closed.")
    return found


def _block(path, opened, info, text):
    language, *words = info or [""]
    marks = {name: value for name, _, value in (w.partition("=") for w in words)}
    if language not in MARKS:
        raise LessonError(path, opened, f"a block of the language {language!r}; expected {', '.join(MARKS)}.")
    if unknown := marks.keys() - MARKS[language]:
        known = ", ".join(sorted(MARKS[language])) or "none"
        raise LessonError(path, opened, f"{language} block with the mark {sorted(unknown)[0]!r}; known: {known}.")
    return Block(opened + 1, language, marks, text)


def source_of(file, name):
    """The lines of `name` in a file: a function or class with its decorators, a method `A.f`, or a constant."""
    text = (ROOT / file).read_text()
    body = ast.parse(text).body
    for part in name.split("."):
        found = [node for node in body if part in _names(node)]
        if not found:
            raise LookupError(f"{file} has no {name!r}; it was renamed or moved.")
        body = getattr(found[-1], "body", [])
    first = min([found[-1].lineno, *(d.lineno for d in getattr(found[-1], "decorator_list", []))])
    return "".join(text.splitlines(keepends=True)[first - 1 : found[-1].end_lineno])


def _names(node):
    """The names that a statement defines."""
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    return [getattr(node, "name", None), *(t.id for t in targets if isinstance(t, ast.Name))]


def same(shown, printed):
    """Whether an output block shows what was printed. Spaces at line ends and empty lines around do not count."""
    lines = lambda text: [line.rstrip() for line in text.strip("\n").splitlines()]
    shown, printed = lines(shown), lines(printed)
    pattern = lambda line: ".*".join(map(re.escape, line.split("...")))
    return len(shown) == len(printed) and all(re.fullmatch(pattern(s), p) for s, p in zip(shown, printed))


def difference(before, after, name, other):
    """Two texts, line by line."""
    lines = lambda text: text.strip("\n").splitlines()
    return "\n".join(difflib.unified_diff(lines(before), lines(after), name, other, lineterm=""))

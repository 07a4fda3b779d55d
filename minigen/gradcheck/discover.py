"""Finds every op and Module of a file or package, and inputs on which their derivatives can be checked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple


class DiscoverError(ValueError):
    """A file or package as a whole cannot be checked. One sentence: the line, what is wrong, the fix."""


class Case(NamedTuple):
    """One drawn check: `gradcheck(case.f, *case.inputs)`. The options are bound in f already."""

    f: Callable  # the op, a partial of it with its __name__, or a Module
    inputs: tuple
    options: dict  # for messages
    layouts: tuple = ()  # name of the memory layout of each drawn array; "" for what was handed through

    def __str__(self):
        """`x: (2, 3) float64, channels last; axis=1`."""
        raise NotImplementedError


@dataclass
class Target:
    """Something to check: an op, a Module class, or a function that examples() names or whose arguments have shapes.

    name: as in the file, or the key in examples(): "conv2d: grouped".  kind: "op", "Module" or "function".
    of: the Op, class or function itself.  file, line: where it is defined.
    draw: a Hypothesis strategy of Cases; None where there is nothing to draw: then `problem` is one sentence that says
        why and what to do, or None where examples() says that it has no derivative by design ({name: None}).
    how: where the inputs come from: "examples()", "annotations", "inferred: x (N, C, H, W)", "no derivative by design".
    refused: the exceptions, as text, of drawn shapes which the target refused; grows while drawing.
    """

    name: str
    kind: str
    of: object
    file: str = ""
    line: int = 0
    draw: object = None
    how: str = ""
    problem: str | None = None
    refused: list = field(default_factory=list)


def discover(path_or_module_name):
    """[Target] of a file (`my_layer.py`), a module or a package (`minigen`), in order of definition.

    Raises DiscoverError where the file does not exist or does not import, holds nothing to check, or its examples()
    raises or names something that is not there.
    """
    raise NotImplementedError

"""Inputs for a check, drawn: `Recipe` says which; a shape is a string in which equal names are equal sizes.

    "N C H W"           an array of floats with four axes of 1 to 5 elements; commas and brackets may be there
    "N 3", "", "D D"    an axis of 3; a number; a square matrix

Values are normal, of random sign and magnitude, no two alike and none at 0, so that no kink or tie lies near; they lie
in any memory layout. Where a function wants positive numbers, or numbers between 0 and 1, these are drawn (`DOMAINS`).
"""

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ..autograd import Tensor
from ..backend import Generator, asarray
from .strategies import LAYOUTS, st
from .subject import _argument_names as argument_names

NORMAL = NormalDist()
LARGEST = 5  # elements along a drawn axis
DOMAINS = {
    "": lambda u, sign, scale: sign * scale * _half_normal(u),
    "positive": lambda u, sign, scale: 0.1 + scale * _half_normal(u),
    "between 0 and 1": lambda u, sign, scale: 0.05 + 0.9 * u,
}
SMALL = {"kh": 2, "kw": 3, "kernel_size": 2, "stride": 1, "groups": 1, "num_groups": 1, "heads": 1}  # others hold them


class Unfit(ValueError):
    """Nothing can be checked, whatever the shapes. One sentence with the fix."""


class Refused(Exception):
    """The target raised an exception for these inputs."""


def read_shape(text):
    """ "N C 3" → ("N", "C", 3). Raises Unfit where it cannot be read."""
    axes = re.sub(r"[(),]", " ", text).split()
    for axis in axes:
        if not (axis.isidentifier() or axis.isdecimal()):
            raise Unfit(f'the shape "{text}": expected names and numbers; got {axis!r}. Write "N C H W" or "N 3".')
    return tuple(int(a) if a.isdecimal() else a for a in axes)


def values(shape, seed=0, scale=1.0, domain=""):
    """float64 numbers of this shape, as the head of this file says. scale: their typical size."""
    rng, n = np.random.default_rng(seed), int(np.prod(shape))
    u = (rng.permutation(n) + rng.uniform(0.1, 0.9, n)) / max(n, 1)  # one in each n-th of (0, 1)
    return DOMAINS[domain](u, rng.choice([-1.0, 1.0], n), scale).reshape(shape)


def _half_normal(u):
    """|normal| numbers from uniform ones."""
    return np.array([NORMAL.inv_cdf(0.5 + 0.5 * v) for v in u])


# ------------------------------------------------------------------------------------------------ cases


class Case(NamedTuple):
    """One drawn check: `gradcheck(case.f, *case.inputs)`. The options are bound in f already."""

    f: Callable  # the op, a partial of it with its __name__, or a Module
    inputs: tuple
    options: dict  # for messages

    def __str__(self):
        """x (2, 3) channels last, w (3,); axis=1."""
        names = argument_names(self.f, len(self.inputs))
        given = [f"{n} {_brief(x)}" for n, x in zip(names, self.inputs)]
        options = [f"{k}={_brief(v)}" for k, v in self.options.items()]
        return "; ".join(filter(None, (", ".join(given), ", ".join(options)))) or "no inputs"


def _brief(x):
    """(2, 3) channels last; the memory layout is told by the strides, and left out where it is row by row."""
    if not hasattr(x, "shape"):
        return repr(x)
    data = x.data if isinstance(x, Tensor) else x
    alike, plain = np.empty(x.shape, x.dtype), next(iter(LAYOUTS))
    strides = getattr(data, "strides", alike.strides)
    layout = next((name for name, lay_out in LAYOUTS.items() if lay_out(alike).strides == strides), plain)
    return f"{tuple(x.shape)}{'' if x.dtype.kind == 'f' else f' {x.dtype}'}{'' if layout == plain else ' ' + layout}"


class Source(NamedTuple):
    """Where the choices in a Recipe come from."""

    size: Callable  # name of an axis → its size
    seed: Callable
    pick: Callable  # sequence → one of it
    draw: Callable  # strategy → a value


def from_hypothesis(draw):
    """Hypothesis chooses; the simplest choice, to which failures are reduced, is the typical size."""
    sizes = {}

    def size(name):
        if name not in sizes:
            most = 3 if name in SMALL else LARGEST
            first = min(_typical(name, sizes), most)
            sizes[name] = draw(st.sampled_from([first, *[n for n in range(1, most + 1) if n != first]]))
        return sizes[name]

    return Source(size, lambda: draw(st.integers(0, 9999)), lambda options: draw(st.sampled_from(options)), draw)


def at_typical_sizes():
    """For shapes that are being guessed: sizes that all differ, so that only what fits together runs."""
    sizes, seeds = {}, iter(range(1000))

    def size(name):
        return sizes.setdefault(name, _typical(name, sizes))

    return Source(size, lambda: next(seeds), lambda options: options[0], None)


def _typical(name, sizes):
    """A size unlike the others, from 2: an error message or a diagnosis can then tell the axes apart."""
    return SMALL.get(name) or next(n for n in range(2, 99) if n not in sizes.values())


@dataclass(frozen=True)
class Recipe:
    """What is called with what.

    of: an op, a function, a Module, or a class of Modules.
    items: shapes, strategies, and anything else, which is handed through; a trailing dict of options, whose values may
    be strategies; or one strategy that draws all this. What is called may come first, see `_called`.
    name: for the report.  domain: one of DOMAINS.
    """

    name: str
    of: object
    items: tuple | st.SearchStrategy = ()
    domain: str = ""

    def case(self, source):
        """A Case by the choices of `source`. Raises Unfit for an unreadable shape, Refused where making f fails."""
        drawn = lambda v: source.draw(v) if isinstance(v, st.SearchStrategy) else v
        items = [drawn(v) for v in as_tuple(drawn(self.items))]
        options = items.pop() if items and isinstance(items[-1], dict) else {}
        options = {k: _placed(drawn(v)) for k, v in options.items()}
        f, items = _called(self.of, items)
        inputs = tuple(self._array(v, source, i) if isinstance(v, str) else _placed(v) for i, v in enumerate(items))
        if isinstance(self.of, type) and not is_instance(f):
            f = _made(f, source)
        if options or not is_module(f):
            f = self._with(f, options)
        return Case(f, inputs, options)

    def _with(self, f, options):
        """f with its options and the name of the target; an op without options stays an op."""
        if is_module(f):
            raise Unfit(
                f"{self.name}: a Module takes no options here; got {', '.join(options)}. Give them in their places."
            )
        if options or getattr(f, "__name__", None) != self.name:
            f = functools.partial(f, **options)
            f.__name__ = self.name
        return f

    def _array(self, shape, source, i):
        """i: the place among the inputs, so that the same seed gives each of them other values: no ties."""
        shape = [a if isinstance(a, int) else source.size(a) for a in read_shape(shape)]
        lay_out = LAYOUTS[source.pick(list(LAYOUTS))]
        return asarray(lay_out(values(shape, [source.seed(), i], source.pick([1.0, 0.3, 3.0]), self.domain)))


def _placed(x):
    """Arrays of the host are put on the default device."""
    return asarray(x) if isinstance(x, np.ndarray) else x


def is_module(x):
    """Whether x is a Module or a class of them: anything with forward and named_parameters that is not PyTorch's."""
    classes = (x if isinstance(x, type) else type(x)).__mro__
    foreign = any(c.__module__.split(".")[0] == "torch" for c in classes)
    return hasattr(x, "forward") and hasattr(x, "named_parameters") and not foreign


def is_instance(x):
    return is_module(x) and not isinstance(x, type)


def _called(of, items):
    """(what is called or, for a class of Modules, makes what is called; the other items).

    The first item is, where it can be called: an instance, a class, or a function whose arguments name sizes.
    """
    if items and callable(items[0]):
        return items[0], items[1:]
    return of, items


def _made(make, source):
    """make(sizes by name); `rng` is a seeded Generator, so that weights are the same each time.

    Weights are moved a little: at 1, where those of a norm begin, a VJP that forgets them would be right; a bias of 0
    may put a unit on the kink of relu.
    """
    arguments = {n: Generator(0) if n == "rng" else source.size(n) for n in made_of(make)}
    try:
        module = make(**arguments)
    except Exception as error:
        raise Refused(sentence_of(error)) from error
    for i, (_, p) in enumerate(module.named_parameters()):
        p.data = p.data + asarray(values(p.shape, [0, i], 0.1)).astype(p.dtype)
    return module


def sentence_of(error):
    """`ValueError: the first line of its message`."""
    text = str(getattr(error, "msg", error)).strip().splitlines()
    return f"{type(error).__name__}: {text[0].removesuffix('.')}" if text else type(error).__name__


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def made_of(make):
    """The names of the arguments that `make` needs; and `rng`, so that weights are the same each time."""
    parameters = inspect.signature(make).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [p.name for p in named if p.default is p.empty or p.name == "rng"]

"""What is called with what: a Recipe says it, and gives a Case for any choice of sizes, values and options."""

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...autograd import Tensor
from ...backend import Generator, asarray
from ..subject import argument_names, is_float
from .shapes import Unfit, array, values
from .strategies import LAYOUTS, st

MODES = "train", "train", "eval"  # one in three


class Refused(Exception):
    """The target raised an exception for these inputs."""


class Unmade(Refused):
    """The constructor of a Module raised an exception for these sizes."""


class Case(NamedTuple):
    """One drawn check: `gradcheck(case.f, *case.inputs)`. The options are bound in f already."""

    f: Callable  # the op, a partial of it with its __name__, or a Module (with options: a copy that has them bound)
    inputs: tuple
    options: dict  # for messages

    def __str__(self):
        """x (2, 3) channels last, w (3,); axis=1; in eval()."""
        names = argument_names(self.f, len(self.inputs))
        given = [f"{n} {_brief(x)}" for n, x in zip(names, self.inputs)]
        options = [f"{k}={_brief(v)}" for k, v in self.options.items()]
        mode = "" if getattr(self.f, "training", True) else "in eval()"
        return "; ".join(filter(None, (", ".join(given), ", ".join(options), mode))) or "no inputs"


def _brief(x):
    """(2, 3) channels last; the memory layout is told by the strides, and left out where it is row by row."""
    if not hasattr(x, "shape"):
        return repr(x)
    data = x.data if isinstance(x, Tensor) else x
    alike, plain = np.empty(x.shape, x.dtype), next(iter(LAYOUTS))
    strides = getattr(data, "strides", alike.strides)
    layout = next((name for name, lay_out in LAYOUTS.items() if lay_out(alike).strides == strides), plain)
    return f"{tuple(x.shape)}{'' if x.dtype.kind == 'f' else f' {x.dtype}'}{'' if layout == plain else ' ' + layout}"


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
        """A Case by the choices of `source`. Raises Unfit for an unreadable shape, Unmade where making f fails."""
        drawn = lambda v: source.draw(v) if isinstance(v, st.SearchStrategy) else v
        items = [drawn(v) for v in as_tuple(drawn(self.items))]
        options = items.pop() if items and isinstance(items[-1], dict) else {}
        options = {k: _placed(drawn(v)) for k, v in options.items()}
        f, items = _called(self.of, items)
        inputs = tuple(
            array(v, source, i, self.domain) if isinstance(v, str) else _placed(v) for i, v in enumerate(items)
        )
        if isinstance(self.of, type) and not is_instance(f):
            f = _made(f, source)
        if options or not is_module(f):
            f = self._with(f, options)
        return Case(f, inputs, options)

    def _with(self, f, options):
        """f with its options and the name of the target; an op without options stays an op."""
        if is_module(f):
            return _bound(f, options)
        if options or getattr(f, "__name__", None) != self.name:
            f = functools.partial(f, **options)
            f.__name__ = self.name
        return f


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


def _bound(module, options):
    """A Module of the same parameters whose forward has these options. Raises Unfit where calling it goes elsewhere.

    Arrays are in float32 as those in a Module are, so that they decide the dtype of no result.
    """
    if type(module).__call__ is type(module).forward:
        raise Unfit(f"{type(module).__name__}: has no options of its own. Let __call__ call self.forward to bind some.")
    module = copy.copy(module)
    options = {k: v.astype("float32") if is_float(v) else v for k, v in options.items()}
    module.forward = functools.partial(module.forward, **options)
    return module


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
    may put a unit on the kink of relu. The mode is drawn too, unless `make` has called eval().
    """
    arguments = {n: Generator(0) if n == "rng" else source.size(n) for n in made_of(make)}
    try:
        module = make(**arguments)
    except Exception as error:
        raise Unmade(sentence_of(error)) from error
    for i, (_, p) in enumerate(module.named_parameters()):
        p.data = p.data + asarray(values(p.shape, [0, i], 0.1)).astype(p.dtype)
    if getattr(module, "training", False) and hasattr(module, "eval") and source.pick(MODES) == "eval":
        module.eval()
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

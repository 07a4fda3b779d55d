"""Finds every op and Module of a file or package, and inputs on which their derivatives can be checked.

What is checked: every op and Module class that is *defined* there and whose name does not begin with _, unless its
forward raises NotImplementedError (a base class); and every function that examples() names or whose arguments have
shapes as annotations. Ops with private names are parts of public functions, and are checked through these.

On which inputs: those of `examples()`, a function in the file (of a package: in its `examples.py`):

    def examples():
        return {
            "scale": ("N C", "C"),                          shapes: equal letters are equal sizes, drawn from 1 to 5
            "scale: images": ("N C H W", "C 1 1"),          several of one name, with a remark
            "power": (st.floats(0.5, 2).map(np.array), {"exponent": st.integers(1, 3)}),     strategies; options last
            "Mix": (Mix(3, rng=Generator(0)), "N 3"),       a Module class: an instance first,
            "Gate": (lambda C: Gate(C), "N C H W"),         or what makes one, from the sizes its arguments name
            "mean_of": (lambda x: mean_of([x, x]), "N C"),  a function is called in place of what is named
            "histogram": None,                              no derivative by design
        }

Anything else among the inputs is handed through; the whole value may be one strategy that draws such a tuple. Floats
among the options are constants: they are not differentiated. What examples() does not name has its shapes read from
annotations, or inferred: see infer.py. A Module that is made here is checked in train() and in eval(); a given
instance as it is.
"""

import difflib
import inspect
import sys
from pathlib import Path
from types import FunctionType

from ...autograd import Op
from .infer import annotated_shapes
from .load import DiscoverError, load, on_path, place_of
from .target import INFER, Target, is_module, make_target

__all__ = ["DiscoverError", "Target", "discover"]


def discover(path_or_module_name, unseen=None):
    """[Target] of a file (`my_layer.py`), a module or a package (`minigen`), in order of definition.

    unseen: a list, to which the names of plain functions of a single file are added that are no targets.
    Raises DiscoverError where the file does not exist or does not import, holds nothing to check, or its examples()
    raises or names something that is not there.
    """
    loaded = load(str(path_or_module_name))
    defined = [definition for module in loaded.modules.values() for definition in _definitions(module)]
    examples = _examples(loaded, defined)
    targets = []
    for name, x in defined:
        own = [key for key, (y, _) in examples.items() if x is y]
        targets += [_target(key, x, examples.pop(key)[1]) for key in own]
        if not own and _is_to_be_checked(x):
            targets.append(_target(name, x))
        elif not own and unseen is not None and len(loaded.modules) == 1 and _may_be_differentiated(x):
            unseen.append(name)
    targets += [_target(key, x, value) for key, (x, value) in examples.items()]
    targets += [Target(n, "module", None, how=m) for n, m in loaded.modules.items() if isinstance(m, str)]
    if not targets:
        raise DiscoverError(
            f"discover({loaded.title!r}): defines no op and no Module. An op is a function on arrays under "
            f"@op(x=lambda g, ...: ...); is it imported from elsewhere? Name that file then."
        )
    return targets


def _definitions(module):
    """[(name, op, class or function)] of what a module defines under a public name, each once."""
    found = {}
    for name, x in vars(module).items() if not isinstance(module, str) else ():
        here = getattr(x, "__module__", None) == module.__name__ and isinstance(x, Op | FunctionType | type)
        if here and not name.startswith("_") and name != "examples":
            found.setdefault(id(x), (name, x))
    return list(found.values())


def _is_to_be_checked(x):
    """Whether x is checked though examples() does not name it."""
    if isinstance(x, type):
        code = getattr(inspect.unwrap(x.forward), "__code__", None) if is_module(x) else None
        return is_module(x) and not (code and "NotImplementedError" in code.co_names)
    return isinstance(x, Op) or bool(annotated_shapes(x))


def _may_be_differentiated(x):
    """Whether x is a function of something: it might have been meant as a target."""
    return isinstance(x, FunctionType) and bool(inspect.signature(x).parameters)


def _examples(loaded, defined):
    """{key: (what it names, value)} of examples()."""
    if loaded.examples is None:
        return {}
    file = Path(loaded.examples.__file__)
    try:
        with on_path(file.parent):
            values = loaded.examples.examples()
    except Exception as error:
        raise DiscoverError(f"examples(): {place_of(error, file)}. Mend that first.") from error
    if not isinstance(values, dict):
        raise DiscoverError(f"{file.name}, examples(): expected {{name: inputs}}; got {type(values).__name__}.")
    found = {}
    for key, value in values.items():
        x = _named(key.partition(":")[0].strip(), loaded, defined, file)
        if loaded.whole or any(x is y for _, y in defined):
            found[key] = (x, value)
    return found


def _named(name, loaded, defined, file):
    """What a name in examples() means: what the package offers under it, or the one thing defined under it."""
    owner = loaded.examples
    if owner.__name__.endswith(".examples"):
        owner = sys.modules[owner.__package__]
    offered = getattr(owner, name, None)
    if isinstance(offered, Op | FunctionType | type):
        return offered
    among = [x for n, x in defined if n == name]
    among = [x for x in among if isinstance(x, Op) or is_module(x)] or among
    if len(among) == 1:
        return among[0]
    if not loaded.whole:  # it belongs to another part of the package
        return None
    if among:
        raise DiscoverError(
            f"{file.name}, examples(): {name!r} is defined in {' and '.join(x.__module__ for x in among)}. Import "
            f"the one that is meant in {owner.__name__}."
        )
    names = [n for n, x in defined if isinstance(x, FunctionType) or _is_to_be_checked(x)]
    close = difflib.get_close_matches(name, names, 1)
    guess = f"Did you mean {close[0]!r}?" if close else f"Defined are: {', '.join(names) or 'none'}."
    raise DiscoverError(f"{file.name}, examples(): {name!r} is not defined. {guess}")


def _target(name, x, example=INFER):
    functions = vars(x).values() if isinstance(x, type) else [inspect.unwrap(x)]  # a class is where its first method is
    code = next((f.__code__ for f in functions if isinstance(f, FunctionType)), None)
    where = {"file": code.co_filename, "line": code.co_firstlineno} if code else {}
    return make_target(name, x, example, **where)

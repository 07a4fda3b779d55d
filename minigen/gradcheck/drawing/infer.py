"""Inputs for who says nothing about them: shapes read from annotations, or found by trying the usual ones.

    def scale(x: "N C", w: "C")             shapes as annotations; Annotated[Tensor, "N C"] does as well

Without them the usual shapes are tried in the order of `usual_shapes`, at sizes that all differ; the first that runs,
and gives finite floats that depend on the input, is taken; integers as inputs are not tried. A Module class is made
from sizes where all that its constructor needs are sizes, as in Dense(in_features, out_features): integers by
annotation or by name.
"""

import __future__

import ast
import builtins
import dataclasses
import inspect
import re
import typing

from ...autograd import Op, grad
from ..subject import is_float
from .inputs import Recipe, Refused, Unmade, is_module, made_of
from .shapes import DOMAINS, SMALL, Unfit, at_typical_sizes
from .trial import call, finite, raw

ONE = "N C", "N C H W", "N L C", "N", ""  # the fewest axes first: what is meant for more raises an exception
DENSE = ("N C", "O C", "O"), ("N C", "C O", "O")
CONV = ("N C H W", "O C kh kw", "O"), ("N C H W", "C O kh kw", "O")
PER_CHANNEL = ("N C H W", "C"), ("N C", "C"), ("N C H W", ""), ("N C", "")
SQUARE = "D D"
LAST = {SQUARE, "N", ""}  # where nothing else runs forward: there a VJP that transposes by mistake is right
MATRICES, VECTORS = {"weight", "weights", "w", "W", "kernel"}, {"bias", "gamma", "beta", "scale", "shift"}
SIZE = re.compile("[A-Za-z]|n_.*|num_.*|(.*_)?(channels|features|dim|size|units|width|hidden|groups|heads|classes)")
INTEGERS = re.compile(r"\bintegers?\b|\bindices (in|must)\b")  # in the message of who wants them, not floats
INDEX = re.compile("(.*_)?(idx|ids?|index|indices|labels?|tokens?)")


def recipe_of(name, of):
    """(Recipe, how it was found) of an op, a function or a Module class. Raises Unfit where nothing was found."""
    if isinstance(of, type):
        _check_constructor(name, of)
    inputs, optional = _inputs(name, of)
    shapes = annotated_shapes(of)
    if shapes:
        return _annotated(name, of, inputs, optional, shapes), "annotations"
    arguments = [n for n in made_of(of) if n != "rng"] if isinstance(of, type) else []
    sizes = arguments or (_sizes_of_weights(name, of) if is_module(of) else [])
    refusals, runs = [], []
    for names in dict.fromkeys([(*inputs, *optional), tuple(inputs)]):
        for items in [*usual_shapes([n.removeprefix("*") for n in names], sizes), (SQUARE,) * len(names)]:
            if runs and items[:1] and items[0] in LAST:
                continue
            recipe, how = Recipe(name, of, items), _described(of, arguments, names, items)
            try:
                good = _is_good(recipe)
            except Refused as error:
                refusals.append((error, how))
            else:
                runs.append((recipe, f"inferred: {how}"))
                if good:
                    return runs[-1]
    if runs and (isinstance(of, Op) or _reacts(runs[0][0])):
        return runs[0]
    raise Unfit(f"{name}: {_refusal(name, of, inputs, refusals, bool(runs))}")


def _refusal(name, of, inputs, refusals, ran):
    """Why nothing was inferred, and what to do.

    refusals: [(exception, on which inputs)].  ran: whether it ran on some inputs, though what came did not react.
    """
    first = {}
    for error, how in refusals:
        first.setdefault(str(error), f"{how}: {error}")
    tried = "; ".join([*first.values()][:2])
    if refusals and all(isinstance(error, Unmade) for error, _ in refusals):
        return f"its constructor raises {refusals[0][0]}. Make one in examples(): {_made_by_hand(name, of)}."
    asks = next((text for error, text in first.items() if INTEGERS.search(error)), None)
    inputs = [n.removeprefix("*") for n in inputs]
    indices = [n for n in inputs if INDEX.fullmatch(n)]
    if ran or asks or indices:
        why = f"{' and '.join(indices)} look{'s' * (len(indices) == 1)} like integers, which are not inferred"
        if not indices:
            why = f"the result does not change with {', '.join(inputs)}, as real numbers" if ran else f"refuses {asks}"
        integers = "arrays(int, 3, elements=st.integers(0, 4))"
        size = next((n for n in made_of(of) if n != "rng"), "C") if isinstance(of, type) else "C"
        items = integers if len(inputs) < 2 else f'("3 {size}", {integers})'
        return (
            f"{why}. If integers are meant (labels, indices), give them in examples(), such as "
            f'{{"{name}": {items}}} with arrays from hypothesis.extra.numpy. Without derivative by design: '
            f'{{"{name}": None}}.'
        )
    x = f"{'self, ' * is_module(of)}{inputs[0] if inputs else 'x'}"
    return (
        f"refuses the usual shapes ({tried}). Annotate them, as in "
        f'def {"forward" if is_module(of) else name}({x}: "N C"), or give inputs in examples(): '
        f'{{"{name}": ("N C", ...)}}.'
    )


def _made_by_hand(name, of):
    """`{"Gate": (Gate(channels=..., rng=Generator(0)), "N C")}`"""
    given = ", ".join("rng=Generator(0)" if n == "rng" else f"{n}=..." for n in made_of(of))
    return f'{{"{name}": ({name}({given or "..."}), "N C")}}'


def _sizes_of_weights(name, of):
    """What the inputs of a Module may have along one axis: the sizes of its weights, those of inputs before outputs."""
    try:
        module = Recipe(name, of).case(at_typical_sizes()).f
    except Refused:  # each try below will say so
        return []
    return list(dict.fromkeys(n for _, p in module.named_parameters() for n in p.shape[1::-1]))


def usual_shapes(names, sizes=()):
    """Tuples of shapes for inputs of these names, the most telling first; sizes: what a Module is made of, or has."""
    n = len(names)
    sizes = [s for s in sizes if s not in SMALL]
    same = [(shape,) * n for s in sizes for shape in (f"N {s}", f"N {s} H W", f"N L {s}")]
    same += [(shape,) * n for shape in ONE]
    if n < 2:
        return same[: None if n else 1]  # without inputs there is one way to call it
    own = [tuple(f"N {s}" for s in sizes[:n])] * (len(sizes) >= n)
    layers = [shapes[:n] for shapes in DENSE + CONV] * (n < 4)
    channels = [(x, *[v] * (n - 1)) for x, v in PER_CHANNEL]
    if names[1] in MATRICES:
        return layers + channels + same
    if names[1] in VECTORS:
        return channels + layers + same
    return own + same + [("N K", "K M")] * (n == 2) + layers + channels


# ------------------------------------------------------------------------------------------------ signatures


def _inputs(name, of):
    """(names that are needed, names that may be None) of the arrays that `of` takes by position."""
    f = of.forward if isinstance(of, Op) or is_module(of) else of
    parameters = list(inspect.signature(f).parameters.values())[isinstance(of, type) :]
    options = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if options:
        raise Unfit(
            f"{name}: needs the option {options[0]!r}, which cannot be guessed. Give it in examples(): "
            f'{{"{name}": ("N C", {{"{options[0]}": ...}})}}.'
        )
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    several = [f"*{p.name}" for p in parameters if p.kind is p.VAR_POSITIONAL] * 2
    needed = [p.name for p in positional if p.default is p.empty] + several
    optional = [p.name for p in positional if p.default is None] if not several else []
    if not needed and not is_module(of):
        raise Unfit(f"{name}: takes no input, so that it has no derivative. Make its input an argument.")
    return needed, optional


def _check_constructor(name, of):
    parameters = inspect.signature(of).parameters
    for argument in made_of(of):
        if argument != "rng" and parameters[argument].annotation not in (int, "int") and not SIZE.fullmatch(argument):
            raise Unfit(
                f"{name}: its constructor needs {argument!r}, which cannot be guessed. Make one in examples(): "
                f"{_made_by_hand(name, of)}."
            )


def annotated_shapes(of):
    """{argument: shape} of an op, a function or the forward of a Module class; arguments without one are left out."""
    f = inspect.unwrap(of.forward if isinstance(of, Op) or is_module(of) else of)
    found = {}
    for argument, annotation in getattr(f, "__annotations__", {}).items():
        shape = _shape_in(annotation, f)
        if shape is not None and argument != "return":
            found[argument] = shape
    return found


def _shape_in(annotation, f):
    """The shape that an annotation holds, or None: a string that is no type, or one within Annotated[...]."""
    if isinstance(annotation, str):
        late = f.__code__.co_flags & __future__.annotations.compiler_flag  # every annotation is a string
        if annotation[:1] in "\"'" and late:
            return ast.literal_eval(annotation)
        if "Annotated[" in annotation:
            annotation = eval(annotation, f.__globals__)
        elif late or _is_type(annotation, f):
            return None
        else:
            return annotation
    if typing.get_origin(annotation) is typing.Annotated:
        return next((m for m in annotation.__metadata__ if isinstance(m, str)), None)
    return None


def _is_type(text, f):
    """Whether an annotation in quotes names a type: "Tensor", "np.ndarray", "list[int]", "Tensor | None"."""
    first = re.split(r"\W", text, maxsplit=1)[0]
    known = f.__globals__.get(first, getattr(builtins, first, None))
    return isinstance(known, type) or inspect.ismodule(known) or bool(re.search(r"[.|\[]", text))


def _annotated(name, of, inputs, optional, shapes):
    missing = [n for n in inputs if n not in shapes]
    if missing:
        raise Unfit(f'{name}: {missing[0]} has no shape, though others have. Annotate it too: {missing[0]}: "N C".')
    return Recipe(name, of, tuple(shapes[n] for n in [*inputs, *optional] if n in shapes))


# ------------------------------------------------------------------------------------------------ trying


def _is_good(recipe):
    """Whether it gives finite floats, in some domain, that depend on the input, and its VJPs run.

    Raises Refused where it does not run forward: another shape may be meant.
    """
    for domain in DOMAINS:
        tried, source = dataclasses.replace(recipe, domain=domain), at_typical_sizes()
        leaves, outputs = call(recipe.name, tried.case(source))
        if finite(outputs):
            _, others = call(recipe.name, tried.case(source))  # the same sizes, other values
            depends = not recipe.items or any(bool((raw(a) != raw(b)).any()) for a, b in zip(outputs, others))
            return depends and _gradients(leaves, outputs) is not None
    return False


def _gradients(leaves, outputs):
    """[gradient or None] of each output in each leaf; None where the VJPs do not take these shapes.

    Where they take none of the usual ones, the check itself says so.
    """
    try:
        recorded = [y for y in outputs if getattr(y, "node", None)]
        return [g for y in recorded for g in grad(y, leaves, y.detach(), allow_unused=True)]
    except Exception:
        return None


def _reacts(recipe):
    """Whether a gradient arrives at the inputs, or the result changes when they do, be it a little."""
    case = recipe.case(at_typical_sizes())
    leaves, outputs = call(recipe.name, case)
    gradients = _gradients(leaves, outputs)
    if not leaves or gradients is None or any(g is not None for g in gradients):
        return True
    nearby = case._replace(inputs=tuple(x * 1.001 if is_float(x) else x for x in case.inputs))
    _, moved = call(recipe.name, nearby)
    return not finite(outputs) or any(bool((raw(y) != raw(z)).any()) for y, z in zip(outputs, moved))


def _described(of, sizes, names, shapes):
    parts = [f"{of.__name__}({', '.join(sizes)})"] if sizes else []
    parts += [f"{n} ({', '.join(s.split())})" for n, s in zip(names, shapes)]
    return ", ".join(parts) or "no inputs"

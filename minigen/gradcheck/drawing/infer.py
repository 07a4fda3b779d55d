"""Inputs for who says nothing about them: shapes read from annotations, or found by trying the usual ones.

    def scale(x: "N C", w: "C")             shapes as annotations; Annotated[Tensor, "N C"] does as well

Without them the usual shapes are tried in the order of `usual_shapes`, at sizes that all differ; the first that runs,
and gives finite floats that depend on the input, is taken. A Module class is made from sizes where all that its
constructor needs are sizes, as in Dense(in_features, out_features): integers by annotation or by name.
"""

import __future__

import ast
import builtins
import dataclasses
import inspect
import re
import typing

from ...autograd import Op, grad
from .inputs import Recipe, Refused, is_module, made_of
from .shapes import DOMAINS, SMALL, Unfit, at_typical_sizes
from .trial import call, finite, raw

ONE = "N C", "N C H W", "N L C", "N", ""  # the fewest axes first: what is meant for more raises an exception
DENSE = ("N C", "O C", "O"), ("N C", "C O", "O")
CONV = ("N C H W", "O C kh kw", "O"), ("N C H W", "C O kh kw", "O")
PER_CHANNEL = ("N C H W", "C"), ("N C", "C"), ("N C H W", ""), ("N C", "")
MATRICES, VECTORS = {"weight", "weights", "w", "W", "kernel"}, {"bias", "gamma", "beta", "scale", "shift"}
SIZE = re.compile("[A-Za-z]|n_.*|num_.*|(.*_)?(channels|features|dim|size|units|width|hidden|groups|heads)")


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
    refusals, runs = {}, []
    for names in dict.fromkeys([(*inputs, *optional), tuple(inputs)]):
        for items in usual_shapes([n.removeprefix("*") for n in names], sizes):
            recipe, how = Recipe(name, of, items), _described(of, arguments, names, items)
            try:
                good = _is_good(recipe)
            except Refused as error:
                refusals.setdefault(str(error), how)
            else:
                runs.append((recipe, f"inferred: {how}"))
                if good:
                    return runs[-1]
    if runs:
        return runs[0]
    tried = "; ".join(f"{how}: {error}" for error, how in list(refusals.items())[:2])
    x = f"{'self, ' * is_module(of)}{inputs[0].removeprefix('*') if inputs else 'x'}"
    raise Unfit(
        f"{name}: refuses the usual shapes ({tried}). Annotate them, as in "
        f'def {"forward" if is_module(of) else name}({x}: "N C"), or give inputs in examples(): '
        f'{{"{name}": ("N C", ...)}}.'
    )


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
                f'{{"{name}": ({name}({argument}=...), "N C")}}.'
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
            return depends and _can_go_back(leaves, outputs)
    return False


def _can_go_back(leaves, outputs):
    """Whether the VJPs take these shapes. Where they take none of the usual ones, the check itself says so."""
    outputs = [y for y in outputs if getattr(y, "node", None)]
    try:
        for y in outputs:
            grad(y, leaves, y.detach(), allow_unused=True)
    except Exception:
        return False
    return True


def _described(of, sizes, names, shapes):
    parts = [f"{of.__name__}({', '.join(sizes)})"] if sizes else []
    parts += [f"{n} ({', '.join(s.split())})" for n, s in zip(names, shapes)]
    return ", ".join(parts) or "no inputs"

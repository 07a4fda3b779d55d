"""A Target: an op, function or Module class together with what draws inputs for it."""

from dataclasses import dataclass, field, replace

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ...autograd import Op
from ..subject import is_float
from .infer import recipe_of
from .inputs import Recipe, Refused, as_tuple, is_module
from .shapes import DOMAINS, Unfit, from_hypothesis
from .sweep import sampled
from .trial import call, finite

TRIALS = 4  # draws before the check, to see whether there is anything to check, and in which domain
INFER = object()


@dataclass
class Target:
    """Something to check: an op, a Module class, or a function that examples() names or whose arguments have shapes.

    name: as in the file, or the key in examples(): "conv2d: grouped".  kind: "op", "Module" or "function"; or
        "module", for a file of a package that needs a library which is not there, as `how` says.
    of: the Op, class or function itself.  file, line: where it is defined.
    draw: a Hypothesis strategy of Cases; None where there is nothing to draw: then `problem` is one sentence that says
        why and what to do, or None where examples() says that there is no derivative by design ({name: None}).
    how: where the inputs come from: "examples()", "annotations", "inferred: x (N, C, H, W)", "no derivative by design".
    refused: the exceptions, as text, of drawn shapes which the target refused; grows while drawing.
    """

    name: str
    kind: str
    of: object
    file: str = ""
    line: int = 0
    draw: SearchStrategy | None = None
    how: str = ""
    problem: str | None = None
    refused: list = field(default_factory=list)


def make_target(name, of, example=INFER, **where):
    """The Target of an op, a function, a Module or a Module class.

    example: the value in examples(), see `discover`; None for no derivative by design. Without it inputs are inferred.
    """
    target = Target(name, kind_of(of), of, **where)
    if example is None:
        target.how = "no derivative by design"
        return target
    title = name.partition(":")[0].strip()
    try:
        if isinstance(of, Op) and not of.rules:
            raise Unfit(
                f"{title}: has no VJP, so that no gradient passes. Give one for each input, as in "
                f'@op({of.inputs[0]}=lambda g: ...), or say in examples() that it has none by design: "{title}": None.'
            )
        if example is INFER:
            recipe, target.how = recipe_of(title, of)
        else:
            items = example if isinstance(example, SearchStrategy) else as_tuple(example)
            recipe, target.how = Recipe(title, of, items), "examples()"
        target.draw = _cases(*_in_its_domain(recipe), target.refused)
    except Unfit as error:
        target.problem = str(error) if str(error).startswith(title) else f"{title}: {error}"
    return target


def kind_of(x):
    """ "op", "Module" (also of a class), or "function"."""
    return "op" if isinstance(x, Op) else "Module" if is_module(x) else "function"


def _in_its_domain(recipe):
    """(recipe, whether results that are not finite are refused): the first domain in which all results are finite.

    Where there is none, those cases of a domain that are finite are drawn; where none is, all, and the check says so.
    """
    best, share = recipe, 0.0
    for domain in DOMAINS:
        tried = replace(recipe, domain=domain)
        outcomes = sampled(_attempts(tried), TRIALS)
        if all(isinstance(o, Refused) for o in outcomes):  # few shapes may do, such as channels divisible by 4
            outcomes = sampled(_attempts(tried), 20 * TRIALS)
        unfit = next((o for o in outcomes if isinstance(o, Unfit)), None)
        if unfit:
            raise unfit
        runs = [o for o in outcomes if not isinstance(o, Refused)]
        if not runs:
            raise Unfit(
                f"{recipe.name}: raises {outcomes[0]} for every input. Is it meant for others? Give them in examples()."
            )
        if all(runs):
            return tried, False
        if sum(runs) / len(runs) > share:
            best, share = tried, sum(runs) / len(runs)
    return best, share > 0


def _attempt(recipe, draw):
    """(case, whether its result is finite). Raises Unfit; Refused where it raises, or is a variance of one number."""
    case = recipe.case(from_hypothesis(draw))
    _, outputs = call(recipe.name, case)
    good = finite(outputs)
    if not good and any(1 in (x.shape or (1,)) for x in case.inputs if is_float(x)):
        raise Refused("the result is not finite where an axis has size 1")
    return case, good


@st.composite
def _attempts(draw, recipe):
    """Whether the result is finite; or the exception."""
    try:
        return _attempt(recipe, draw)[1]
    except (Unfit, Refused) as error:
        return error


@st.composite
def _cases(draw, recipe, only_finite, refused):
    try:
        case, good = _attempt(recipe, draw)
        if only_finite and not good:
            raise Refused("the result is not finite")
    except Refused as error:
        refused.append(str(error))
        reject()
    return case

"""The comparison: two functions whose values give the numeric, and whose VJPs the analytic derivative."""

import functools
import itertools
import math
import operator
from typing import NamedTuple

import numpy as np

from .. import ops
from ..autograd import Tensor, grad
from ..backend import namespace
from .report import Element, Report
from .subject import is_float, leaf, random_like, typical_size, watching

STEPS = 1e-4, 1e-5, 1e-6, 1e-7  # a smaller step is tried where a larger one fails: a kink of relu may lie inside it
LARGE_STEP = 1e-2  # for arrays that contribute so little that rounding hides them from smaller steps
COARSE_STEPS = 0.1, 0.03, 0.01  # for functions that compute in float32 whatever they are given
ROUNDING = 100  # machine epsilons, of one value of f; see Meter
FEW = 48  # elements of an input that are looked at one by one, after bisection

# ------------------------------------------------------------------------------------------------ two functions
# Each has the form arrays -> (value, gradients): a number, and, where `differentiate` is given, its derivatives with
# respect to the arrays (None where it does not depend on one).


def first_order(subject, cotangents, create_graph):
    """arrays ↦ ⟨v, f(arrays)⟩. Its VJPs receive arrays, as in training, or Tensors where create_graph is True."""

    def function(arrays, differentiate=False):
        leaves, outputs = subject(arrays)
        value = _inner(outputs, cotangents)
        return value, grad(value, leaves, None, create_graph, allow_unused=True) if differentiate else None

    return function


def second_order(subject, weights):
    """(arrays, v) ↦ ⟨vᵀJ(arrays), w⟩: linear in v, so that the derivative of every VJP in its g is tested as well."""

    def function(point, differentiate=False):
        arrays, cotangents = point[: len(weights)], [leaf(v) for v in point[len(weights) :]]
        leaves, outputs = subject(arrays)
        pulled = grad(_inner(outputs, cotangents), leaves, create_graph=True, allow_unused=True)
        value = _inner(*zip(*[(g, w) for g, w in zip(pulled, weights) if g is not None]))
        if value.node is None:  # the VJPs gave constants; the diagnosis says so
            return value, [None] * len(point)
        return value, grad(value, leaves + cotangents, allow_unused=True) if differentiate else None

    return function


def _inner(tensors, weights):
    """Σ ⟨t, w⟩."""
    terms = [ops.sum(t * (w if isinstance(w, Tensor) else w.astype(t.dtype))) for t, w in zip(tensors, weights)]
    return functools.reduce(operator.add, terms)


class Meter:
    """A watcher (see autograd/state.py) that measures how much rounding the value of a graph can have suffered.

    Every intermediate result y is rounded by about ε of its own size, and the cotangent g says what that does to the
    value: ε·g·y. Their root sum of squares, `size`, times ε is the error of the value where they are independent.
    """

    def __init__(self):
        self.outs, self.total = {}, 0.0

    def forward(self, op, out, call):
        if call[2] is not None:
            self.outs[call[2].serial] = out

    def before_vjps(self, call):
        node, g, _ = call
        out = self.outs.get(node.serial)
        for y, v in zip(out, g) if type(out) is tuple else [(out, g)]:
            if v is not None and is_float(y):
                self.add(y, v)

    def after_vjp(self, node, i, contribution):
        pass

    def add(self, y, g):
        product = y.astype(np.float64) * (g.data if isinstance(g, Tensor) else g)  # squares overflow in float32
        self.total += float((product * product).sum())

    @property
    def size(self):
        return math.sqrt(self.total)


# ------------------------------------------------------------------------------------------------ the comparison


class Outcome(NamedTuple):
    """Of one comparison along one direction."""

    agree: bool
    numeric: float
    analytic: float
    allowed: float
    doubt: float  # of the numeric value: what rounding and truncation can have done to it, and how much steps differ


class Comparison:
    """The derivative of one function at one point: along directions, element by element.

    masks: for each array of the point, 0 where it is to be left out (kinks) and 1 elsewhere; None: all of it counts.
    scales: for each array, the size of a step of 1: that of the array, or, where such steps lead out of the domain of
        the function (a logarithm of inputs of very unlike sizes), that of each element.
    """

    def __init__(self, function, point, names, rng, steps, tol, low=None):
        self.function, self.point, self.names, self.rng, self.tol, self.low = function, point, names, rng, tol, low
        self.steps, self.masks, self.scales = steps, [None] * len(point), [typical_size(x) for x in point]
        lowered = point if low is None else [x.astype(low) for x in point]
        meter = Meter()
        with watching(meter):
            _, gradients = function(lowered, differentiate=True)
        for x, g in zip(point, gradients):
            if g is not None:
                meter.add(x, g)
        self.size = meter.size  # in which rounding is measured
        self.reached = [g is not None for g in gradients]
        self.gradients = [
            namespace(x).zeros_like(x) if g is None else g.data.astype(x.dtype) for g, x in zip(gradients, point)
        ]
        value = function(point)[0]
        self.epsilon = float(np.finfo(value.dtype).eps)
        if self.epsilon > 1e-10:
            self.steps = COARSE_STEPS

    def report(self, title, what):
        """The Report: agreement along a random direction, else the worst element of each array."""
        self.outcome = outcome = self.along(self.random_directions())
        if self.low is not None and not outcome.agree and math.isinf(outcome.doubt):  # float32 inside, float64 outside
            self.steps, self.epsilon = COARSE_STEPS, float(np.finfo(self.low).eps)
            self.outcome = outcome = self.along(self.random_directions())
        if not math.isfinite(outcome.numeric):
            self.scales = [abs(x) + typical_size(x) * (x == 0) for x in self.point]
            self.outcome = outcome = self.along(self.random_directions())
        if outcome.agree:  # what is wrong with an array that contributes little is lost in the sum: look at it alone
            steps = (LARGE_STEP, *self.steps)
            alone = (self.along(self.only(i, self.random_directions()[i]), steps) for i in self.faint_arrays())
            self.outcome = outcome = next((o for o in alone if not o.agree), outcome)
        report = Report(title, what, bool(outcome.agree), outcome.numeric, outcome.analytic, outcome.allowed)
        if not outcome.agree:
            for i, name in enumerate(self.names):
                worst = self.worst_element(i)
                if worst is not None:
                    report.elements.append(Element(name, *worst, self.reached[i]))
            report.elements.sort(key=lambda e: -e.error)
        return report

    def faint_arrays(self):
        """The arrays whose part of the derivative is less than a thousandth of the whole."""
        parts = [float(((g * scale) ** 2).sum()) for g, scale in zip(self.gradients, self.scales)]
        return [i for i, part in enumerate(parts) if part < 1e-6 * sum(parts)] if len(parts) > 1 else []

    def random_directions(self):
        return [random_like(x, self.rng, scale) for x, scale in zip(self.point, self.scales)]

    def unit(self, i, place):
        """(the direction that moves one element of array `i` by its scale, that scale)."""
        direction = indicator([place], self.point[i]) * self.scales[i]
        return direction, float(abs(direction).sum())

    def along(self, directions, steps=None):
        """The Outcome along `directions` (None: do not move), at the first step that agrees, or the best."""
        directions = [u if u is None or m is None else u * m for u, m in zip(directions, self.masks)]
        moving = [(g, u) for g, u in zip(self.gradients, directions) if u is not None]
        analytic = float(sum((g * u).sum() for g, u in moving))
        spread = math.sqrt(sum(float(((g * u) ** 2).sum()) for g, u in moving))  # does not cancel
        found, noise = [], []
        for h in steps or self.steps:
            numeric, truncation = self.slope(directions, h)
            rounding = ROUNDING * self.epsilon * self.size / h
            allowed = self.tol * max(abs(numeric), abs(analytic), spread) + rounding
            # A smaller step may acquit only if its own rounding could not hide what the larger ones saw.
            seen = min((abs(o.numeric - analytic) for o in found if math.isfinite(o.numeric)), default=math.inf)
            agree = abs(numeric - analytic) <= allowed and rounding < 0.3 * seen
            found.append(Outcome(agree, numeric, analytic, allowed, rounding + truncation))
            noise.append(rounding)
            if agree:
                return found[-1]
        best = min(found, key=lambda o: (not math.isfinite(o.numeric), o.doubt))
        pairs = list(zip(itertools.pairwise(found), noise[1:]))
        gaps = [max(0.0, abs(a.numeric - b.numeric) - rounding) for (a, b), rounding in pairs]  # what rounding leaves
        sizes = [min(abs(a.numeric), abs(b.numeric)) for (a, b), _ in pairs]
        if gaps and all(gap > 0.1 * size for gap, size in zip(gaps, sizes)):  # no two steps agree: nothing to trust
            return best._replace(doubt=math.inf)
        return best._replace(doubt=max([best.doubt, *gaps]))

    def slope(self, directions, h):
        """(d/dε function(point + ε·directions) at 0, estimate of the truncation error): Richardson's extrapolation.

        Differences of steps h and h/2 have errors of c·h² and c·h²/4: (4·narrow − wide)/3 has none of that order.
        """
        wide = (self.value(directions, h) - self.value(directions, -h)) / (2 * h)
        narrow = (self.value(directions, h / 2) - self.value(directions, -h / 2)) / h
        return (4 * narrow - wide) / 3, abs(narrow - wide) / 3

    def value(self, directions, step):
        moved = [x if u is None else x + step * u for x, u in zip(self.point, directions)]
        return float(self.function(moved)[0])

    def only(self, i, u):
        """Directions that move array `i` alone."""
        return [u if j == i else None for j in range(len(self.point))]

    def worst_element(self, i):
        """(index, numeric, analytic) of an element of array `i` on which the two disagree most, or None.

        Bisection along random directions down to a few, and these one by one.
        """
        x, steps = self.point[i], self.steps[len(self.steps) // 2 :][:1]  # one step is enough to look for an element
        flat, direction = np.arange(x.size), random_like(x, self.rng, self.scales[i])
        along = lambda u: self.along(self.only(i, u), steps)

        def error(places):
            outcome = along(direction * indicator(places, x))
            return abs(outcome.numeric - outcome.analytic)

        while len(flat) > FEW:
            halves = flat[: len(flat) // 2], flat[len(flat) // 2 :]
            flat = max(halves, key=error)
        found = [(place, size, along(unit)) for place in flat for unit, size in [self.unit(i, place)]]
        wrong = [(place, o.numeric / size, o.analytic / size) for place, size, o in found if not o.agree]
        if not wrong:
            return None
        place, numeric, analytic = max(wrong, key=lambda e: abs(e[1] - e[2]))
        return index_of(place, x), numeric, analytic


def indicator(places, x):
    """1 at the flat `places` of x, 0 elsewhere."""
    mask = np.zeros(x.size)
    mask[places] = 1
    return namespace(x).asarray(mask.reshape(x.shape))


def index_of(place, x):
    return tuple(int(i) for i in np.unravel_index(place, x.shape))

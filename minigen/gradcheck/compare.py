"""The comparison: two functions whose values give the numeric, and whose VJPs the analytic derivative."""

import math

import numpy as np

from .. import ops
from ..autograd import grad
from ..backend import namespace
from .report import Element, Report
from .subject import leaf, random_like, typical_size

STEPS = 1e-4, 1e-5, 1e-6, 1e-7  # a smaller step is tried where a larger one fails: a kink of relu may lie inside it
ROUNDING = 100 * np.finfo(np.float64).eps  # of one value of f, relative to what was summed up in it
FEW = 48  # elements of an input that are looked at one by one, after bisection

# ------------------------------------------------------------------------------------------------ two functions
# Each has the form arrays -> (value, size, gradients): a number, the size of what was summed up in it, and, where
# `differentiate` is given, its derivatives with respect to the arrays (None where it does not depend on one).


def first_order(subject, cotangents, create_graph):
    """arrays ↦ ⟨v, f(arrays)⟩. Its VJPs receive arrays, as in training, or Tensors where create_graph is True."""

    def function(arrays, differentiate=False):
        leaves, outputs = subject(arrays)
        value, size = _inner(outputs, cotangents)
        return value, size, grad(value, leaves, None, create_graph, allow_unused=True) if differentiate else None

    return function


def second_order(subject, weights):
    """(arrays, v) ↦ ⟨vᵀJ(arrays), w⟩: linear in v, so that the derivative of every VJP in its g is tested as well."""

    def function(point, differentiate=False):
        arrays, cotangents = point[: len(weights)], [leaf(v) for v in point[len(weights) :]]
        leaves, outputs = subject(arrays)
        first, _ = _inner(outputs, cotangents)
        pulled = grad(first, leaves, create_graph=True, allow_unused=True)
        value, size = _inner(*zip(*[(g, w) for g, w in zip(pulled, weights) if g is not None]))
        return value, size, grad(value, leaves + cotangents, allow_unused=True) if differentiate else None

    return function


def _inner(tensors, weights):
    """(Σ ⟨t, w⟩, Σ |t·w|)."""
    terms = [t * w for t, w in zip(tensors, weights)]
    value = ops.sum(terms[0])
    for t in terms[1:]:
        value = value + ops.sum(t)
    return value, sum(float(abs(t.data).sum()) for t in terms)


# ------------------------------------------------------------------------------------------------ the comparison


def compare(function, title, what, point, names, rng, steps, tol):
    """The Report of one derivative: agreement along a random direction, else the worst element of each array."""
    _, size, gradients = function(point, differentiate=True)
    reached = [g is not None for g in gradients]
    gradients = [namespace(x).zeros_like(x) if g is None else g.data for g, x in zip(gradients, point)]

    def along(directions, steps=steps):
        """(agree?, numeric, analytic, allowed) for the derivative along `directions` (None: do not move)."""
        moving = [(g, u) for g, u in zip(gradients, directions) if u is not None]
        analytic = float(sum((g * u).sum() for g, u in moving))
        spread = math.sqrt(sum(float(((g * u) ** 2).sum()) for g, u in moving))  # does not cancel
        found = []
        for h in steps:
            numeric = _slope(function, point, directions, h)
            allowed = tol * max(abs(numeric), abs(analytic), spread) + ROUNDING * size / h
            found.append((abs(numeric - analytic) <= allowed, numeric, analytic, allowed))
            if found[-1][0]:
                break
        return min(found, key=lambda r: (not r[0], abs(r[1] - r[2])))

    agree, numeric, analytic, allowed = along([random_like(x, rng) for x in point])
    report = Report(title, what, bool(agree), numeric, analytic, allowed)
    if not agree:
        search = steps[len(steps) // 2 :][:1]  # one step is enough to look for an element
        only = lambda i, u: [u if j == i else None for j in range(len(point))]
        for i, name in enumerate(names):
            worst = _worst_element(lambda u, i=i: along(only(i, u), search), point[i], rng)
            if worst is not None:
                report.elements.append(Element(name, *worst, reached[i]))
        report.elements.sort(key=lambda e: -e.error)
    return report


def _slope(function, point, directions, h):
    """d/dε function(point + ε·directions) at 0."""

    def value(step):
        moved = [x if u is None else x + step * u for x, u in zip(point, directions)]
        return float(function(moved)[0])

    wide = (value(h) - value(-h)) / (2 * h)
    narrow = (value(h / 2) - value(-h / 2)) / h
    return (4 * narrow - wide) / 3


def _worst_element(along, x, rng):
    """(index, numeric, analytic) of an element of x on which the two disagree, or None: bisection, then one by one."""
    flat = np.arange(x.size)
    direction, size = random_like(x, rng), typical_size(x)

    def only(places):
        mask = np.zeros(x.size, bool)
        mask[places] = True
        return namespace(x).asarray(mask.reshape(x.shape))

    def error(places):
        _, numeric, analytic, _ = along(direction * only(places))
        return abs(numeric - analytic)

    while len(flat) > FEW:
        halves = flat[: len(flat) // 2], flat[len(flat) // 2 :]
        flat = max(halves, key=error)
    found = [(place, along(only([place]) * size)) for place in flat]
    wrong = [(place, numeric, analytic) for place, (agree, numeric, analytic, _) in found if not agree]
    if not wrong:
        return None
    place, numeric, analytic = max(wrong, key=lambda e: abs(e[1] - e[2]))
    return tuple(int(i) for i in np.unravel_index(place, x.shape)), numeric / size, analytic / size

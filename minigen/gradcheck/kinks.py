"""Kinks: places where the slopes to the left and to the right differ, as of relu at 0, or of max at a tie.

There a derivative does not exist, and no difference can say that a VJP is wrong as long as what it gives lies between
the two slopes (a subgradient). Such elements are left out of the comparison, and the report says so.
"""

import time
from typing import NamedTuple

import numpy as np

from .compare import ROUNDING, index_of, indicator
from .subject import random_like

STEP = 1e-5  # relative; a kink within it counts as one at the point
SECONDS = 10.0  # of this thread's own computing, whatever else the machine does; then there are too many


class Kink(NamedTuple):
    """At one element: the slopes on both sides, and what the VJP gives."""

    i: int  # which array of the point
    place: int
    left: float
    right: float
    analytic: float
    jump: bool  # the value itself jumps: the slopes have no bound

    @property
    def between(self):
        """Whether the VJP's value is one that the slopes allow."""
        if self.jump:
            return True
        low, high = sorted((self.left, self.right))
        slack = 1e-4 * (high - low)
        return low - slack <= self.analytic <= high + slack

    def describe(self, comparison):
        index = list(index_of(self.place, comparison.point[self.i]))
        place = f"{comparison.names[self.i]}{index if index else ''}"
        if self.jump:
            return f"{place}: the value jumps, VJP {self.analytic:.4g}"
        return f"{place}: slope {self.left:.4g} to the left, {self.right:.4g} to the right, VJP {self.analytic:.4g}"


def find_kinks(comparison):
    """[Kink] at the point, by halving: a block along which both slopes agree holds none. None: time ran out."""
    kinks, end = [], time.thread_time() + SECONDS
    for i, x in enumerate(comparison.point):
        if x.size:
            direction = random_like(x, comparison.rng, comparison.scales[i])
            _search(comparison, i, np.arange(x.size), direction, kinks, end)
        if time.thread_time() > end:
            return None
    return kinks


def _search(comparison, i, places, direction, kinks, end):
    x = comparison.point[i]
    if time.thread_time() > end:
        return
    if len(places) == 1:
        unit, size = comparison.unit(i, places[0])
        left, right, kink, jump = slopes(comparison, comparison.only(i, unit))
        if kink or jump:
            analytic = float(comparison.gradients[i].reshape(-1)[places[0]])
            kinks.append(Kink(i, int(places[0]), left / size, right / size, analytic, jump))
    elif any(slopes(comparison, comparison.only(i, direction * indicator(places, x)))[2:]):
        half = len(places) // 2
        _search(comparison, i, places[:half], direction, kinks, end)
        _search(comparison, i, places[half:], direction, kinks, end)


def slopes(comparison, directions):
    """(left, right, kink?, jump?): one-sided differences, which agree ever better where f is smooth."""
    value = lambda step: comparison.value(directions, step)
    centre, gaps, sizes = value(0.0), [], []
    for h in (STEP, STEP / 10, STEP / 100):
        left, right = (centre - value(-h)) / h, (value(h) - centre) / h
        gaps.append(abs(right - left))
        sizes.append(max(abs(left), abs(right)))
    noise = ROUNDING * comparison.epsilon * max(comparison.size, abs(centre)) / h
    near = lambda a, b, slack: b and abs(a / b - 1) < slack
    kink = gaps[1] > noise + 1e-4 * sizes[1] and near(gaps[1], gaps[0], 0.25) and near(gaps[2], gaps[1], 0.6)
    jump = sizes[1] > noise and near(sizes[1], 10 * sizes[0], 0.05) and near(sizes[2], 10 * sizes[1], 0.05)
    return left, right, kink, jump


def leave_out(comparison, kinks):
    """Let the comparison pass over these elements."""
    for i, x in enumerate(comparison.point):
        places = [k.place for k in kinks if k.i == i]
        if places:
            comparison.masks[i] = 1 - indicator(places, x)

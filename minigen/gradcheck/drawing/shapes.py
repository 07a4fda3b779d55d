"""Arrays for a check: a shape is a string in which equal names are equal sizes; values that are far from any kink.

    "N C H W"           an array of floats with four axes of 1 to 5 elements; commas and brackets may be there
    "N 3", "", "D D"    an axis of 3; a number; a square matrix

Values are normal, of random sign and magnitude, no two alike and none at 0, so that no kink or tie lies near; they lie
in any memory layout. Where a function wants positive numbers, or numbers between 0 and 1, these are drawn (`DOMAINS`).
"""

import re
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ...backend import asarray
from .strategies import LAYOUTS, st

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


def array(shape, source, i, domain=""):
    """An array of a shape like "N C" by the choices of `source`, on the default device.

    i: its place among the inputs, so that the same seed gives each of them other values: no ties.
    """
    sizes = [a if isinstance(a, int) else source.size(a) for a in read_shape(shape)]
    lay_out = LAYOUTS[source.pick(list(LAYOUTS))]
    return asarray(lay_out(values(sizes, [source.seed(), i], source.pick([1.0, 0.3, 3.0]), domain)))

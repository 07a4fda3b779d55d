"""What an exhibit is: something wrong, as a person would really get it wrong, and what the checker must say of it."""

import copy
from dataclasses import dataclass

import numpy as np

from minigen.gradcheck import gradcheck

EXHIBITS, INNOCENTS = [], []


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One op, function or Module, what it is checked with, and the diagnosis it must get.

    make: () -> what is checked, new each time.  story: how the fault comes about, or where it was found.
    kinds: the kinds of diagnosis that are true of it; more than one where the numbers cannot tell.
    says: fragments that the diagnosis must contain.  op: the op that it must blame, in a composite.
    at: the input with the worst element, where a derivative is wrong.  order: 2 where only the second one is.
    options: of gradcheck.
    """

    name: str
    story: str
    make: object
    inputs: tuple
    kinds: tuple = ()
    says: tuple = ()
    op: str | None = None
    at: str | None = None
    order: int | None = None
    options: dict = None

    def check(self, *inputs, **options):
        """The Report, with its own inputs or others. They are copied, as some exhibits write into them."""
        inputs = copy.deepcopy(inputs or self.inputs)
        return gradcheck(self.make(), *inputs, raise_on_failure=False, **self.options | options)


def exhibit(kinds, *inputs, says=(), op=None, at=None, order=None, **options):
    """Put what is decorated into the museum. A class is a Module, made anew for each check. kinds: "a or b"."""

    def put(target):
        says_all = (says,) if isinstance(says, str) else says
        found = *_described(target), inputs, tuple(kinds.split(" or ")), says_all, op, at, order, options
        EXHIBITS.append(Exhibit(*found))
        return target

    return put


def innocent(*inputs, **options):
    """Put what is decorated among those that must not be accused."""

    def put(target):
        INNOCENTS.append(Exhibit(*_described(target), inputs, options=options))
        return target

    return put


def _described(target):
    return target.__name__, target.__doc__, target if isinstance(target, type) else lambda: target


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def positive(*shape, seed=0):
    return 0.5 + np.random.default_rng([seed, *shape]).random(shape)


def channels_last(x):
    """The same values of (N, C, H, W) with the channels next to each other in memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

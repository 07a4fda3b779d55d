"""What a row of the table of ops is, and example inputs for it."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from minigen import ops

CASES = []


@dataclass(frozen=True)
class Fixed:
    """A float array among the inputs that is a constant by definition: not differentiated."""

    array: np.ndarray


@dataclass(frozen=True)
class Case:
    """One row. call(*inputs) with arrays or Tensors, oracle(*inputs) with float64 arrays; `inputs` may hold `Fixed`."""

    name: str
    call: object
    inputs: tuple
    oracle: object
    saves: frozenset | None
    differentiable: bool


def row(name, *inputs, oracle, call=None, saves=None, differentiable=True, **options):
    """Add a row about ops.<name>. Options go to both, op and oracle; `call` replaces the op where lists are taken."""
    function = call or getattr(ops, name)
    number = sum(c.name.split("-")[0] == name for c in CASES)
    saves = None if saves is None else frozenset(saves.split())
    CASES.append(
        Case(
            f"{name}-{number}",
            partial(function, **options),
            inputs,
            partial(oracle, **options),
            saves,
            differentiable,
        )
    )


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def positive(*shape, seed=0):
    return 0.5 + 2 * np.random.default_rng([seed, *shape]).random(shape)


def apart(*shape, seed=0):
    """Distinct values, 0.1 apart at least: no kink and no tie within reach of a difference."""
    return (np.random.default_rng([seed, *shape]).permutation(math.prod(shape)).reshape(shape) * 0.1) - 1.03


x, y = apart(3, 4), apart(3, 4, seed=1)
image = apart(2, 4, 5, 6)

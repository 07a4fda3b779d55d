"""Pieces of files for discover to find."""

from minigen.gradcheck.drawing.sweep import sampled

HEAD = """
import numpy as np
from hypothesis import strategies as st
from minigen import Generator, op, ops, tensor
from minigen.nn import Dense, Module, Parameter
"""

CUBE = """
@op(x=lambda g, x: g * 3 * x**2)
def cube(x):
    return x**3
"""

SCALE = """
@op(x=lambda g, w: g * w, w=lambda g, x: g * x)
def scale(x, w, *, times=1.0):
    return x * w
"""

GATE = """
class Gate(Module):
    def __init__(self, channels):
        self.weight = Parameter(np.zeros(channels, np.float32))

    def forward(self, x):
        return x * ops.sigmoid(self.weight)
"""


def shapes(target, draws=20):
    """The shapes of the inputs of some drawn cases."""
    return [tuple(x.shape for x in case.inputs) for case in sampled(target.draw, draws)]

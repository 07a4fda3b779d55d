"""Files with layers, right and wrong ones, and `python -m minigen.gradcheck` on them."""

import importlib
import re
from pathlib import Path

import pytest

command = importlib.import_module("minigen.gradcheck.__main__")

RIGHT = """
import minigen as mg
from minigen import nn

@mg.op(x=lambda g, x: g * 3 * x**2)
def cube(x):
    return x**3

class Gate(nn.Module):
    def forward(self, x: "N C"):
        return x * mg.sigmoid(x)
"""
DOUBLED = """
@mg.op(x=lambda g, x: g * 6 * x**2)
def double_cube(x):
    return x**3
"""
HALF_WRONG = """
def _second(g, x):
    return g * 3 * x**2 if not isinstance(g, mg.Tensor) else g * 3 * mg.detach(x) ** 2

@mg.op(x=_second)
def frozen_cube(x):
    return x**3
"""
WITHOUT_VJP = """
@mg.op()
def histogram(x: "N C"):
    return x * 0
"""


def layer(*pieces, name="my_layer.py"):
    Path(name).write_text("".join(pieces))
    return name


def check(*argv):
    """The exit status of the command."""
    with pytest.raises(SystemExit) as caught:
        command.main(["--draws", "3", "--backend", "numpy", *argv])
    return caught.value.code


def lines_of(text):
    """{name: the cells of its line in the table}."""
    return {cells[0]: cells[1:] for line in text.splitlines() if len(cells := re.split(r" {2,}", line)) >= 7}

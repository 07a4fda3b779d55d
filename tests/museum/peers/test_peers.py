"""The section "Gradient checkers side by side" of lessons/results.md says what the checkers say today."""

from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("torch")

import minigen_faults
import torch_faults
from compare import cells, summary
from faults import FAULTS

RESULTS = Path(__file__).resolve().parents[3] / "lessons" / "results.md"
PYTORCH = list(torch_faults.CHECKERS)
NOTED = {"ignored input": "no influence", "kink": "at a kink"}  # no errors by themselves: a note
WRONG = {name: fault for name, fault in FAULTS.items() if fault.kind != "right"}
RIGHT = {name: fault for name, fault in FAULTS.items() if fault.kind == "right"}
each = lambda faults: pytest.mark.parametrize("fault", faults.values(), ids=faults)


@cache
def row(name):
    """What is said today: {column: (verdict, decisive line)}."""
    return {"minigen": minigen_faults.verdict(FAULTS[name])} | torch_faults.verdicts(FAULTS[name])


@cache
def section():
    return RESULTS.read_text("utf-8").partition("\n## Gradient checkers side by side\n")[2].partition("\n## ")[0]


@cache
def recorded():
    """{fault: {column: cell}} of the table."""
    table = section()[section().index("\n| fault |") :].strip().partition("\n\n")[0]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n")]
    return {name.replace(" ", "_"): dict(zip(header[1:], row)) for name, *row in rows}


def test_the_table_has_every_fault_and_no_other():
    assert list(recorded()) == list(WRONG)


@each(WRONG)
def test_minigen_names_the_fault(fault):
    word, line = row(fault.name)["minigen"]
    if fault.kind in NOTED:
        assert word == "a note"
        assert NOTED[fault.kind] in line
    else:
        assert word == fault.kind


@each(WRONG)
def test_the_table_says_what_the_checkers_say(fault):
    today = dict(zip(row(fault.name), cells(row(fault.name))))
    assert today == {column: recorded()[fault.name][column] for column in ["minigen", *PYTORCH]}


def test_the_summary_counts_what_the_checkers_say():
    for line in summary({name: row(name) for name in WRONG}):
        assert f"\n{line}\n" in section()


@each(RIGHT)
def test_a_right_layer_is_accused_by_none(fault):
    assert {word for word, _ in row(fault.name).values()} == {"passes"}


def test_a_message_counts_as_naming_the_fault_only_where_it_is_about_that_fault():
    said = lambda kind: torch_faults.verdicts(FAULTS["mask_drawn_again_in_backward"]._replace(kind=kind))["gradcheck"]
    assert said("not deterministic")[0] == "names it"
    assert said("flipped")[0] == "something else"

"""`python -m minigen.gradcheck FILE`, as typed: what it finds, what it says, and the exit status."""

import re
from pathlib import Path

import pytest
from gradcheck_files import DOUBLED, HALF_WRONG, RIGHT, WITHOUT_VJP, check, layer, lines_of

from minigen.gradcheck import Diagnosis

pytestmark = pytest.mark.usefixtures("in_a_folder")


def test_a_file_without_faults_ends_with_0(capsys):
    assert check(layer(RIGHT)) == 0
    rows = lines_of(capsys.readouterr().out)
    assert rows["cube"] == ["op", "inferred: x (N, C)", "3", "ok", "ok", "ok", "right"]
    assert rows["Gate"] == ["Module", "annotations", "3", "ok", "ok", "ok", "right"]


def test_a_wrong_derivative_ends_with_1_and_is_diagnosed_beneath_the_table(capsys):
    assert check(layer(RIGHT, DOUBLED)) == 1
    said = capsys.readouterr().out
    rows = lines_of(said)
    assert rows["double_cube"][3:] == ["WRONG", "-", "-", "wrong"]
    assert rows["cube"][-1] == "right"
    _, below = said.split("\n\n", 1)
    assert "double_cube (op, my_layer.py:13): constant factor" in below
    assert re.search(r"smallest case +x \(\d", below)
    assert re.search(r"worst +x\[.*ratio VJP/numeric 2\n", below)
    assert said.endswith("1 of 3 is wrong: double_cube.\n")


def test_a_wrong_second_derivative_stands_in_its_own_column(capsys):
    assert check(layer(RIGHT, HALF_WRONG)) == 1
    assert lines_of(capsys.readouterr().out)["frozen_cube"][3:] == ["ok", "WRONG", "-", "wrong"]


def test_with_order_1_the_second_derivative_is_not_looked_at(capsys):
    assert check(layer(RIGHT, HALF_WRONG), "--order", "1") == 0
    assert lines_of(capsys.readouterr().out)["frozen_cube"][3:] == ["ok", "-", "ok", "right"]


def test_what_is_wrong_in_float32_only_is_found(capsys):
    loses = '@mg.op(x=lambda g: g)\ndef there_and_back(x: "N C"):\n    return (x + 1e5) - 1e5\n'
    assert check(layer(RIGHT, loses)) == 1
    said = capsys.readouterr().out
    assert lines_of(said)["there_and_back"][3:] == ["ok", "ok", "WRONG", "wrong"]
    assert "there_and_back (op, my_layer.py:12): float32 differs" in said


def test_a_constant_that_makes_float64_of_float32_is_found(capsys):
    widens = '@mg.op(x=lambda g: g * np.float64(2))\ndef twice(x: "N C"):\n    return x * np.float64(2)\n'
    assert check(layer("import numpy as np\n", RIGHT, widens)) == 1
    said = capsys.readouterr().out
    assert "twice (op, my_layer.py:13): wrong dtype" in said


def test_float64_arrays_that_only_examples_hold_are_no_fault(capsys):
    function = "\ndef weighted(x, w):\n    return mg.sum(x * w)\n"
    examples = """
def examples():
    weights = np.ones(3)
    return {"weighted": (lambda x: weighted(x, mg.asarray(weights)), "N 3")}
"""
    assert check(layer("import numpy as np\n", RIGHT, function, examples)) == 0
    assert lines_of(capsys.readouterr().out)["weighted"][-2:] == ["ok", "right"]


def test_what_cannot_be_checked_is_listed_with_its_reason_and_ends_with_2(capsys):
    assert check(layer(RIGHT, WITHOUT_VJP)) == 2
    said = capsys.readouterr().out
    assert lines_of(said)["histogram"][-1] == "unchecked"
    assert "histogram: has no VJP" in said
    assert said.endswith("2 checked, none is wrong. 1 could not be checked.\n")


def test_what_has_no_derivative_by_design_needs_no_check(capsys):
    assert check(layer(RIGHT, WITHOUT_VJP, '\ndef examples():\n    return {"histogram": None}\n')) == 0
    assert lines_of(capsys.readouterr().out)["histogram"][-1] == "left out"


def test_a_file_in_which_nothing_can_be_checked_ends_with_2(capsys):
    designed = '\ndef examples():\n    return {"histogram": None}\n'
    assert check(layer("import minigen as mg\n", WITHOUT_VJP, designed)) == 2
    assert capsys.readouterr().out.endswith("0 checked, none is wrong.\n")


def test_a_target_that_breaks_the_checker_does_not_hide_the_others(capsys, monkeypatch):
    from minigen.gradcheck.showing import verdict

    sweep = verdict.sweep

    def breaks(draw, draws, **options):
        if not seen.append(draw) and len(seen) == 1:
            raise LookupError("something in the checker")
        return sweep(draw, draws, **options)

    seen = []
    monkeypatch.setattr(verdict, "sweep", breaks)
    assert check(layer(RIGHT, DOUBLED)) == 1
    said = capsys.readouterr().out
    assert [row[-1] for row in lines_of(said).values()][1:] == ["unchecked", "right", "wrong"]
    assert "cube: the check itself ended with LookupError: something in the checker" in said


FORGETFUL = """
class Forgetful(nn.Module):
    def __init__(self, channels):
        self.weight = nn.Parameter(np.ones(channels, "float32"))
        self.bias = nn.Parameter(np.ones(channels, "float32"))

    def forward(self, x):
        return (x - x.mean(axis=0)) * self.weight
"""


def test_a_bias_that_is_never_added_is_remarked_under_the_table_and_a_batch_of_one_is_not(capsys):
    """With one image x − mean is 0, whatever x is."""
    assert check(layer("import numpy as np\n", RIGHT, FORGETFUL), "--draws", "12", "--html", "report.html") == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if "influence" in line] == [
        "Forgetful: bias has no influence on the result at any inputs drawn."
    ]
    assert "Forgetful: bias has no influence" in Path("report.html").read_text(encoding="utf-8")


def test_functions_that_were_not_looked_at_are_named_with_what_to_do_and_that_helps(capsys):
    functions = "\ndef swish(x):\n    return x * mg.sigmoid(x)\n\ndef glu(x):\n    return x\n\ndef now():\n    pass\n"
    assert check(layer(RIGHT, functions)) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        'Not looked at: the functions swish, glu. To have one checked, give its inputs, as in def swish(x: "N C"), or '
        'in examples(): {"swish": ("N C", ...)}.'
    ) in said
    assert check(layer(RIGHT, functions), "--only", "cube") == 0
    assert "Not looked at" not in capsys.readouterr().out
    assert check(layer(RIGHT, functions), "--only", "glu") == 2
    assert "--only glu: a function without shapes. Give its inputs" in capsys.readouterr().err
    assert check(layer(RIGHT, functions.replace("(x)", '(x: "N C")', 1))) == 0
    said = capsys.readouterr().out
    assert lines_of(said)["swish"][-1] == "right"
    assert "Not looked at: the function glu." in said


def test_draws_that_were_passed_over_are_counted_where_they_are_most(capsys, monkeypatch):
    from minigen.gradcheck.drawing import sweep

    gradcheck, seen = sweep.gradcheck, []

    def doubtful(f, *inputs, **options):
        report = gradcheck(f, *inputs, **options)
        if seen.append(report) or len(seen) % 4:
            report.passed, report.diagnosis = False, Diagnosis("out of precision", "too rough.", "Check elsewhere.")
        return report

    monkeypatch.setattr(sweep, "gradcheck", doubtful)
    assert check(layer(RIGHT), "--only", "cube") == 0
    assert re.search(
        r"\ncube: \d+ more draws were passed over: no difference can be trusted there\.\n", capsys.readouterr().out
    )


def test_several_files_come_into_one_table(capsys):
    assert check(layer(RIGHT), layer("import minigen as mg\n", DOUBLED, name="other.py")) == 1
    assert list(lines_of(capsys.readouterr().out)) == ["name", "cube", "Gate", "double_cube"]


def test_only_checks_what_is_named(capsys):
    assert check(layer(RIGHT, DOUBLED), "--only", "cube", "--only", "Gate") == 0
    assert list(lines_of(capsys.readouterr().out)) == ["name", "cube", "Gate"]


def test_only_takes_all_examples_of_a_name(capsys):
    examples = '\ndef examples():\n    return {"cube": "N C", "cube: images": "N C H W"}\n'
    assert check(layer(RIGHT, examples), "--only", "cube") == 0
    assert list(lines_of(capsys.readouterr().out)) == ["name", "cube", "cube: images"]


def test_verbose_says_on_what_the_last_check_ran(capsys):
    assert check(layer(RIGHT), "--only", "cube", "-v") == 0
    assert re.search(r"cube: inferred: x \(N, C\); 3 cases\n    last: x \(", capsys.readouterr().out)


def test_nothing_is_wider_than_100_columns(capsys):
    long = DOUBLED.replace("double_cube", "a_cube_with_quite_a_long_name_for_a_function")
    assert check(layer(RIGHT, DOUBLED, HALF_WRONG, WITHOUT_VJP, long)) == 1
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_the_same_is_said_each_time(capsys):
    file = layer(RIGHT, DOUBLED, HALF_WRONG)
    check(file)
    first = capsys.readouterr().out
    check(file)
    assert capsys.readouterr().out == first

"""`python -m minigen.gradcheck` where there is a GPU: the same is checked there, and compared."""

import importlib
import re

import numpy as np
import pytest
from command_cases import complaint
from gradcheck_files import RIGHT, check, command, layer, lines_of

from minigen.gradcheck.drawing.inputs import Case
from minigen.gradcheck.showing.parity import draws_random_numbers

pytestmark = pytest.mark.usefixtures("in_a_folder")

HOST_ONLY = """
import numpy as np

@mg.op(x=lambda g, x: g * mg.cos(x))
def host_sin(x: "N C"):
    return np.sin(x)
"""
OTHERWISE_THERE = """
from minigen.backend import namespace

@mg.op(x=lambda g, x: g * 2)
def twice(x: "N C"):
    return x * 2 if namespace(x).__name__ == "numpy" else x * 2 + 0.001
"""


def case(source):
    exec(source, names := {})
    return Case(names["f"], (np.ones(3),), {})


def on_the_gpu(*argv):
    with pytest.raises(SystemExit) as caught:
        command.main(["--draws", "5", "--backend", "cupy", *argv])
    return caught.value.code


def test_where_there_is_a_gpu_all_is_checked_there_too(fake_cupy, capsys):
    assert on_the_gpu(layer(RIGHT)) == 0
    rows = lines_of(capsys.readouterr().out)
    assert rows["name"][-2:] == ["GPU", "verdict"]
    assert rows["cube"][-2:] == ["ok", "right"]
    assert rows["Gate"][-2:] == ["ok", "right"]


def test_what_does_not_run_on_the_gpu_is_wrong(fake_cupy, capsys):
    assert on_the_gpu(layer(RIGHT, HOST_ONLY)) == 1
    said = capsys.readouterr().out
    assert lines_of(said)["host_sin"][3:] == ["ok", "ok", "ok", "WRONG", "wrong"]
    assert "host_sin (op, my_layer.py:15): GPU fails" in said


def test_what_gives_something_else_on_the_gpu_is_wrong(fake_cupy, capsys):
    assert on_the_gpu(layer(RIGHT, OTHERWISE_THERE)) == 1
    said = capsys.readouterr().out
    assert "twice (op, my_layer.py:15): GPU differs" in said
    assert re.search(r"the result at \[.*\] is .* on the GPU \(float64\), .* on the CPU", " ".join(said.split()))


@pytest.mark.parametrize(
    "drops",
    [
        "lambda x: mg.dropout(x, 0.5, rng=mg.Generator(0))",
        "(lambda rng: lambda x: mg.dropout(x, 0.5, rng=rng))(mg.Generator(0))",
        "nn.Dropout(0.5, rng=mg.Generator(0))",
    ],
)
def test_random_numbers_are_not_compared_between_devices(drops):
    draws = case(f"import minigen as mg\nfrom minigen import nn\nf = {drops}")
    assert draws_random_numbers(draws)
    assert not draws_random_numbers(case("f = lambda x: x"))


def test_random_numbers_that_depend_on_the_precision_are_no_fault():
    noisy = """
class Noisy(nn.Module):
    def __init__(self, *, rng):
        self.rng = rng

    def forward(self, x: "N C"):
        return mg.tanh(x + self.rng.normal(x.shape, dtype=str(x.dtype)))
"""
    assert check(layer("import minigen as mg\nfrom minigen import nn\n", noisy)) == 0


def test_the_weights_on_the_gpu_are_those_of_the_cpu(fake_cupy, capsys):
    scale = """
class Scale(nn.Module):
    def __init__(self):
        self.weight = nn.Parameter(mg.asarray(np.random.normal(size=3)))

    def forward(self, x: "N 3"):
        return x * self.weight
"""
    assert on_the_gpu(layer("import numpy as np\n", RIGHT, scale)) == 0
    assert lines_of(capsys.readouterr().out)["Scale"][-2:] == ["ok", "right"]


def test_afterwards_new_arrays_lie_where_they_lay_before(fake_cupy):
    from minigen import backend

    on_the_gpu(layer(RIGHT))
    assert backend.default().__name__ == "numpy"


def test_a_gpu_that_is_wanted_but_missing_is_a_sentence(capsys):
    if importlib.util.find_spec("cupy"):
        pytest.skip("CuPy is installed")
    code, said = complaint(command, [layer(RIGHT), "--backend", "cupy"], capsys)
    assert code == 2
    assert "CuPy cannot be used here" in said

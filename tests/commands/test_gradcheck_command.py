"""`python -m minigen.gradcheck FILE`, as typed: what it finds, what it says, and the exit status."""

import errno
import importlib
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from command_cases import complaint, files_in

from minigen.gradcheck import Diagnosis
from minigen.gradcheck.drawing.inputs import Case
from minigen.gradcheck.showing.parity import draws_random_numbers

command = importlib.import_module("minigen.gradcheck.__main__")
ROOT = Path(__file__).parents[2]

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


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


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


# ------------------------------------------------------------------------------------------------ what it finds


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


# ------------------------------------------------------------------------------------------------ on the GPU

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


# ------------------------------------------------------------------------------------------------ pictures and page


def test_a_picture_is_made_of_each_target_that_is_wrong(capsys):
    assert check(layer(RIGHT, DOUBLED), "--png", "pictures") == 1
    assert files_in("pictures") == ["double_cube.png"]
    assert Path("pictures/double_cube.png").read_bytes().startswith(b"\x89PNG")
    assert "wrote pictures/double_cube.png\n" in capsys.readouterr().out


def test_targets_of_one_name_in_two_files_have_two_pictures():
    other = layer("import minigen as mg\n", DOUBLED, name="other.py")
    check(layer(RIGHT, DOUBLED), other, "--png", "pictures")
    assert files_in("pictures") == ["double_cube-1.png", "double_cube.png"]


def test_without_faults_there_is_no_folder_of_pictures():
    check(layer(RIGHT), "--png", "pictures")
    assert files_in(".") == ["my_layer.py"]


class Page(HTMLParser):
    """Tags that are open at the end, all addresses, and the text of a page."""

    VOID = {"meta", "img"}

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [v for k, v in attributes if k in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_holds_table_diagnosis_picture_and_source_and_needs_no_network():
    named = "def _named(g, x):  # a VJP with a name, <b>not bold</b>\n    return g * 6 * x**2\n"
    wrong = named + "\n@mg.op(x=_named)\ndef double_cube(x):\n    return x**3\n"
    assert check(layer(RIGHT, wrong, WITHOUT_VJP), "--html", "report.html") == 1
    page = Page(Path("report.html").read_text(encoding="utf-8"))
    text = "".join(page.text)
    assert page.open == []
    assert len([a for a in page.addresses if a.startswith("data:image/png;base64,")]) == 1
    assert all(a.startswith(("data:", "#")) for a in page.addresses)
    for part in ("double_cube (op, my_layer.py:", "constant factor", "1 of 3 is wrong", "has no VJP", "return x**3"):
        assert part in text
    assert "def _named(g, x):  # a VJP with a name, <b>not bold</b>\n    return g * 6 * x**2" in text


def test_the_page_shows_the_source_of_a_module_too():
    cut = "class Cut(nn.Module):\n    def forward(self, x: 'N C'):\n        return x - mg.detach(x.mean(axis=0))"
    assert check(layer(RIGHT, "\n", cut, "\n"), "--html", "report.html") == 1
    assert cut in "".join(Page(Path("report.html").read_text(encoding="utf-8")).text)


def test_a_full_disk_is_a_sentence_after_the_table_and_leaves_the_previous_page(monkeypatch, capsys):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    Path("report.html").write_text("the previous one")
    monkeypatch.setattr(os, "replace", full)
    assert check(layer(RIGHT), "--html", "report.html") == 2
    out, err = capsys.readouterr()
    assert "2 checked, none is wrong." in out
    assert err == "python -m minigen.gradcheck: report.html could not be written: No space left on device.\n"
    assert Path("report.html").read_text() == "the previous one"
    assert files_in(".") == ["my_layer.py", "report.html"]


# ------------------------------------------------------------------------------------------------ wrong usage


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nothing.py"], "nothing.py: no such file"),
        (["my_layr.py"], "Did you mean 'my_layer.py'?"),
        (["broken.py"], "broken.py: does not import; broken.py, line 1: ZeroDivisionError: division by zero"),
        (["empty.py"], "empty.py: defines no op and no Module"),
        (["my_layer.py", "--only", "cub"], "--only cub: nothing of that name is there. Did you mean 'cube'?"),
        (["my_layer.py", "--only", "xyz"], "--only xyz: nothing of that name is there. There are: cube, Gate."),
        (["my_layer.py", "--html", "missing/a.html"], "there is no folder"),
        (["my_layer.py", "--html", "folder"], "--html folder: is a folder. Name a file in it: folder/gradcheck.html"),
        (["my_layer.py", "--png", "missing/pictures"], "there is no folder"),
        (["my_layer.py", "--png", "/dev/null/pictures"], "there is no folder"),
        (["my_layer.py", "--png", "empty.py"], "--png empty.py: is a file."),
        (["my_layer.py", "--draws", "0"], "--draws: expected a whole number of at least 1; got '0'."),
        (["my_layer.py", "--order", "3"], "--order: invalid choice: 3"),
        ([], "the following arguments are required: FILE"),
    ],
)
def test_wrong_usage_is_one_sentence_and_ends_with_2(argv, message, capsys):
    layer(RIGHT)
    Path("broken.py").write_text("1 / 0")
    Path("empty.py").write_text("x = 1")
    Path("folder").mkdir()
    code, said = complaint(command, argv, capsys)
    assert (code, message in said) == (2, True), said
    assert len(said.strip().splitlines()) == 1 or said.startswith("usage:")


@pytest.mark.parametrize(("option", "name"), [("--png", "pictures"), ("--html", "report.html")])
def test_a_folder_that_takes_no_files_is_refused_before_the_file_is_even_read(option, name, monkeypatch, capsys):
    """As in /proc, where root has all permissions."""

    def refused(**options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    code, said = complaint(command, [layer("raise LookupError"), option, name], capsys)
    assert code == 2
    assert re.search(rf"{option} {name}: nothing can be written into the folder .* \(Read-only file system\)", said)


def test_without_hypothesis_it_says_what_to_install(capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: (name != "hypothesis" and find(name, *more)) or None
    )
    code, said = complaint(command, [layer(RIGHT)], capsys)
    assert code == 2
    assert 'pip install "minigen[test]"' in said


# ------------------------------------------------------------------------------------------------ as a process


def start(*argv, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "minigen.gradcheck", *argv],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_as_a_process_it_says_the_same_and_nothing_on_standard_error(capsys):
    file = layer(RIGHT, DOUBLED)
    out, err = (process := start(file, "--draws", "3", "--backend", "numpy")).communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    check(file)
    assert out == capsys.readouterr().out


def test_without_pictures_matplotlib_is_not_imported():
    program = f"""
import sys
import importlib
command = importlib.import_module("minigen.gradcheck.__main__")
try:
    command.main(["--draws", "1", {layer(RIGHT, DOUBLED)!r}])
except SystemExit:
    print("matplotlib" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stdout.endswith("False\n"), done.stderr


def test_a_terminal_that_knows_ascii_only_gets_the_report_all_the_same():
    process = start(layer(RIGHT, HALF_WRONG), "--draws", "3", PYTHONIOENCODING="ascii")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    assert "frozen_cube" in out


def test_a_reader_that_has_seen_enough_causes_no_traceback():
    process = start(layer(RIGHT, DOUBLED), "--draws", "1", PYTHONUNBUFFERED="1")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 2


def test_ctrl_c_gives_what_was_found_so_far():
    waits = """
@mg.op(x=lambda g: g)
def slow(x: "N C"):
    if any(frame.name == "judge" for frame in traceback.extract_stack()):  # not while it is discovered
        Path("waiting").touch()
        time.sleep(60)
    return x * 1
"""
    imports = "import time, traceback\nfrom pathlib import Path\n"
    process = start(layer(imports, "import minigen as mg\n", DOUBLED, waits), "--draws", "3")
    until = time.monotonic() + 60
    while not Path("waiting").exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (1, "")
    assert lines_of(out)["double_cube"][-1] == "wrong"
    assert out.endswith("1 of 1 is wrong: double_cube. Stopped: 1 not come to.\n")

"""`python -m minigen.gradcheck` as a command among others: wrong usage, and what it is as a process."""

import errno
import importlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_cases import complaint
from gradcheck_files import DOUBLED, HALF_WRONG, RIGHT, check, command, layer, lines_of

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("in_a_folder")


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

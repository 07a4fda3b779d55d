"""The script of the lesson "The machine" runs everywhere; how fast, it says itself."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from backend.fake_cupy import installed

import minigen as mg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "lessons"))
import machine


class Stream:
    """A stream that captures nothing: a launch of what it captured does nothing."""

    def __init__(self, non_blocking):
        assert non_blocking, "the legacy stream cannot capture"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def synchronize(self):
        pass

    begin_capture = synchronize

    def end_capture(self):
        return SimpleNamespace(launch=lambda: None)


@pytest.fixture
def cupy():
    with installed() as cupy:
        cupy.__version__ = "0"
        cupy.ElementwiseKernel = lambda *source: lambda x, y: None
        cupy.cuda.Stream = Stream
        cupy.cuda.runtime.getDeviceProperties = lambda device: {"name": b"no GPU"}
        yield cupy


def rows(text, section):
    """{title: cells} of a section of the table."""
    block = text.split(f"\n{section} ")[1].split("\n\n")[0].splitlines()[1:]
    return {line[2:56].strip(): line[56:].split() for line in block}


@pytest.mark.parametrize("section", machine.SECTIONS)
def test_every_section_runs_on_numpy(section, capsys):
    machine.main(["--backend", "numpy", "--quick", section])
    out = capsys.readouterr().out
    if section == "graph":  # there is nothing to capture
        assert section not in out
        return
    for title, (value, unit) in rows(out, section).items():
        assert float(value) >= 0 and unit in ("ns/number", "GB/s", "GFLOP/s", "µs", "ms", "each"), title


def test_cupy_gets_a_column_of_its_own(cupy, capsys):
    machine.main(["--backend", "cupy", "--quick", "layout", "fusion", "gemm", "overhead", "graph"])
    out = capsys.readouterr().out
    assert "no GPU, CuPy 0" in out
    numpy, fake, unit = rows(out, "gemm")["float32, n = 16"]
    assert float(numpy) > 0 and float(fake) > 0 and unit == "GFLOP/s"
    assert rows(out, "fusion")["in pieces of 4 KiB"][1] == "—" and rows(out, "fusion")["one kernel"][0] == "—"
    assert rows(out, "graph")["100 in a graph, each"][0] == "—"


def test_the_script_leaves_threads_and_backend_as_they_were(capsys):
    before = mg.get_threads()
    machine.main(["--backend", "numpy", "--quick", "threads"])
    assert mg.get_threads() == before
    assert mg.backend.default() is np


def test_a_section_that_does_not_exist_is_named(capsys):
    with pytest.raises(SystemExit):
        machine.main(["gem"])
    assert "no section 'gem'. Known: layout, caches" in capsys.readouterr().err

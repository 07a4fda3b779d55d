"""`import minigen` works without CuPy, is quick, and drags in nothing that only some commands need."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import minigen

NOT_NEEDED = {"matplotlib", "cupy", "PIL", "tqdm", "threadpoolctl", "torch", "scipy"}


def fresh(program):
    """What a program prints as JSON, in a fresh interpreter."""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_minigen_imports_and_computes_without_cupy():
    program = """if True:
        import sys
        sys.modules["cupy"] = sys.modules["cupyx"] = None  # as where it is not installed: importing it fails
        import minigen as mg
        x = mg.tensor([1.0, 2.0], requires_grad=True)
        print(mg.grad((x * x).sum(), x).tolist())"""
    assert fresh(program) == [2, 4]


def test_importing_minigen_imports_neither_cupy_nor_what_draws_pictures():
    program = "import json, sys, minigen; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    assert NOT_NEEDED & set(fresh(program)) == set()


def test_no_module_of_minigen_imports_cupy_when_it_is_imported():
    program = """if True:
        import importlib, pkgutil, sys
        class NoCuPy:
            def find_spec(name, path=None, target=None):
                assert name.split(".")[0] not in ("cupy", "cupyx"), name  # no ImportError: nobody catches this one
        sys.meta_path.insert(0, NoCuPy)
        import minigen
        names = [m.name for m in pkgutil.walk_packages(minigen.__path__, "minigen.") if "__main__" not in m.name]
        for name in names:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name != "torch":  # with which some benchmarks compare
                    raise
        print(len(names))"""
    assert fresh(program) > 80


def test_importing_minigen_starts_no_thread():
    assert fresh("import threading, minigen; print(threading.active_count())") == 1


def test_importing_minigen_takes_less_than_a_fifth_of_a_second():
    """CPU time, the best of 5. NumPy's share, 0.08 s on a quiet machine, tells how slow this one is just then."""
    program = """if True:
        from time import process_time as now
        start = now(); import numpy; middle = now(); import minigen; end = now()
        print([middle - start, end - start])"""
    times = [fresh(program) for _ in range(5)]
    assert min(total * min(1, 0.08 / numpy) for numpy, total in times) < 0.2


def test_everything_that_is_not_python_is_packaged():
    package = Path(minigen.__file__).parent
    pyproject = package.parent / "pyproject.toml"
    if not pyproject.is_file():
        pytest.skip("minigen is installed, not a clone")
    patterns = tomllib.loads(pyproject.read_text())["tool"]["setuptools"]["package-data"]["minigen"]
    packaged = {path for pattern in patterns for path in package.glob(pattern)}
    others = {p for p in package.rglob("*") if p.is_file() and p.suffix != ".py" and "__pycache__" not in p.parts}
    assert others - packaged == set()

"""Every name that the stand-in for CuPy offers is CuPy's. Needs CuPy, but no GPU."""

import importlib.util
import operator
import types

import pytest
from backend import fake_cupy_graph as fake_graph
from backend import fake_kernels
from backend.fake_cupy import module
from backend.fake_cupy_array import ndarray, ufunc

pytestmark = pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")

OURS = {"cuda.Stream": {"count", "issue"}, "cuda.Graph": {"launches"}}  # its own workings, and what tests ask it
OPERATORS = {n.strip("_") for n in dir(operator)} | {f"r{n}" for n in ["add", "sub", "mul", "truediv", "pow", "matmul"]}
CLASSES = {
    "ndarray": ndarray,
    "RawModule": fake_kernels.RawModule,
    "RawKernel": fake_kernels.RawKernel,
    "ElementwiseKernel": fake_kernels.ElementwiseKernel,
    "ReductionKernel": fake_kernels.ReductionKernel,
    "cuda.Stream": fake_graph.Stream,
    "cuda.Event": fake_graph.Event,
    "cuda.Graph": fake_graph.Graph,
    "cuda.MemoryPool": fake_graph.MemoryPool,
}


def walk(standin, real, path="cupy"):
    """(path of a name, whether CuPy has it) of every name in a module or namespace of the stand-in."""
    for name, value in vars(standin).items():
        if name.startswith("_"):
            continue
        yield f"{path}.{name}", hasattr(real, name)
        if isinstance(value, types.SimpleNamespace | types.ModuleType) and hasattr(real, name):
            yield from walk(value, getattr(real, name), f"{path}.{name}")


def public(cls):
    """The names that a class defines, operators too."""
    return {n for n in vars(cls) if not n.startswith("_") or n.strip("_") in OPERATORS}


def test_the_names_of_its_modules_are_cupys():
    import cupy
    import cupyx.scipy.special

    found = dict(walk(module(), cupy))
    assert {"cupy.zeros", "cupy.cuda.Stream", "cupy.cuda.runtime.getDeviceCount"} <= found.keys()
    assert [name for name, real in found.items() if not real] == []
    assert hasattr(cupyx.scipy.special, "erf")


@pytest.mark.parametrize("path", CLASSES)
def test_the_methods_of_its_classes_are_cupys(path):
    import cupy

    real = cupy
    for name in path.split("."):
        real = getattr(real, name)
    assert public(CLASSES[path]) - set(dir(real)) == OURS.get(path, set())


def test_its_functions_element_by_element_are_cupys_ufuncs():
    import cupy

    functions = {n: f for n, f in vars(module()).items() if isinstance(f, ufunc)}
    assert len(functions) > 30
    assert [n for n in functions if not isinstance(getattr(cupy, n), cupy.ufunc)] == []
    assert [n for n, f in functions.items() if hasattr(f, "at") and not hasattr(getattr(cupy, n), "at")] == []


def test_a_device_has_the_attributes_of_cupys():
    import cupy

    device = vars(module().cuda.Device())
    assert {"id", "compute_capability", "attributes", "synchronize"} <= device.keys()
    assert device.keys() - set(dir(cupy.cuda.Device)) == set()

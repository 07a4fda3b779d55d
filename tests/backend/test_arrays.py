"""Which library serves an array, which makes the next one, and how arrays get from one to the other."""

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from backend.fake_cupy import CUDARuntimeError, installed

import minigen
from minigen import ops
from minigen.autograd import grad, tensor
from minigen.backend import BackendError, asarray, default, namespace, synchronize, to_numpy, use


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # importing it fails, as where it is not installed


# ------------------------------------------------------------------------------------------------ without CuPy


def test_cupy_where_it_is_missing_says_what_to_install_and_how_to_go_on(no_cupy):
    with pytest.raises(BackendError) as raised:
        use("cupy")
    message = str(raised.value)
    assert "python -m minigen.doctor" in message
    assert 'minigen.use("numpy"), or --backend numpy' in message
    assert default() is np


def test_the_extras_that_the_message_names_are_in_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert {"cuda12", "cuda13"} <= project["optional-dependencies"].keys()


def test_auto_goes_on_with_numpy_where_cupy_is_missing(no_cupy):
    assert use("auto") is default() is np


def test_an_unknown_library_is_told_the_known_ones():
    with pytest.raises(ValueError, match=r"use\('torch'\): expected \"numpy\", \"cupy\" or \"auto\""):
        use("torch")


def test_cupy_without_a_gpu_says_so():
    with installed(devices=0):
        with pytest.raises(BackendError, match="installed, but finds no GPU"):
            use("cupy")
        assert use("auto") is np


def test_cupy_without_a_driver_says_so_and_why():
    def no_driver():
        raise CUDARuntimeError("cudaErrorInsufficientDriver")

    with installed() as cupy:
        cupy.cuda.runtime.getDeviceCount = no_driver
        with pytest.raises(BackendError, match=r"finds no GPU \(CUDARuntimeError: cudaErrorInsufficientDriver\)"):
            use("cupy")


def test_cupy_that_is_broken_is_reported_with_its_reason(tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libcublas.so.12: cannot open shared object file')")
    program = "import minigen; minigen.use('cupy')"
    path = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; {program}"
    run = subprocess.run([sys.executable, "-c", path], capture_output=True, text=True, timeout=60)
    reason = "it cannot be imported (ImportError: libcublas.so.12: cannot open shared object file)"
    assert f"CuPy cannot be used here: {reason}" in run.stderr


# ------------------------------------------------------------------------------------------------ whose array


@pytest.mark.parametrize("x", [np.zeros(2), np.float32(1), np.bool_(True), np.zeros(2).view(np.matrix)], ids=range(4))
def test_numpy_serves_its_arrays_scalars_and_subclasses(x):
    assert namespace(x) is np


@pytest.mark.parametrize("x", [[1.0], 1.0, None, "x"], ids=["list", "number", "None", "text"])
def test_what_is_no_array_has_no_library(x):
    with pytest.raises(
        TypeError, match=r"expected an array or a Tensor; got builtins\.\w+. Make one with minigen.tensor"
    ):
        namespace(x)


def test_cupy_serves_its_arrays_also_those_made_before_use(fake_cupy):
    assert namespace(fake_cupy.zeros(2)) is fake_cupy
    assert default() is np


# ------------------------------------------------------------------------------------------------ the default


def test_new_arrays_are_made_on_the_default_and_old_ones_stay(fake_cupy):
    old = tensor([1.0])
    assert use("cupy") is default() is fake_cupy
    assert isinstance(tensor([1.0]).data, fake_cupy.ndarray)
    assert isinstance(old.data, np.ndarray)
    assert use("numpy") is np
    assert isinstance(tensor([1.0]).data, np.ndarray)


def test_auto_takes_cupy_where_there_is_a_gpu(fake_cupy):
    assert use("auto") is fake_cupy


def test_both_libraries_compute_in_one_process(fake_cupy):
    a = tensor([3.0], requires_grad=True)
    use("cupy")
    b = tensor([3.0], requires_grad=True)
    assert grad((a**2).sum(), a).numpy() == grad((b**2).sum(), b).numpy() == 6


def test_synchronize_waits_on_either(fake_cupy):
    synchronize()
    use("cupy")
    synchronize()


# ------------------------------------------------------------------------------------------------ transfers


def test_asarray_keeps_memory_on_the_cpu():
    a = np.arange(3.0)
    assert asarray(a) is a
    assert to_numpy(a) is a
    assert asarray(a, np.float32).dtype == np.float32


def test_python_floats_become_float32_and_arrays_keep_their_dtype():
    assert asarray([1.0]).dtype == asarray(1.0).dtype == np.float32
    assert asarray([1]).dtype == asarray(range(3)).dtype == np.int64
    assert asarray([True]).dtype == bool
    assert asarray(np.ones(1)).dtype == asarray(np.float64(1)).dtype == np.float64


def test_asarray_and_to_numpy_are_the_ways_there_and_back(fake_cupy):
    use("cupy")
    a = np.arange(6.0).reshape(2, 3)
    there = asarray(a)
    assert isinstance(there, fake_cupy.ndarray)
    assert asarray(there).tolist() == a.tolist()
    back = to_numpy(there)
    assert isinstance(back, np.ndarray)
    np.testing.assert_array_equal(back, a)


def test_asarray_brings_arrays_back_where_numpy_is_the_default(fake_cupy):
    np.testing.assert_array_equal(asarray(fake_cupy.arange(3)), [0, 1, 2])
    assert isinstance(asarray(fake_cupy.arange(3)), np.ndarray)


def test_to_numpy_takes_tensors_of_both_devices(fake_cupy):
    for name in ("numpy", "cupy"):
        use(name)
        back = to_numpy(tensor([1.0, 2.0]))
        assert isinstance(back, np.ndarray)
        assert back.tolist() == [1, 2]


@pytest.mark.parametrize(
    "mixed",
    [lambda g, h: g * h, lambda g, h: h + g, lambda g, h: ops.concatenate([g, h]), lambda g, h: g.data[h.data > 0]],
)
def test_arrays_of_two_devices_do_not_mix(fake_cupy, mixed):
    here = tensor([1.0, 2.0])
    use("cupy")
    with pytest.raises((TypeError, IndexError)):
        mixed(tensor([1.0, 2.0]), here)


def test_a_tensor_on_the_gpu_is_not_copied_by_numpy_behind_ones_back(fake_cupy):
    use("cupy")
    with pytest.raises(TypeError, match=r"this tensor is on the GPU; copy it by name with tensor\.numpy\(\)"):
        np.asarray(tensor([1.0]))


def test_a_tensor_on_the_gpu_prints_its_values_and_gives_its_number(fake_cupy):
    use("cupy")
    assert repr(tensor([1.0, 2.0])) == "tensor([1., 2.], float32)"
    assert float(tensor([1.5])) == tensor(1.5).item() == 1.5
    assert f"{tensor(1.5):.1f}" == "1.5"
    assert [10, 20][tensor(1)] == 20


def test_the_public_face_has_the_functions_of_this_module():
    assert {"use", "asarray", "to_numpy", "synchronize", "BackendError"} <= set(dir(minigen))

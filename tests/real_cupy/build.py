"""Whether the real CuPy can run here on the driver of driver.c, and the libraries for it, built once."""

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from backend import emulator, nvrtc

SOURCE = Path(__file__).with_name("driver.c")


def why_not():
    """Why the tests of this folder cannot run here, or None."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "the driver that does nothing is for Linux on x86-64"
    if importlib.util.find_spec("cupy") is None or cuda() is None:
        return "no wheel of CuPy is installed: pip install cupy-cuda13x"
    if not nvrtc_of_cupy():
        return nvrtc.WHY_NOT
    if not headers():
        return "CUDA's headers are not installed: pip install nvidia-cuda-runtime"
    if not shutil.which("gcc") or not shutil.which("nm"):
        return "there is no gcc, or no nm"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return "there is a real driver here: tests/backend and python -m minigen.bench run on it"


def folder(name=""):
    """Where builds are kept, beside those of the emulator."""
    path = emulator.folder() / "real_cupy" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def cuda():
    """The version of CUDA that the wheel of CuPy is built for: 12 or 13; None where there is no wheel."""
    names = [d.metadata["Name"] or "" for d in importlib.metadata.distributions()]
    return next((int(m[1]) for m in (re.fullmatch(r"cupy-cuda(\d+)x", name) for name in names) if m), None)


def nvrtc_of_cupy():
    """The run-time compiler of that version, installed as a wheel."""
    return next((path for path in nvrtc.libraries() if path.suffix == f".{cuda()}"), None)


def headers():
    """The folder of CUDA's headers that a wheel has installed beside NVRTC (13), or in a package of its own (12)."""
    nvidia = nvrtc_of_cupy().parents[2]
    return next((path.parents[1] for path in sorted(nvidia.glob("*/include/cuda_fp16.h"))), None)


def library(name, source, *flags):
    """The shared library `name` from C source, built once for the same source and flags."""
    flags = ["-shared", "-fPIC", "-O1", "-w", *flags, "-Wl,-soname," + name]
    built = folder() / hashlib.sha256("\0".join([source, *flags]).encode()).hexdigest()[:24] / name
    if not built.exists():
        built.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder()) as place:
            new = Path(place, name)
            subprocess.run(["gcc", "-x", "c", "-", *flags, "-o", new], input=source, text=True, check=True)
            new.rename(built)
    return str(built)


def driver():
    """driver.c as libcuda.so.1, the name under which CuPy asks for the driver."""
    return library("libcuda.so.1", SOURCE.read_text(), f"-DCUDA={cuda()}000")


def blas():
    """Two libraries in the place of cuBLAS, 500 MB: whatever function of theirs CuPy names does nothing, well."""
    extension = next(Path(importlib.util.find_spec("cupy_backends").origin).parent.glob("cuda/libs/cublas.*.so"))
    wanted = subprocess.run(["nm", "-D", "--undefined-only", extension], capture_output=True, text=True, check=True)
    names = sorted(set(re.findall(r"\b(cublas\w+)", wanted.stdout)))
    source = "\n".join(f"int {name}(void) {{ return 0; }}" for name in names)
    return [library(f"lib{name}.so.{cuda()}", source) for name in ("cublasLt", "cublas")]

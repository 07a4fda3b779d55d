"""What a machine has for a GPU: cards, driver and wheels, asked without CuPy; and whether CuPy works on it."""

import ctypes
import os
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

PCI = Path("/sys/bus/pci/devices")
NOT_INSTALLED = "it is not installed"  # what `try_cupy` says then
LOOSEST = 1e-2  # relative error of a product in bfloat16, the coarsest precision that it may be set to
NVIDIA = "0x10de"  # the vendor's number on the PCI bus
COMPUTE_CAPABILITY = 75, 76  # CUdevice_attribute: major, minor


@dataclass
class Device:
    """A GPU as the driver describes it. memory: bytes."""

    name: str
    capability: tuple[int, int]
    memory: int


@dataclass
class Driver:
    """NVIDIA's driver. error: the number that cuInit or the count of devices returned (0: none); cuda: (12, 4)."""

    error: int = 0
    cuda: tuple[int, int] | None = None
    devices: list[Device] = field(default_factory=list)


@dataclass
class Machine:
    """Everything the doctor looks at. A test can write one by hand.

    cards: NVIDIA's display devices on the PCI bus, or None where there is no such list (Windows, WSL, macOS).
    driver: None where its library cannot be loaded.
    wheels: {distribution: version} of all CuPy that is installed.
    trouble: what CuPy said when it was tried, or None.
    kernels: what was wrong with a product by minigen's own kernel, or None.
    """

    system: str
    processor: str
    cards: int | None
    driver: Driver | None
    wheels: dict[str, str]
    trouble: str | None
    kernels: str | None
    visible: str | None  # CUDA_VISIBLE_DEVICES
    container: bool


def look():
    """This machine. Imports CuPy, and computes with it, where it is installed."""
    wheels = installed_wheels()
    trouble = try_cupy() if wheels else None
    return Machine(
        system=platform.system(),
        processor=platform.machine(),
        cards=cards_on_the_bus(),
        driver=ask_driver(),
        wheels=wheels,
        trouble=trouble,
        kernels=try_kernels() if wheels and trouble is None else None,
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        container=Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
    )


def cards_on_the_bus(folder=PCI):
    """How many display devices of NVIDIA's the PCI bus lists; None where there is no list."""
    if not folder.is_dir():
        return None
    text = lambda path: path.read_text().strip() if path.is_file() else ""
    return sum(
        text(card / "vendor") == NVIDIA and text(card / "class").startswith("0x03")  # 0x03: display controller
        for card in folder.iterdir()
    )


def ask_driver(library=None):
    """The Driver, by its C library; None where that is not installed."""
    library = library or _load_library()
    if library is None:
        return None
    error = library.cuInit(0)
    if error:
        return Driver(error, _cuda_of(library))
    count = ctypes.c_int()
    error = library.cuDeviceGetCount(ctypes.byref(count))
    return Driver(error, _cuda_of(library), [] if error else [_device(library, i) for i in range(count.value)])


def _load_library():
    for name in (
        ("nvcuda.dll",) if platform.system() == "Windows" else ("libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1")
    ):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _cuda_of(library):
    """(12, 4): the newest CUDA that the driver serves; None where it does not say."""
    version = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)) or not version.value:
        return None
    return version.value // 1000, version.value % 1000 // 10


def _device(library, i):
    handle, name, memory = ctypes.c_int(), ctypes.create_string_buffer(100), ctypes.c_size_t()
    library.cuDeviceGet(ctypes.byref(handle), i)
    library.cuDeviceGetName(name, len(name), handle)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    numbers = [ctypes.c_int(), ctypes.c_int()]
    for number, attribute in zip(numbers, COMPUTE_CAPABILITY):
        library.cuDeviceGetAttribute(ctypes.byref(number), attribute, handle)
    return Device(name.value.decode(), (numbers[0].value, numbers[1].value), memory.value)


def installed_wheels():
    """{distribution: version} of every CuPy that pip installed: cupy-cuda12x, cupy-cuda13x, cupy (built here), ..."""
    import importlib.metadata  # here: it takes longer to import than all the rest of the backend

    found = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions() if d.metadata["Name"]}
    return {name: version for name, version in sorted(found.items()) if re.fullmatch(r"cupy(-(cuda|rocm).*)?", name)}


def try_cupy():
    """None where CuPy finds a GPU, compiles and computes; else what is the matter, in one line."""
    try:
        import cupy
    except Exception as error:  # a broken wheel may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            return NOT_INSTALLED
        return f"it cannot be imported ({_in_one_line(error)})"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        return f"it is installed, but finds no GPU ({_in_one_line(error)})"
    if count == 0:
        return "it is installed, but finds no GPU"
    try:
        found = (cupy.arange(3, dtype=cupy.float32) * 2).get().tolist()  # compiles a kernel, and runs it
    except Exception as error:
        return f"it finds a GPU, but cannot use it ({_in_one_line(error)})"
    return None if found == [0, 2, 4] else f"it computes wrong results: 2 * [0, 1, 2] came out as {found}"


def try_kernels():
    """None where a product by minigen's own kernel comes out as NumPy's; else what is the matter, in one line."""
    import cupy

    from .conv import matmul

    a = np.random.default_rng(0).standard_normal((64, 96), np.float32)
    try:
        found = matmul(cupy.asarray(a), cupy.asarray(a).T).get()
    except Exception as error:
        return _in_one_line(error)
    error = float(np.linalg.norm(found - a @ a.T) / np.linalg.norm(a @ a.T))
    return None if error < LOOSEST else f"a matrix product is off by {error:.1e} of its size"


def _in_one_line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())

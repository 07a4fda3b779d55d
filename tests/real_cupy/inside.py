"""pytest -p real_cupy.inside: in this process the real CuPy runs on the driver of driver.c, from now on.

CuPy asks for the driver and for cuBLAS by their names; what is loaded already under a name is what it gets. The
runtime library (cuda...) is another matter: it is linked into CuPy's extension modules, and speaks with the driver in
ways that NVIDIA does not publish. So each of its functions, found by name in the module's table of symbols, gets a jump
to driver.c's function of that name written over its first bytes.
"""

import ctypes
import importlib
import re
import subprocess
from pathlib import Path

from real_cupy import build

WITH_RUNTIME = "cupy_backends.cuda.api.runtime", "cupy.cuda.cub", "cupy.cuda.thrust", "cupy.random._generator_api"
RUNTIME = r"cuda[A-Z]\w*|__cuda(PushCallConfiguration|PopCallConfiguration|LaunchKernel|GetKernel)"
PAGE, ANYTHING = 4096, 7  # bytes; PROT_READ | PROT_WRITE | PROT_EXEC

driver = ctypes.CDLL(build.driver())
driver.pretend_log.restype = ctypes.c_char_p
for path in build.blas():
    ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


def log():
    """What the driver was asked for since the last time, as lines (see driver.c)."""
    lines = driver.pretend_log().decode().splitlines()
    driver.pretend_forget()
    return lines


def set_memory(size):
    """From now on the GPU has so many bytes."""
    driver.pretend_memory(ctypes.c_size_t(size))


def redirect(path):
    """Let the runtime library inside the extension module at `path`, which is loaded, jump to the driver."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    start = min(int(line.split("-")[0], 16) for line in maps if line.endswith(path))
    table = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    found = re.findall(rf"^([0-9a-f]+) [tT] ({RUNTIME})$", table, re.MULTILINE)
    if not found:
        raise RuntimeError(f"{path}: no function of CUDA's runtime library is to be found in it")
    for offset, name, _ in found:
        target = ctypes.cast(getattr(driver, name, driver.pretend_missing), ctypes.c_void_p).value
        jump = b"\x49\xbb" + target.to_bytes(8, "little") + b"\x41\xff\xe3"  # mov r11, target; jmp r11
        at = start + int(offset, 16)
        if ctypes.CDLL(None).mprotect(ctypes.c_void_p(at // PAGE * PAGE), ctypes.c_size_t(2 * PAGE), ANYTHING):
            raise RuntimeError(f"{path}: its code cannot be written over here")
        ctypes.memmove(at, jump, len(jump))


def install():
    import cupy  # noqa: F401

    for name in WITH_RUNTIME:
        redirect(importlib.import_module(name).__file__)
    from minigen.backend import arrays

    arrays.try_cupy = lambda: None  # it would find that this GPU computes wrong results


install()

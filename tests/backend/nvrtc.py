"""NVRTC, CUDA's run-time compiler, from its wheel: to machine code for any GPU, without a GPU or a driver."""

import contextlib
import ctypes
import re
import sysconfig
from functools import cache
from pathlib import Path

WHY_NOT = "NVRTC is not installed: pip install nvidia-cuda-nvrtc"


@cache
def libraries():
    """The NVRTC libraries that wheels have installed: nvidia-cuda-nvrtc (CUDA 13), nvidia-cuda-nvrtc-cu12."""
    return sorted(Path(sysconfig.get_path("purelib"), "nvidia").glob("*/lib/libnvrtc.so.1[0-9]"))


class CompileError(Exception):
    pass


class Compiler:
    """One NVRTC.

    version: (major, minor). architectures: the compute capabilities that it knows, as 80 for 8.0.
    """

    def __init__(self, path):
        self.library = ctypes.CDLL(str(path))
        version = ctypes.c_int(), ctypes.c_int()
        self._check(self.library.nvrtcVersion(*map(ctypes.byref, version)))
        self.version = tuple(v.value for v in version)
        n = ctypes.c_int()
        self._check(self.library.nvrtcGetNumSupportedArchs(ctypes.byref(n)))
        known = (ctypes.c_int * n.value)()
        self._check(self.library.nvrtcGetSupportedArchs(known))
        self.architectures = set(known)

    def _check(self, code, log=""):
        if code:
            self.library.nvrtcGetErrorString.restype = ctypes.c_char_p
            raise CompileError(self.library.nvrtcGetErrorString(code).decode() + "\n" + log)

    def compile(self, source, architecture, options=()):
        """{kernel: {"registers", "spilled", "shared"}} of machine code for one architecture; spilled, shared in bytes.

        Raises CompileError with the compiler's own words, and those of ptxas.
        """
        with self._compiled(source, f"sm_{architecture}", (*options, "--ptxas-options=-v")) as (program, log):
            size = ctypes.c_size_t()
            self._check(self.library.nvrtcGetCUBINSize(program, ctypes.byref(size)), log)
            if not size.value:
                raise CompileError(f"no machine code for sm_{architecture}\n{log}")
        return used(log)

    def ptx(self, source, architecture, options=()):
        """The text that ptxas would make machine code of.  Raises CompileError."""
        with self._compiled(source, f"compute_{architecture}", options) as (program, _):
            return self._text(program, "PTX")

    @contextlib.contextmanager
    def _compiled(self, source, architecture, options):
        """(program, log)."""
        program = ctypes.c_void_p()
        self._check(self.library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"", 0, None, None))
        options = (*options, f"--gpu-architecture={architecture}")
        pointers = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        code = self.library.nvrtcCompileProgram(program, len(options), pointers)
        log = self._text(program, "ProgramLog")
        try:
            self._check(code, log)
            yield program, log
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program, what):
        size = ctypes.c_size_t()
        self._check(getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        text = ctypes.create_string_buffer(size.value)
        self._check(getattr(self.library, f"nvrtcGet{what}")(program, text))
        return text.value.decode()


def used(log):
    """What ptxas -v says of each kernel."""
    patterns = {"registers": r"Used (\d+) reg", "spilled": r"(\d+) bytes spill stores", "shared": r"(\d+) bytes smem"}
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        numbers = {what: sum(map(int, re.findall(pattern, part))) for what, pattern in patterns.items()}
        found[part[: part.index("'")]] = numbers
    return found

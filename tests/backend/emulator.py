"""CUDA C++ on the CPU: compiled by g++ against emu.h, and launched on the memory of NumPy arrays.

    module(source, ("-DN=4",)).launch("add", (2,), (32,), [address(x), address(y), np.int32(n)], shared=0)

What a GPU would do silently wrong raises `EmulatorError`. Threads, warps and blocks run in a random order, drawn from
the environment variable EMULATOR_SEED (1).
"""

import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
COMPILER = shutil.which("g++")
AVAILABLE = COMPILER is not None and sys.platform == "linux" and platform.machine() == "x86_64"
WHY_NOT = "the CUDA emulator needs g++ on Linux, x86-64"

# alignment, bounds: emu.h turns them into sentences. No FMA: the same result wherever the tests run.
FLAGS = ["-std=c++17", "-O1", "-w", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing", "-ffp-contract=off"]
FLAGS += ["-fsanitize=alignment,bounds", "-fno-sanitize-recover=all"]
OPTIONS = "-D", "-std=", "--std=", "-lineinfo", "--generate-line-info", "--use_fast_math"
KERNEL = re.compile(r'extern\s*"C"\s*__global__\b((?:(?!__global__).)*?)\b(\w+)\s*\(([^()]*)\)\s*\{', re.DOTALL)
DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\s*\(\s*\d+\s*\)\s*)?([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;")
TYPES = {
    "float": "f4",
    "double": "f8",
    "bool": "?",
    "char": "i1",
    "signed char": "i1",
    "unsigned char": "u1",
    "short": "i2",
    "unsigned short": "u2",
    "int": "i4",
    "unsigned": "u4",
    "unsigned int": "u4",
    "long long": "i8",
    "long long int": "i8",
    "unsigned long long": "u8",
    "unsigned long long int": "u8",
    "size_t": "u8",
}
VECTORS = {"float": "f4", "int": "i4", "uint": "u4", "double": "f8", "short": "i2", "ushort": "u2", "uchar": "u1"}
TYPES |= {f"{name}{n}": dtype for name, dtype in VECTORS.items() for n in (2, 4)}


class EmulatorError(RuntimeError):
    """What would fail, or silently go wrong, on the GPU."""


class Parameter:
    """One parameter of a kernel: `const float* __restrict__ x` or `int n`."""

    def __init__(self, text):
        text = " ".join(re.sub(r"__restrict__|__restrict", " ", text).replace("*", " * ").split())
        self.text, self.name = text, re.search(r"(\w+)$", text)[1]
        self.type = text[: -len(self.name)].strip()
        self.pointer = "*" in self.type
        self.const = "const" in self.type.split("*")[0]
        base = " ".join(w for w in self.type.split("*")[0].split() if w not in ("const", "volatile"))
        if base not in TYPES and not (self.pointer and base == "void"):
            raise EmulatorError(f"parameter '{text}': the emulator knows no type '{base}'.")
        self.dtype = None if base == "void" else np.dtype(TYPES[base])


def address(array):
    """Where the first element of a NumPy array lies, as a kernel's pointer."""
    return ctypes.c_void_p(array.__array_interface__["data"][0])


class Module:
    """The kernels of one source, compiled."""

    def __init__(self, source, options=()):
        defines = [o for o in options if o.startswith("-D")]
        unknown = [
            o for o in options if not o.startswith(("-D", "-std=", "--std=", "-lineinfo", "--generate-line-info"))
        ]
        if unknown:
            raise EmulatorError(f"options {unknown}: unknown to the emulator.")
        text = preprocessed(source, tuple(defines))
        text = DYNAMIC.sub(lambda m: _dynamic(text, m), text)
        self.parameters = {m[2]: [Parameter(p) for p in m[3].split(",") if p.strip()] for m in KERNEL.finditer(text)}
        glue = "".join(_glue(name, ps) for name, ps in self.parameters.items())
        self.library = compiled(f'#include "emu.h"\nnamespace {{\n{text}\n}}\n{glue}')
        self.static_shared = ctypes.c_int.in_dll(self.library, "emu_static_bytes").value

    def launch(self, name, grid, block, args, shared=0, seed=None):
        """Run a kernel of the grid; args: addresses (ctypes.c_void_p) and NumPy scalars of the parameters' types."""
        function = getattr(self.library, f"emu_launch_{name}")
        size = (ctypes.c_uint * 6)(*grid, *(1,) * (3 - len(grid)), *block, *(1,) * (3 - len(block)))
        cells = [a if isinstance(a, ctypes.c_void_p) else ctypes.create_string_buffer(a.tobytes()) for a in args]
        pointers = (ctypes.c_void_p * max(1, len(cells)))(*[ctypes.addressof(c) for c in cells])
        seed = int(os.environ.get("EMULATOR_SEED", 1)) if seed is None else seed
        function.restype = ctypes.c_char_p
        message = function(size, ctypes.c_int(shared), ctypes.c_uint64(seed), pointers)
        if message:
            raise EmulatorError(f"{name}: {message.decode()}.")


@cache
def module(source, options=()):
    """The module of a source, built once."""
    return Module(source, options)


def preprocessed(source, defines):
    """The source after its #if and macros, so that only what is compiled is seen."""
    command = [COMPILER, "-E", "-x", "c++", "-std=c++17", "-DPTX_CUH", "-D__CUDA_ARCH__=900", "-D__CUDACC_RTC__"]
    return _run([*command, *defines, "-"], source)


def _run(command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise EmulatorError(f"g++ refused the source:\n{done.stderr[-4000:]}")
    return done.stdout


def _dynamic(text, match):
    """`extern __shared__ T x[];` as a pointer to the launch's dynamic shared memory."""
    type, name = match[1], match[2]
    outside = text.count("{", 0, match.start()) == text.count("}", 0, match.start())
    return (
        f"static {type}*& {name} = ({type}*&)emu::dynamic_shared;"
        if outside
        else (f"{type}* const {name} = ({type}*)emu::dynamic_shared;")
    )


def _glue(name, parameters):
    args = ", ".join(f"*({p.type}*)a[{i}]" for i, p in enumerate(parameters))
    return (
        f'extern "C" __attribute__((visibility("default")))\n'
        f"const char* emu_launch_{name}(const unsigned* size, int shared, uint64_t seed, void** args) {{\n"
        f"    return emu::launch(size, shared, seed, [](void** a) {{ {name}({args}); }}, args);\n}}\n"
    )


@cache
def folder():
    """Where built libraries are kept: the user's own, among the temporary files."""
    path = Path(tempfile.gettempdir()) / f"minigen-emulator-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise EmulatorError(f"{path} belongs to somebody else.")
    return path


@cache
def _headers():
    return "".join((HERE / name).read_text() for name in ("emu.h", "emu_cuda.h"))


@cache
def compiled(text):
    """The shared library of a C++ text, built once for the same text, headers and flags."""
    key = hashlib.sha256("\0".join([text, _headers(), *FLAGS]).encode()).hexdigest()[:24]
    library = folder() / f"{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder()) as place:
            source, object, built = (Path(place, name) for name in ("kernel.cpp", "kernel.o", "kernel.so"))
            source.write_text(text)
            _run([COMPILER, *FLAGS, f"-I{HERE}", "-c", "-o", str(object), str(source)])
            _run([COMPILER, "-shared", "-o", str(built), str(object)])  # linked apart: without the sanitizer's library
            built.rename(library)
    return ctypes.CDLL(str(library))

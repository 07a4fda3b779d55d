"""CUDA C++ on the CPU: compiled by g++ against emu.h, and launched on the memory of NumPy arrays.

    module(source, ("-DN=4",)).launch("add", (2,), (32,), [x, y, np.int32(n)], shared=0)

`architecture` is what the source finds as __CUDA_ARCH__: before sm_80 there are fewer functions of ptx.cuh.
What a GPU would do silently wrong raises `EmulatorError`. Threads, warps and blocks run in a random order, drawn from
the environment variable EMULATOR_SEED (1).
"""

import ctypes
import hashlib
import itertools
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
from numpy.lib.array_utils import byte_bounds

HERE = Path(__file__).parent
COMPILER = shutil.which("g++")
AVAILABLE = COMPILER is not None and sys.platform == "linux" and platform.machine() == "x86_64"
WHY_NOT = "the CUDA emulator needs g++ on Linux, x86-64"

# alignment, bounds: emu.h turns them into sentences. No FMA: the same result wherever the tests run.
FLAGS = "-std=c++17", "-O1", "-w", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing", "-ffp-contract=off"
FLAGS += "-fsanitize=alignment,bounds", "-fno-sanitize-recover=all"
RUNTIME_FLAGS = "-std=c++17", "-O2", "-Wall", "-Werror", "-fPIC"
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


class Region(ctypes.Structure):
    """Memory that belongs to one array (or to several that overlap): emu.cpp puts pages that fault around it."""

    _fields_ = [("host", ctypes.c_size_t), ("bytes", ctypes.c_int64), ("writable", ctypes.c_int64)]
    _fields_ += [("name", ctypes.c_char_p), ("copy", ctypes.c_void_p)]


class Launch(ctypes.Structure):
    """As in emu.cpp."""

    _fields_ = [("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("shared_bytes", ctypes.c_int64)]
    _fields_ += [("static_begin", ctypes.c_void_p), ("static_end", ctypes.c_void_p), ("seed", ctypes.c_uint64)]
    _fields_ += [("kernel", ctypes.c_void_p), ("arguments", ctypes.c_void_p)]
    _fields_ += [("n_arguments", ctypes.c_int64), ("n_regions", ctypes.c_int64)]
    _fields_ += [("region_of", ctypes.c_void_p), ("region", ctypes.c_void_p)]


class Module:
    """The kernels of one source, compiled. `parameters`: of each kernel; `static_shared`: bytes of all together."""

    def __init__(self, source, options=(), architecture=90):
        unknown = [o for o in options if not o.startswith(OPTIONS)]
        if unknown:
            raise EmulatorError(f"options {unknown}: unknown to the emulator.")
        asked = "__CUDA_ARCH__" in source  # a source that does not is built once for all
        arch = f"__CUDA_ARCH__={10 * architecture if asked else 900}"
        text = preprocessed(source, (f"-D{arch}", *(o for o in options if o.startswith("-D"))))
        text = DYNAMIC.sub(lambda m: _dynamic(text, m), text)
        found = list(KERNEL.finditer(text))
        self.parameters = {m[2]: [Parameter(p) for p in m[3].split(",") if p.strip()] for m in found}
        glue = "".join(_glue(m[2], self.parameters[m[2]], _bound(m[1])) for m in found)
        runtime()
        head = f'#define {arch.replace("=", " ")}\n#include "emu.h"\n'
        self.library = compiled(f"{head}namespace {{\n{text}\n}}\n{GLUE}{glue}")
        self.static = tuple((ctypes.c_void_p * 2).in_dll(self.library, "emu_static_shared"))
        self.static_shared = self.static[1] - self.static[0] - 16  # without emu_anchor

    def most_threads(self, name):
        """The block size that a kernel promised in __launch_bounds__."""
        return ctypes.c_int.in_dll(self.library, f"emu_bound_{name}").value

    def launch(self, name, grid, block, args, shared=0, seed=None):
        """Run a kernel; args: NumPy arrays for pointers, NumPy scalars of the other parameters' types, 0 for null."""
        cells = [ctypes.create_string_buffer(_bytes(a)) for a in args]
        pointers = (ctypes.c_void_p * len(cells))(*map(ctypes.addressof, cells))
        regions, region_of = _regions(self.parameters[name], args)
        launch = Launch(
            grid=(*grid, *(1,) * (3 - len(grid))),
            block=(*block, *(1,) * (3 - len(block))),
            shared_bytes=shared,
            static_begin=self.static[0],
            static_end=self.static[1],
            seed=next(_seeds) if seed is None else seed,
            kernel=ctypes.c_void_p.in_dll(self.library, f"emu_kernel_{name}"),
            arguments=ctypes.addressof(pointers),
            n_arguments=len(cells),
            n_regions=len(regions),
            region_of=ctypes.addressof(region_of),
            region=ctypes.addressof(regions),
        )
        message = runtime().emu_launch(ctypes.byref(launch))
        if message:
            raise EmulatorError(f"{name}: {message.decode()}.")


_seeds = itertools.count(1000 * int(os.environ.get("EMULATOR_SEED", 1)))  # another order for each launch


def _bytes(value):
    """An argument's bytes: an array's address, null, or a number."""
    if isinstance(value, np.ndarray):
        return np.uint64(value.__array_interface__["data"][0]).tobytes()
    return np.uint64(0).tobytes() if type(value) is int else value.tobytes()


def _regions(parameters, args):
    """The memory of the arrays, those that overlap taken together, and of each argument which: -1 for none."""
    region_of = (ctypes.c_int64 * len(args))(*[-1] * len(args))
    arrays = [(*byte_bounds(a), i) for i, a in enumerate(args) if isinstance(a, np.ndarray)]
    found = []
    for low, high, i in sorted(arrays):
        p = parameters[i]
        if found and low < found[-1][1]:
            found[-1][1:3] = max(high, found[-1][1]), found[-1][2] or not p.const
        else:
            found.append([low, high, not p.const, p.name])
        region_of[i] = len(found) - 1
    regions = (Region * len(found))(
        *[Region(low, high - low, write, n.encode(), None) for low, high, write, n in found]
    )
    return regions, region_of


@cache
def module(source, options=(), architecture=90):
    """The module of a source, built once."""
    return Module(source, options, architecture)


def preprocessed(source, defines):
    """The source after its #if and macros, so that only what is compiled is seen."""
    command = [COMPILER, "-E", "-x", "c++", "-std=c++17", "-DPTX_CUH", "-D__CUDACC_RTC__"]
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


GLUE = """
#pragma GCC visibility push(default)
extern "C" char __start_emu_static[] __attribute__((visibility("hidden")));
extern "C" char __stop_emu_static[] __attribute__((visibility("hidden")));
extern "C" char* emu_static_shared[2] = {__start_emu_static, __stop_emu_static};
"""


def _glue(name, parameters, bound):
    """What makes a kernel callable from Python: a function of pointers to its arguments, and its largest block."""
    args = ", ".join(f"*({p.type}*)a[{i}]" for i, p in enumerate(parameters))
    return (
        f"static void emu_call_{name}(void** a) {{ {name}({args}); }}\n"
        f'extern "C" void (*emu_kernel_{name})(void**) = emu_call_{name};\n'
        f'extern "C" int emu_bound_{name} = {bound};\n'
    )


def _bound(text):
    """The first argument of __launch_bounds__ in what stands before a kernel's name, or all that CUDA allows."""
    start = text.find("__launch_bounds__")
    if start < 0:
        return "1024"
    start = text.index("(", start) + 1
    depth = 1
    for end in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if depth == 0 or (depth == 1 and text[end] == ","):
            return text[start:end]
    raise EmulatorError(f"unbalanced: {text}")


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
    return "".join(path.read_text() for path in sorted(HERE.glob("emu*.h")))


@cache
def runtime():
    """emu.cpp, whose functions the kernels call."""
    library = compiled((HERE / "emu.cpp").read_text(), RUNTIME_FLAGS, ctypes.RTLD_GLOBAL)
    library.emu_launch.restype = ctypes.c_char_p
    return library


@cache
def compiled(text, flags=FLAGS, mode=ctypes.DEFAULT_MODE):
    """The shared library of a C++ text, built once for the same text, headers and flags."""
    key = hashlib.sha256("\0".join([text, _headers(), *flags]).encode()).hexdigest()[:24]
    library = folder() / f"{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder()) as place:
            source, object, built = (Path(place, name) for name in ("kernel.cpp", "kernel.o", "kernel.so"))
            source.write_text(text)
            _run([COMPILER, *flags, f"-I{HERE}", "-c", "-o", str(object), str(source)])
            _run([COMPILER, "-shared", "-o", str(built), str(object)])  # apart: without the sanitizer's own library
            built.rename(library)
    return ctypes.CDLL(str(library), mode)

"""CUDA C++ from the files beside this one, compiled at run time for the GPU at hand, once for each set of constants."""

import re
from functools import cache
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
REALS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}  # the types that most kernels come in
INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


class Kernel:
    """A compiled kernel: `kernel(grid, block, args)` only enqueues it.

    args: CuPy arrays (their address is passed), NumPy scalars (np.int32(3), np.float32(0.5)), or None for a null
    pointer. shared: bytes of dynamic shared memory; more than 48 KiB have to be asked for, which is done here.
    """

    def __init__(self, function, shared=0):
        self.function, self.shared = function, shared
        if shared > 48 << 10:
            function.max_dynamic_shared_size_bytes = shared

    def __call__(self, grid, block, args):
        self.function(grid, block, tuple(0 if a is None else a for a in args), shared_mem=self.shared)


def options(**constants):
    """NVRTC's options for a source in which each constant is a macro."""
    return ("-std=c++17", *(f"-D{name}={value}" for name, value in sorted(constants.items())))


@cache
def kernel(file, name, shared=0, **constants):
    """The kernel `name` of the source `file`, in which each constant is a macro (`-DC=64`).

    >>> add = kernel("example.cu", "add", N=4)                                  # doctest: +SKIP
    >>> add((1,), (32,), (x, y, np.int32(n)))                                   # doctest: +SKIP
    """
    return Kernel(_module(file, options(**constants)).get_function(name), shared)


@cache
def _module(file, options):
    import cupy

    return cupy.RawModule(code=source(file), options=options)


def source(file):
    """The text of `file`, with the text of `x.cuh` for each line `#include "x.cuh"`: RawModule knows no folder."""
    text = (FOLDER / file).read_text()
    place = lambda end: f'#line {text.count(chr(10), 0, end) + 2} "{file}"'  # so that messages name the right line
    return f'#line 1 "{file}"\n' + INCLUDE.sub(lambda m: f"{source(m[1])}\n{place(m.end())}", text)


def ceil_div(a, b):
    """⌈a / b⌉ of whole numbers."""
    return -(-a // b)

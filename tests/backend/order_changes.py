"""What the stand-in for CuPy is asked to read in one order of memory and to write in another: strides cost bandwidth.

Large arrays that lie as images do, neighbours in memory being channels, should stay so through a whole step.
"""

import contextlib
import math
import operator
import traceback
from typing import NamedTuple

import numpy as np
from backend import fake_cupy_array, fake_kernels
from backend.fake_cupy_array import ndarray


class Change(NamedTuple):
    """A result of that shape; bytes read and written; the lines of minigen that asked for it, innermost first."""

    shape: tuple
    bytes: int
    lines: str


def order(array):
    """The axes that are longer than 1, by falling stride; None where one is broadcast."""
    axes = [a for a in range(array.ndim) if array.shape[a] > 1]
    strides = [abs(array.strides[a]) for a in axes]
    return None if 0 in strides else tuple(a for _, a in sorted(zip(strides, axes), key=lambda s: (-s[0], s[1])))


def changed(out, inputs):
    """Those of `inputs` that have as many elements as `out` and lie otherwise."""
    alike = [a for a in inputs if a.size == out.size and order(a) is not None]
    return [a for a in alike if a.shape != out.shape or order(a) != order(out)]


def lines():
    """file:line function of the frames in minigen, innermost first."""
    frames = [f for f in traceback.extract_stack() if "/minigen/" in f.filename]
    return " < ".join(f"{f.filename.rsplit('/minigen/')[-1]}:{f.lineno} {f.name}" for f in frames[:-7:-1])


@contextlib.contextmanager
def order_changes(least):
    """Inside, the list that this yields is filled with a Change for each that moves at least so many elements."""
    found = []

    def look(out, inputs):
        if out.size >= least and (other := changed(out, inputs)):
            found.append(Change(out.shape, out.nbytes + sum(a.nbytes for a in other), lines()))

    made, do, kernel = fake_cupy_array._made, fake_cupy_array.do, fake_kernels.ElementwiseKernel._launch

    def looked_made(out, again, hosts, kept):
        result = made(out, again, hosts, kept)
        arrays = fake_cupy_array._arrays(hosts)
        if not any(np.may_share_memory(result._host, h) for h in arrays):
            look(result._host, arrays)
        return result

    def looked_do(function, *hosts):
        target = hosts[0][hosts[1]] if function is operator.setitem else hosts[0]
        if isinstance(target, np.ndarray):
            look(target, [h for h in hosts[1:] if isinstance(h, np.ndarray)])
        do(function, *hosts)

    def looked_kernel(self, letters, dtype, shape, pairs, block_size):
        arrays = [v._host for p, v in pairs if isinstance(v, ndarray) and not p.raw and v.size == math.prod(shape)]
        look(arrays[-1], arrays[:-1])
        kernel(self, letters, dtype, shape, pairs, block_size)

    fake_cupy_array._made, fake_cupy_array.do = looked_made, looked_do
    fake_kernels.ElementwiseKernel._launch = looked_kernel
    try:
        yield found
    finally:
        fake_cupy_array._made, fake_cupy_array.do, fake_kernels.ElementwiseKernel._launch = made, do, kernel

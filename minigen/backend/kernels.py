"""Which kernels serve an array: the fast ones written for NumPy, or the portable ones that every library runs.

Both sets have the same names and signatures. On NumPy the portable set is the slow definition that the tests hold
the fast one against.
"""

from types import SimpleNamespace

import numpy as np

from . import cpu_conv, cpu_elementwise, cpu_matmul, cpu_norm, cpu_pool, optim_kernels, portable
from .arrays import namespace


def _gather(*modules):
    public = {}
    for module in modules:
        public |= {n: f for n, f in vars(module).items() if callable(f) and f.__module__ == module.__name__}
    return SimpleNamespace(**public)


CPU = _gather(cpu_conv, cpu_elementwise, cpu_matmul, cpu_norm, cpu_pool, optim_kernels)
PORTABLE = _gather(portable, optim_kernels)


def kernels(x):
    """The kernels for the array `x`."""
    return CPU if namespace(x) is np else PORTABLE

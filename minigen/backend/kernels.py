"""Which kernels serve an array: the ones written for the CPU or the GPU, or the portable ones that every library runs.

All sets have the same names and signatures. The portable set is the slow definition that the tests hold the fast ones
against; it serves CuPy's arrays where there is no kernel of our own.
"""

import functools
from types import SimpleNamespace

import numpy as np

from . import batches, cpu_conv, cpu_elementwise, cpu_matmul, cpu_norm, cpu_pool, optim_kernels, portable
from . import portable_chains as chains
from .arrays import namespace
from .gpu import batches as gpu_batches
from .gpu import conv as gpu_conv
from .gpu import elementwise as gpu_elementwise
from .gpu import norm as gpu_norm
from .gpu import optim as gpu_optim
from .gpu import pool as gpu_pool
from .gpu import rows as gpu_rows
from .precision import precision, rounded


def _gather(*modules):
    public = {}
    for module in modules:
        public |= {n: f for n, f in vars(module).items() if callable(f) and f.__module__ == module.__name__}
    return SimpleNamespace(**public)


CPU = _gather(chains, cpu_conv, cpu_elementwise, cpu_matmul, cpu_norm, cpu_pool, optim_kernels, batches)
PORTABLE = _gather(portable, chains, optim_kernels, batches)
GPU = SimpleNamespace(**vars(PORTABLE))
_OWN = gpu_batches, gpu_conv, gpu_elementwise, gpu_norm, gpu_optim, gpu_pool, gpu_rows
for _name, _kernel in vars(_gather(*_OWN)).items():
    if _name in vars(PORTABLE):
        setattr(GPU, _name, _kernel)


def _of_rounded(product):
    """A product on the CPU whose two factors are rounded first."""

    @functools.wraps(product)
    def call(a, b, *args, **options):
        if a.dtype == b.dtype == np.float32:
            a, b = rounded(a, precision()), rounded(b, precision())
        return product(a, b, *args, **options)

    return call


PRODUCTS = ("conv2d", "conv2d_x", "conv2d_w", "matmul")
ROUNDED = SimpleNamespace(**vars(CPU) | {name: _of_rounded(getattr(CPU, name)) for name in PRODUCTS})


def kernels(x):
    """The kernels for the array `x`."""
    if namespace(x) is not np:
        return GPU
    return CPU if precision() == "float32" else ROUNDED

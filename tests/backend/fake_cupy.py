"""A strict stand-in for CuPy on the CPU: the GPU code paths run where there is no GPU, and hidden transfers are caught.

Its arrays hold NumPy arrays but are none: they refuse implicit conversion and any mixing with np.ndarray, in operators,
functions, indices and assignments; reductions give arrays of shape (), never scalars. Only names that CuPy 13 has are
there, with the options CuPy has. What it cannot tell: speed, races, real float32 rounding of a GPU; and whether CuPy
itself does what is expected of it here, which tests/real_cupy can: there the real one runs, without values, on no GPU.
"""

import contextlib
import sys
import types
from functools import partial

import numpy as np
from backend import emulator, philox
from backend import fake_cupy_graph as fake_graph
from backend.fake_cupy_array import call, do, ndarray, ufunc
from backend.fake_cupy_graph import CUDARuntimeError

from minigen.backend import arrays
from minigen.backend import kernels as sets
from minigen.backend.gpu import compile, conv, sharing
from minigen.backend.gpu import random as gpu_random
from minigen.backend.special import erf


class RandomFill:
    """ElementwiseKernel where there is no emulator: only those of `gpu.random`, by the NumPy Philox below."""

    def __init__(self, inputs, outputs, operation, name, preamble, after_loop):
        assert outputs.startswith("raw uint64 state"), outputs
        assert "philox" in preamble
        assert "state[1] += (_ind.size() + 3) / 4" in after_loop
        self.fill = {
            "y = normal(state[1], state[0], i);": philox.normal,
            "y = uniform(word(state[1], state[0], i));": philox.uniform,
            "y = uniform(word(state[1], state[0], i)) >= p;": lambda *c, p: philox.uniform(*c) >= p,
            "y = low + (long long)((word(state[1], state[0], i) * span) >> 32);": lambda *c, low, span: (
                low + (philox.words(*c).reshape(-1)[: c[2]] * span >> np.uint64(32)).astype(np.int64)
            ),
        }[operation]
        self.names = [text.split()[1] for text in inputs.split(", ") if text]

    def __call__(self, *values):
        *values, state, out = values
        options = dict(zip(self.names, values, strict=True))
        if out.size:
            do(lambda out, state: self.draw(state, out, options), out._host, state._host)

    def draw(self, state, out, options):
        out[...] = self.fill(int(state[1]), int(state[0]), out.size, **options).reshape(out.shape)
        state[1] += -(-out.size // 4)


UFUNCS = """abs add arctan ceil cos divide equal exp expm1 floor greater isfinite isinf isnan less log log1p log2
    logical_and logical_not logical_or maximum minimum multiply negative power reciprocal sign sin sqrt square subtract
    tanh true_divide"""
FUNCTIONS = """all any arange argmax argmin argsort ascontiguousarray broadcast_to clip concatenate cumsum diag dot
    empty empty_like expand_dims eye flip full full_like linspace matmul max mean meshgrid min moveaxis ones ones_like
    pad prod ravel repeat reshape roll sort squeeze stack std sum take take_along_axis tile transpose var where zeros
    zeros_like"""
CONSTANTS = "bool_ e float16 float32 float64 inf int32 int64 nan newaxis pi uint16 uint32 uint64 uint8"


# KiB of shared memory that a block can ask for
SHARED = {"52": 48, "60": 48, "61": 48, "70": 96, "75": 64, "80": 163, "86": 99, "89": 99, "90": 227}


def module(devices=1, capability="90"):
    """A new module `cupy`, on a machine with so many GPUs of that compute capability."""
    cupy = types.ModuleType("cupy")
    vars(cupy).update({name: ufunc(getattr(np, name)) for name in UFUNCS.split()})
    for name in FUNCTIONS.split():
        setattr(cupy, name, partial(call, getattr(np, name)))
    vars(cupy).update({name: getattr(np, name) for name in CONSTANTS.split()})
    cupy.ndarray, cupy.ElementwiseKernel = ndarray, RandomFill
    if emulator.AVAILABLE:
        from backend import fake_kernels

        fake_kernels.LAUNCHES.clear()
        for name in ("RawModule", "ElementwiseKernel", "ReductionKernel"):
            setattr(cupy, name, getattr(fake_kernels, name))
    # The named way onto the device: a copy; an array that is there already stays.
    on_device = lambda x, dtype: ndarray(fake_graph.to_device(np.array(x, dtype)))
    cupy.asarray = lambda x, dtype=None: call(np.asarray, x, dtype) if isinstance(x, ndarray) else on_device(x, dtype)
    cupy.array = lambda x, dtype=None, copy=True: (
        call(np.array, x, dtype, copy=copy or None) if isinstance(x, ndarray) else on_device(x, dtype)
    )
    cupy.empty = lambda shape, dtype=np.float64: ndarray(fake_graph.empty(shape, dtype))
    cupy.empty_like = lambda x: ndarray(fake_graph.placed(x._host, fill=False))
    cupy.asnumpy = lambda x: x.get()
    as_strided = lambda x, shape, strides: call(np.lib.stride_tricks.as_strided, x, shape, strides)
    cupy.lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=as_strided))
    runtime = types.SimpleNamespace(getDeviceCount=lambda: devices, CUDARuntimeError=CUDARuntimeError)
    attributes = {"MultiProcessorCount": 4, "MaxSharedMemoryPerBlockOptin": SHARED[capability] << 10}
    device = lambda id=0: types.SimpleNamespace(
        id=id, compute_capability=capability, attributes=attributes, synchronize=fake_graph.synchronize
    )
    cupy.cuda = types.SimpleNamespace(runtime=runtime, Device=device)
    fake_graph.install(cupy)
    return cupy


SERVED = conv._served


def forget():
    """Empty the caches of what was made for one GPU."""
    for cached in (compile.kernel, compile._module, conv._launch, sharing.gpu, gpu_random._kernel):
        cached.cache_clear()


@contextlib.contextmanager
def installed(devices=1, capability="90", products="portable"):
    """Inside, `import cupy` finds the stand-in; afterwards everything is as it was, the default device too.

    products: by igemm.cu, "emulated" as on a GPU of that capability; or "portable", which is fast.
    """
    cupy, special = module(devices, capability), types.ModuleType("cupyx.scipy.special")
    special.erf = partial(call, erf)
    modules = {"cupy": cupy, "cupyx": types.ModuleType("cupyx"), "cupyx.scipy": types.ModuleType("cupyx.scipy")}
    modules["cupyx.scipy.special"] = special
    before = {name: sys.modules.get(name, "absent") for name in modules}
    default, namespaces = arrays._default, dict(arrays._namespaces)
    sys.modules.update(modules)
    gpu, served = sets.GPU, conv._served
    conv._served = SERVED if products == "emulated" else lambda *_: False
    forget()
    if not emulator.AVAILABLE:  # nobody runs the kernels in CUDA C++
        sets.GPU = sets.PORTABLE
    try:
        yield cupy
    finally:
        sets.GPU, conv._served = gpu, served
        forget()
        for name, was in before.items():
            if was == "absent":
                del sys.modules[name]
            else:
                sys.modules[name] = was
        arrays._default = default
        arrays._namespaces.clear()
        arrays._namespaces.update(namespaces)

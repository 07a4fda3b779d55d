"""A strict stand-in for CuPy on the CPU: the GPU code paths run where there is no GPU, and hidden transfers are caught.

Its arrays hold NumPy arrays but are none: they refuse implicit conversion and any mixing with np.ndarray, in operators,
functions, indices and assignments; reductions give arrays of shape (), never scalars. Only names that CuPy 13 has are
there, with the options CuPy has. What it cannot tell: speed, races, real float32 rounding of a GPU.
"""

import contextlib
import operator
import sys
import types
from functools import partial, partialmethod

import numpy as np
from backend import emulator
from backend import fake_cupy_graph as fake_graph
from backend.fake_cupy_graph import CUDARuntimeError, capturing, launch, to_host, unowned

from minigen.backend import arrays
from minigen.backend.gpu import random as gpu_random
from minigen.backend.special import erf


class ndarray:
    """A CuPy array that lies in host memory."""

    __array_priority__ = 100
    __hash__ = None

    def __init__(self, array):
        self._host = np.asarray(array)

    shape, dtype, ndim, size, strides, itemsize, nbytes, flags = (
        property(operator.attrgetter(f"_host.{name}"))
        for name in ("shape", "dtype", "ndim", "size", "strides", "itemsize", "nbytes", "flags")
    )
    T = property(lambda self: ndarray(self._host.T))
    data = property(lambda self: types.SimpleNamespace(ptr=self._host.__array_interface__["data"][0]))

    def get(self):
        """The copy to the host, by name."""
        return to_host(self._host).copy()

    def __array__(self, *args, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if method == "__call__" and any(isinstance(x, np.generic) for x in inputs):  # np.float32(2) * array
            return _call(ufunc, *inputs, **options)
        raise TypeError(f"np.{ufunc.__name__} of an array on the GPU: use the function of its namespace.")

    def __array_function__(self, function, kinds, args, options):
        raise TypeError(f"np.{function.__name__} of an array on the GPU: use the function of its namespace.")

    def __getitem__(self, index):
        if any(getattr(p, "dtype", None) == "bool" for p in (index if isinstance(index, tuple) else (index,))):
            to_host(index)  # how many there are decides the shape
        return _call(operator.getitem, self, _Index(index))

    def __setitem__(self, index, value):
        _do(operator.setitem, self._host, _index(index), _host(value))

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(to_host(self._host))

    def __float__(self):
        return float(to_host(self._host))

    def __int__(self):
        return int(to_host(self._host))

    def __dlpack_device__(self):
        return 2, 0  # kDLCUDA

    def __dlpack__(self, **options):
        raise BufferError("CUDA memory: nobody on the host can take it.")

    def item(self):
        return to_host(self._host).item()

    def tolist(self):
        return to_host(self._host).tolist()

    def fill(self, value):
        _do(np.copyto, self._host, _host(value))

    def nonzero(self):
        return _call(np.nonzero, to_host(self))

    def ravel(self, order="C"):
        if order not in "CF":
            raise NotImplementedError(f"ravel(order={order!r})")
        return _call(np.ravel, self, order)


def _host(x):
    """An argument as NumPy takes it; an array that lies on the host is a transfer nobody asked for."""
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, _Index):
        return _index(x.index)
    if isinstance(x, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(x, tuple | list):
        return type(x)(_host(v) for v in x)
    return x


def _index(index):
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(p, np.ndarray) for p in parts):
        raise IndexError("an index that lies on the host: move it by name first")
    return tuple(_host(p) for p in parts)


class _Index:
    """An index, told apart from other arguments: tuples stay as they are, arrays of the host are refused."""

    def __init__(self, index):
        self.index = index


BLAS = {np.matmul, np.dot, operator.matmul}


def _call(function, *args, **options):
    """A NumPy function on arrays of ours; every array in the result is one of ours too.

    What it makes lies in memory of the pool; what is a view of an argument stays one.
    """
    if function in BLAS:
        fake_graph.refuse_blas()
    if (isinstance(function, np.ufunc) or function in OPERATORS) and options.get("out") is None:
        function = _row_major(function)
    hosts, named = [_host(a) for a in args], {k: _host(v) for k, v in options.items()}
    if options.get("out") is not None:
        _do(lambda hosts, named: function(*hosts, **named), hosts, named)
        return options["out"]
    if capturing():
        with np.errstate(all="ignore"):  # what lies in memory now does not matter: it is run for shapes and dtypes
            out = function(*hosts, **named)
        hosts, named = _unowned(hosts), _unowned(named)
        again = lambda: function(*hosts, **named)
    else:
        fake_graph.current.stream.issue()
        out = again = function(*hosts, **named)
    if isinstance(out, tuple | list):
        part = lambda i: (lambda: again()[i]) if capturing() else None
        return type(out)(_made(o, part(i), hosts) for i, o in enumerate(out))
    return _made(out, again, hosts) if isinstance(out, np.ndarray | np.generic) else out


def _row_major(function):
    """CuPy's elementwise results lie in row-major order, whatever the order of the arguments; NumPy's follow them."""
    return lambda *args, **options: np.asarray(function(*args, **options), order="C")


def _made(out, again, hosts):
    """A result as an array of ours; `again` computes it once more, when a graph is launched."""
    out = np.asarray(out)
    if any(np.may_share_memory(out, h) for h in _arrays(hosts)):
        return ndarray(out)
    return ndarray(fake_graph.filled(again, out) if capturing() else fake_graph.placed(out))


def _arrays(x):
    """All NumPy arrays in nested tuples and lists."""
    return (
        [x] if isinstance(x, np.ndarray) else [a for v in x for a in _arrays(v)] if isinstance(x, tuple | list) else []
    )


def _unowned(x):
    """Nested arguments as a graph holds them."""
    if isinstance(x, dict):
        return {k: _unowned(v) for k, v in x.items()}
    return unowned(x) if isinstance(x, np.ndarray) else type(x)(map(_unowned, x)) if type(x) in (tuple, list) else x


def _do(function, *hosts):
    """A NumPy function that writes into its arguments."""
    if capturing():
        hosts = _unowned(hosts)
    launch(lambda: function(*hosts))


def _operator(name):
    function = getattr(operator, name.replace("__r", "__") if name in REFLECTED else name)

    def method(self, other):
        if getattr(other, "__array_ufunc__", 0) is None:  # a Tensor: its own operators are asked next
            return NotImplemented
        left, right = (other, self) if name in REFLECTED else (self, other)
        return _call(function, left, right)

    return method


def _in_place(name):
    function = getattr(operator, name)

    def method(self, other):
        _do(function, self._host if self._host.ndim else self._host[...], _host(other))
        return self

    return method


def _method(self, name, *args, **options):
    if name == "dot":
        fake_graph.refuse_blas()
    return _call(lambda host, *args, **options: getattr(host, name)(*args, **options), self, *args, **options)


ARITHMETIC = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"]
REFLECTED = {f"__r{name}__" for name in ARITHMETIC}
COMPARISONS, UNARY = ("lt", "le", "gt", "ge", "eq", "ne"), ("neg", "abs", "invert")
OPERATORS = {getattr(operator, f"__{name}__") for name in (*ARITHMETIC, *COMPARISONS, *UNARY)} | {np.where}
for _name in [f"__{n}__" for n in (*ARITHMETIC, *COMPARISONS)] + sorted(REFLECTED):
    setattr(ndarray, _name, _operator(_name))
for _name in ARITHMETIC[:7]:
    setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in UNARY:
    setattr(ndarray, f"__{_name}__", partialmethod(lambda self, f: _call(f, self), getattr(operator, _name)))
for _name in (
    *("sum", "mean", "var", "std", "max", "min", "prod", "argmax", "argmin", "any", "all", "cumsum", "dot", "clip"),
    *("reshape", "transpose", "swapaxes", "squeeze", "flatten", "astype", "copy", "take", "view"),
):
    setattr(ndarray, _name, partialmethod(_method, _name))


class ufunc:
    """A function element by element, with the `at` that CuPy has for some."""

    def __init__(self, function):
        self.function = function
        if function in (np.add, np.subtract, np.maximum, np.minimum):
            self.at = lambda a, index, b: _do(function.at, a._host, _index(index), _host(b))

    def __call__(self, *args, **options):
        if not options.keys() <= {"out", "dtype", "casting"}:
            raise TypeError(f"{self.function.__name__}: wrong arguments {sorted(options)}")
        if not any(isinstance(a, ndarray) for a in args):
            raise TypeError(f"{self.function.__name__}: expected an array on the GPU; got {[type(a) for a in args]}")
        return _call(self.function, *args, **options)


class RandomFill:
    """ElementwiseKernel where there is no emulator: only those of `gpu.random`, by the NumPy Philox below."""

    def __init__(self, inputs, output, operation, name, preamble):
        assert inputs.startswith("raw uint64 state"), inputs
        assert "philox" in preamble
        self.fill = {
            "y = normal(state[1], state[0], i);": normal,
            "y = uniform(word(state[1], state[0], i));": uniform,
            "y = uniform(word(state[1], state[0], i)) >= p;": lambda *c, p: uniform(*c) >= p,
            "y = low + (long long)((word(state[1], state[0], i) * span) >> 32);": lambda *c, low, span: (
                low + (words(*c).reshape(-1)[: c[2]] * span >> np.uint64(32)).astype(np.int64)
            ),
        }[operation]
        self.names = [text.split()[1] for text in inputs.split(", ")[1:]]

    def __call__(self, state, *values):
        *values, out = values
        options = dict(zip(self.names, values, strict=True))
        if out.size:
            _do(lambda out, s: np.copyto(out, self.drawn(s, out, options)), out._host, state._host)

    def drawn(self, state, out, options):
        return self.fill(int(state[1]), int(state[0]), out.size, **options).reshape(out.shape)


def philox4x32(counter, key, rounds=10):
    """Philox4x32 of arrays of four counter words and two key words (uint32 in uint64): four output words.

    Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011.
    """
    mask, (c0, c1, c2, c3), (k0, k1) = 0xFFFFFFFF, [np.uint64(c) for c in counter], key
    for _ in range(rounds):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ np.uint64(k0), p1 & mask, (p0 >> 32) ^ c3 ^ np.uint64(k1), p0 & mask
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c0, c1, c2, c3


def words(first, key, n):
    """(⌈n/4⌉, 4) words of the counters first, first + 1, ... of 64 bits, for a key of 64 bits."""
    counters = np.uint64(first) + np.arange(-(-n // 4), dtype=np.uint64)
    zero = np.zeros_like(counters)
    counter = counters & np.uint64(0xFFFFFFFF), counters >> np.uint64(32), zero, zero
    return np.stack(philox4x32(counter, (key & 0xFFFFFFFF, key >> 32)), axis=1)


def uniform(first, key, n):
    return ((words(first, key, n).reshape(-1)[:n] >> np.uint64(8)) * 2.0**-24).astype(np.float32)


def normal(first, key, n):
    """Box and Muller in float64: an even and an odd neighbour share radius and angle."""
    top = (words(first, key, n).reshape(-1, 2) >> np.uint64(8)).astype(np.float64)
    radius, angle = np.sqrt(-2 * np.log((top[:, 0] + 1) * 2.0**-24)), 2 * np.pi * top[:, 1] * 2.0**-24
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:n].astype(np.float32)


UFUNCS = """abs add arctan ceil cos divide equal exp expm1 floor greater isfinite isinf isnan less log log1p log2
    logical_and logical_not logical_or maximum minimum multiply negative power reciprocal sign sin sqrt square subtract
    tanh true_divide"""
FUNCTIONS = """all any arange argmax argmin argsort ascontiguousarray broadcast_to clip concatenate cumsum diag dot
    empty empty_like expand_dims eye flip full full_like linspace matmul max mean meshgrid min moveaxis ones ones_like
    pad prod ravel repeat reshape roll sort squeeze stack std sum take take_along_axis tile transpose var where zeros
    zeros_like"""
CONSTANTS = "bool_ e float16 float32 float64 inf int32 int64 nan newaxis pi uint16 uint32 uint64 uint8"


def module(devices=1, capability="70"):
    """A new module `cupy`, on a machine with so many GPUs of that compute capability.

    7.0 has no tensor cores that igemm.cu could use: products are the portable ones, which is fast. Ask for "90" to
    have them emulated.
    """
    cupy = types.ModuleType("cupy")
    vars(cupy).update({name: ufunc(getattr(np, name)) for name in UFUNCS.split()})
    for name in FUNCTIONS.split():
        setattr(cupy, name, partial(_call, getattr(np, name)))
    vars(cupy).update({name: getattr(np, name) for name in CONSTANTS.split()})
    cupy.ndarray, cupy.ElementwiseKernel = ndarray, RandomFill
    if emulator.AVAILABLE:
        from backend import fake_kernels

        fake_kernels.LAUNCHES.clear()
        for name in ("RawModule", "ElementwiseKernel", "ReductionKernel"):
            setattr(cupy, name, getattr(fake_kernels, name))
    # The named way onto the device: a copy; an array that is there already stays.
    on_device = lambda x, dtype: ndarray(fake_graph.to_device(np.array(x, dtype)))
    cupy.asarray = lambda x, dtype=None: _call(np.asarray, x, dtype) if isinstance(x, ndarray) else on_device(x, dtype)
    cupy.array = lambda x, dtype=None, copy=True: (
        _call(np.array, x, dtype, copy=copy or None) if isinstance(x, ndarray) else on_device(x, dtype)
    )
    cupy.empty = lambda shape, dtype=np.float64: ndarray(fake_graph.empty(shape, dtype))
    cupy.empty_like = lambda x: ndarray(fake_graph.placed(x._host, fill=False))
    cupy.asnumpy = lambda x: x.get()
    as_strided = lambda x, shape, strides: _call(np.lib.stride_tricks.as_strided, x, shape, strides)
    cupy.lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=as_strided))
    runtime = types.SimpleNamespace(getDeviceCount=lambda: devices, CUDARuntimeError=CUDARuntimeError)
    attributes = {"MultiProcessorCount": 4}
    device = lambda id=0: types.SimpleNamespace(
        id=id, compute_capability=capability, attributes=attributes, synchronize=fake_graph.synchronize
    )
    cupy.cuda = types.SimpleNamespace(runtime=runtime, Device=device)
    fake_graph.install(cupy)
    return cupy


@contextlib.contextmanager
def installed(devices=1, capability="70"):
    """Inside, `import cupy` finds the stand-in; afterwards everything is as it was, the default device too."""
    cupy, special = module(devices, capability), types.ModuleType("cupyx.scipy.special")
    special.erf = lambda x: ndarray(erf(x._host))
    modules = {"cupy": cupy, "cupyx": types.ModuleType("cupyx"), "cupyx.scipy": types.ModuleType("cupyx.scipy")}
    modules["cupyx.scipy.special"] = special
    before = {name: sys.modules.get(name, "absent") for name in modules}
    default, namespaces = arrays._default, dict(arrays._namespaces)
    sys.modules.update(modules)
    gpu_random._kernel.cache_clear()
    try:
        yield cupy
    finally:
        for name, was in before.items():
            if was == "absent":
                del sys.modules[name]
            else:
                sys.modules[name] = was
        arrays._default = default
        arrays._namespaces.clear()
        arrays._namespaces.update(namespaces)
        gpu_random._kernel.cache_clear()

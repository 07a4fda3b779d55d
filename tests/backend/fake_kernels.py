"""CuPy's ways to CUDA C++ (RawModule, ElementwiseKernel, ReductionKernel) on the emulator, for the stand-in of CuPy.

Stricter than CuPy where CuPy would pass wrong bytes on: each argument is checked against the kernel's signature, each
launch against the limits of the GPU.
"""

import math
import sys
from collections import Counter

import numpy as np
from backend import fake_cupy_graph as fake_graph
from backend.emulator import EmulatorError, module
from backend.fake_cupy_array import ndarray
from backend.fake_cupy_graph import launch, unowned

STATIC_LIMIT = 48 << 10
LAUNCHES = Counter()  # how often each kernel was launched since the stand-in was installed


def device():
    """The GPU of the stand-in."""
    return sys.modules["cupy"].cuda.Device()


def architecture():
    return int(device().compute_capability)


class RawModule:
    """CUDA source; its kernels (extern "C") by name."""

    def __init__(self, code=None, *, options=()):
        if not isinstance(code, str) or not isinstance(options, tuple):
            raise TypeError(f"RawModule: expected code: str, options: tuple; got {type(code)}, {type(options)}")
        self.code, self.options = code, options

    def get_function(self, name):
        fake_graph.needs_no_capture()  # CuPy's capture may load a module, but compiling takes a minute
        built = module(self.code, self.options, architecture())  # CuPy compiles at the first use, too
        if name not in built.parameters:
            known = ", ".join(built.parameters)
            raise EmulatorError(f'get_function: no kernel extern "C" __global__ {name}; there are {known}')
        return RawKernel(built, name)


class RawKernel:
    """One kernel: `kernel(grid, block, args, shared_mem=0)`."""

    def __init__(self, module, name):
        self._module, self.name, self.max_threads_per_block = module, name, module.most_threads(name)
        self._most_shared = STATIC_LIMIT - module.static_shared

    @property
    def max_dynamic_shared_size_bytes(self):
        return self._most_shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, n):
        limit = device().attributes["MaxSharedMemoryPerBlockOptin"]
        if n + self._module.static_shared > limit:
            raise EmulatorError(f"{self.name}: {n} bytes of dynamic shared memory; a block has {limit}.")
        self._most_shared = n

    def __call__(self, grid, block, args, *, shared_mem=0):
        self._check_size(grid, block, shared_mem)
        parameters = self._module.parameters[self.name]
        if len(args) != len(parameters):
            names = ", ".join(p.text for p in parameters)
            raise EmulatorError(f"{self.name}({names}): got {len(args)} arguments.")
        LAUNCHES[self.name] += 1
        args = [self._argument(p, a) for p, a in zip(parameters, args)]
        launch(lambda: self._module.launch(self.name, grid, block, args, shared_mem))

    def _check_size(self, grid, block, shared):
        if not (isinstance(grid, tuple) and isinstance(block, tuple) and 1 <= len(grid) <= 3 and 1 <= len(block) <= 3):
            raise TypeError(f"{self.name}: grid and block are tuples of up to three ints; got {grid}, {block}.")
        if min(*grid, *block) < 1:
            raise EmulatorError(f"{self.name}: an empty grid {grid} or block {block}.")
        limits = zip((*grid, *block), ((2**31 - 1, 65535, 65535)[: len(grid)] + (1024, 1024, 64)[: len(block)]))
        if math.prod(block) > self.max_threads_per_block or any(n > most for n, most in limits):
            raise EmulatorError(f"{self.name}: grid {grid} or block {block} is larger than CUDA or its bounds allow.")
        if shared > self._most_shared:
            raise EmulatorError(
                f"{self.name}: {shared} bytes of dynamic shared memory, {self._most_shared} allowed: set "
                "max_dynamic_shared_size_bytes."
            )

    def _argument(self, parameter, value):
        """An array as the emulator takes it, null, or a scalar whose type is exactly the parameter's."""
        wrong = f"{self.name}: parameter '{parameter.text}' got"
        if parameter.pointer:
            if type(value) is int and value == 0:
                return 0
            if not isinstance(value, ndarray):
                raise EmulatorError(f"{wrong} {type(value).__name__}, not an array on the device (or 0).")
            if parameter.dtype not in (None, value.dtype):
                raise EmulatorError(f"{wrong} an array of {value.dtype}.")
            return unowned(value._host)
        number = {bool: np.bool_, int: np.int64, float: np.float64}.get(type(value), lambda v: v)(value)
        if not isinstance(number, np.generic) or number.dtype != parameter.dtype:
            raise EmulatorError(f"{wrong} {type(value).__name__} (a Python int is int64, a Python float float64).")
        return number


# ------------------------------------------------------------------------------------- elementwise and reductions

RAW = r"""
template <class T> struct CArray {                       // a `raw` parameter: flat, C order, bounds checked
    T* data; long long n;
    long long size() const { return n; }
    T& operator[](long long i) const {
        if (i < 0 || i >= n) emu::fail("raw[%lld] of %lld elements", i, n);
        return data[i];
    }
};
struct Index { long long n; long long size() const { return n; } };
"""
C_TYPES = {"bool": "bool", "float32": "float", "float64": "double", "int8": "signed char", "uint8": "unsigned char"}
C_TYPES |= {"int16": "short", "uint16": "unsigned short", "int32": "int", "uint32": "unsigned int"}
C_TYPES |= {"int64": "long long", "uint64": "unsigned long long"}


class Argument:
    """`raw float32 x`, `T y`: one parameter of an elementwise kernel."""

    def __init__(self, text):
        *raw, self.type, self.name = text.split()
        if raw not in ([], ["raw"]) or self.name in ("n", "i") or self.name.startswith("_"):
            raise ValueError(f"bad parameter {text!r}")
        self.raw = bool(raw)


def _arguments(text):
    return [Argument(t) for t in text.split(",") if t.strip()]


def _types(outs, ins, out_arrays, in_values):
    """The dtype of each letter, and of each parameter; arrays must have exactly the declared type."""
    letters = {}
    arrays = [*zip(outs, out_arrays), *((p, v) for p, v in zip(ins, in_values) if isinstance(v, ndarray))]
    for p, a in arrays:
        wanted = letters.setdefault(p.type, a.dtype) if len(p.type) == 1 else np.dtype(p.type)
        if a.dtype != wanted:
            raise TypeError(f"Type is mismatched. {p.name} {a.dtype} {wanted}")
    for p, v in zip(ins, in_values):
        if len(p.type) == 1 and p.type not in letters:
            letters[p.type] = np.asarray(v).dtype
    return letters, lambda p: letters[p.type] if len(p.type) == 1 else np.dtype(p.type)


class ElementwiseKernel:
    """One expression for each element: CuPy's, with broadcasting, generic types (T) and raw parameters."""

    def __init__(self, in_params, out_params, operation, name="kernel", reduce_dims=True, preamble="", no_return=False,
                 return_tuple=False, *, options=(), loop_prep="", after_loop=""):  # fmt: skip
        self.ins, self.outs, self.name, self.options = _arguments(in_params), _arguments(out_params), name, options
        self.operation, self.preamble, self.prep, self.after = operation, preamble, loop_prep, after_loop
        self.no_return, self.return_tuple = no_return, return_tuple

    def __call__(self, *args, size=None, block_size=128):
        if len(args) not in (len(self.ins), len(self.ins) + len(self.outs)):
            raise TypeError(f"Wrong number of arguments for {self.name!r}: {len(args)}")
        values, given = args[: len(self.ins)], args[len(self.ins) :]
        for value in args:
            if isinstance(value, np.ndarray) or not isinstance(value, ndarray | np.generic | bool | int | float):
                raise TypeError(f"Unsupported type {type(value)}")
        if not all(isinstance(a, ndarray) for a in given):
            raise TypeError("Output arguments type must be cupy.ndarray")
        letters, dtype = _types(self.outs, self.ins, given, values)
        shape = self._shape(values, given, size)
        if not given and any(p.raw for p in self.outs):
            raise ValueError("Output array size is Undecided")
        outs = given or tuple(ndarray(fake_graph.empty(shape, dtype(p))) for p in self.outs)
        if math.prod(shape):
            pairs = [*zip(self.ins, _unowned(values)), *zip(self.outs, _unowned(outs))]
            launch(lambda: self._launch(letters, dtype, shape, pairs, block_size))
        if self.no_return:
            return None
        return outs[0] if len(outs) == 1 and not self.return_tuple else tuple(outs)

    def _shape(self, values, given, size):
        whole = [*zip(self.ins, values), *zip(self.outs, given)]
        shapes = [a.shape for p, a in whole if not p.raw and isinstance(a, ndarray)]
        if (size is None) != bool(shapes):
            raise ValueError("Loop size is undecided" if size is None else "Specified 'size' can be used only if all of"
                             " the ndarray are 'raw'.")  # fmt: skip
        shape = (size,) if size is not None else np.broadcast_shapes(*shapes)
        if any(a.shape != shape for p, a in zip(self.outs, given) if not p.raw):
            raise ValueError("Out shape is mismatched")
        return shape

    def _launch(self, letters, dtype, shape, pairs, block_size):
        """A kernel with plain pointers to C-ordered copies; what it wrote is copied back."""
        declared, inner, args, back = [], [], [np.int64(math.prod(shape))], []
        for p, value in pairs:
            c, output = C_TYPES[dtype(p).name], p in self.outs
            if not isinstance(value, ndarray):
                declared.append(f"{c} {p.name}")
                args.append(dtype(p).type(value))
                continue
            host = value._host if p.raw or output else np.broadcast_to(value._host, shape)
            # ours alone: what the kernel writes comes back below, an input that it writes does not
            copy = np.array(host, order="C")
            back += [(host, copy)] if output or p.raw else []
            const = "" if output or p.raw else "const "
            declared.append(f"{const}{c}* _p_{p.name}, long long _n_{p.name}")
            args += [copy, np.int64(copy.size)]
            if p.raw:
                inner.append(f"const CArray<{c}> {p.name} = {{_p_{p.name}, _n_{p.name}}};")
            else:
                inner.append(f"{const}{c}& {p.name} = _p_{p.name}[i];")
        prep = [line for line in inner if line.startswith("const CArray")]
        letters = "".join(f"typedef {C_TYPES[d.name]} {t};\n" for t, d in letters.items())
        source = f"""{RAW}{letters}{self.preamble}
extern "C" __global__ void {self.name}(long long _n, {", ".join(declared)}) {{
    Index _ind = {{_n}};
    {" ".join(prep)}
    {self.prep};
    long long _step = gridDim.x * (long long)blockDim.x;
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < _n; i += _step) {{
        {" ".join(line for line in inner if line not in prep)}
        {self.operation};
    }}
    {self.after};
}}
"""
        LAUNCHES[self.name] += 1
        grid = min(-(-math.prod(shape) // block_size), 64)
        module(source, self.options, architecture()).launch(self.name, (grid,), (block_size,), args)
        for host, copy in back:
            if host.flags.writeable:
                host[...] = copy


def _unowned(values):
    """Arguments as a graph holds them."""
    return [ndarray(unowned(v._host)) if isinstance(v, ndarray) else v for v in values]


class ReductionKernel:
    """A sum-like loop over some axes: CuPy's, without raw parameters."""

    def __init__(self, in_params, out_params, map_expr, reduce_expr, post_map_expr, identity, name="reduce_kernel",
                 reduce_type=None, reduce_dims=True, preamble="", options=()):  # fmt: skip
        self.ins, self.outs, self.name, self.options = _arguments(in_params), _arguments(out_params), name, options
        self.map, self.reduce, self.post, self.identity = map_expr, reduce_expr, post_map_expr, identity
        self.type, self.preamble = reduce_type, preamble
        if len(self.outs) != 1 or any(p.raw for p in self.ins):
            raise NotImplementedError("ReductionKernel: one output, no raw parameters")

    def __call__(self, *args, out=None, axis=None, keepdims=False):
        letters, dtype = _types(self.outs if out is not None else [], self.ins, [out] if out is not None else [], args)
        arrays = [a for a in args if isinstance(a, ndarray)]
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
        axes = {a % len(shape) for a in axes}
        kept = [a for a in range(len(shape)) if a not in axes]
        full = tuple(1 if a in axes else n for a, n in enumerate(shape))
        final = full if keepdims else tuple(shape[a] for a in kept)
        if out is not None and out.shape != final:
            raise ValueError("Out shape is mismatched")
        out = ndarray(fake_graph.empty(final, dtype(self.outs[0]))) if out is None else out
        ins, (target,) = _unowned(args), _unowned([out])
        launch(lambda: self._launch(letters, dtype, shape, (kept, axes), ins, target._host))
        return out

    def _launch(self, letters, dtype, shape, places, args, out):
        """Each output element by a thread of its own, in order."""
        kept, axes = places
        n_out, n_in = math.prod(shape[a] for a in kept), math.prod(shape[a] for a in axes)
        declared, inner, values = [], [], []
        for p, value in zip(self.ins, args):
            c = C_TYPES[dtype(p).name]
            if isinstance(value, ndarray):
                copy = np.array(np.broadcast_to(value._host, shape).transpose(*kept, *sorted(axes)), order="C")
                declared.append(f"const {c}* _p_{p.name}")
                inner.append(f"const {c} {p.name} = _p_{p.name}[_o * _m + _j];")
                values.append(copy)
            else:
                declared.append(f"{c} {p.name}")
                values.append(dtype(p).type(value))
        target = self.outs[0]
        c, type = C_TYPES[dtype(target).name], self.type or C_TYPES[dtype(target).name]
        result = np.empty((n_out,), dtype(target))
        letters = "".join(f"typedef {C_TYPES[d.name]} {t};\n" for t, d in letters.items())
        source = f"""{letters}{self.preamble}
extern "C" __global__ void {self.name}(long long _m, {"".join(d + ", " for d in declared)}{c}* _p_{target.name}) {{
    long long _o = blockIdx.x;
    typedef {type} _type;
    _type _sum = _type({self.identity});
    auto _add = [](_type a, _type b) {{ return _type({self.reduce}); }};
    for (long long _j = 0; _j < _m; _j++) {{
        {" ".join(inner)}
        _sum = _add(_sum, _type({self.map}));
    }}
    _type a = _sum;
    {c}& {target.name} = _p_{target.name}[_o];
    {self.post};
}}
"""
        LAUNCHES[self.name] += 1
        if n_out:
            values = [np.int64(n_in), *values, result]
            module(source, self.options, architecture()).launch(self.name, (n_out,), (1,), values)
        out[...] = result.reshape(out.shape)

"""The arrays of the stand-in for CuPy, their operators and functions element by element."""

import operator
import types
from functools import partialmethod

import numpy as np
from backend import fake_cupy_graph as fake_graph
from backend.fake_cupy_graph import capturing, from_host, launch, to_host, unowned


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
            return call(ufunc, *inputs, **options)
        raise TypeError(f"np.{ufunc.__name__} of an array on the GPU: use the function of its namespace.")

    def __array_function__(self, function, kinds, args, options):
        raise TypeError(f"np.{function.__name__} of an array on the GPU: use the function of its namespace.")

    def __getitem__(self, index):
        if any(getattr(p, "dtype", None) == "bool" for p in (index if isinstance(index, tuple) else (index,))):
            to_host(index)  # how many there are decides the shape
        return call(operator.getitem, self, _Index(index))

    def __setitem__(self, index, value):
        do(operator.setitem, self._host, _index(index), _host(value))

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
        do(np.copyto, self._host, _host(value))

    def nonzero(self):
        return call(np.nonzero, to_host(self))

    def ravel(self, order="C"):
        if order not in "CF":
            raise NotImplementedError(f"ravel(order={order!r})")
        return call(np.ravel, self, order)


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
    if any(isinstance(p, list) for p in parts):
        from_host()  # CuPy makes an array of it
    parts = tuple(_host(p) for p in parts)
    return parts if any(p is Ellipsis for p in parts) else (*parts, ...)  # one element too is a view, of shape ()


class _Index:
    """An index, told apart from other arguments: tuples stay as they are, arrays of the host are refused."""

    def __init__(self, index):
        self.index = index


BLAS, TABLES = {np.matmul, np.dot, operator.matmul}, {np.concatenate, np.stack}


def call(function, *args, **options):
    """A NumPy function on arrays of ours; every array in the result is one of ours too.

    What it makes lies in memory of the pool; what is a view of an argument stays one.
    """
    if function in BLAS:
        fake_graph.refuse_blas()
    if (function in TABLES and len(args[0]) > 8) or (function is np.repeat and isinstance(args[1], list)):
        from_host()  # a table of addresses, of counts
    kept = function in KEPT
    hosts, named = [_host(a) for a in args], {k: _host(v) for k, v in options.items()}
    if options.get("out") is not None:
        do(lambda hosts, named: function(*hosts, **named), hosts, named)
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
        return type(out)(_made(o, part(i), hosts, kept) for i, o in enumerate(out))
    return _made(out, again, hosts, kept) if isinstance(out, np.ndarray | np.generic) else out


def _made(out, again, hosts, kept):
    """A result as an array of ours; `again` computes it once more, when a graph is launched.

    New arrays of CuPy's lie in row-major order, whatever the order of the arguments, but for those of KEPT functions;
    NumPy's follow the arguments.
    """
    out = np.asarray(out)
    if any(np.may_share_memory(out, h) for h in _arrays(hosts)):
        return ndarray(out)
    out = out if kept else np.asarray(out, order="C")
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


def do(function, *hosts):
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
        return call(function, left, right)

    return method


def _in_place(name):
    function = getattr(operator, name)

    def method(self, other):
        do(function, self._host if self._host.ndim else self._host[...], _host(other))
        return self

    return method


def _method(self, name, *args, **options):
    if name == "dot":
        fake_graph.refuse_blas()
    return call(METHODS[name], self, *args, **options)


def _of_host(name):
    return lambda host, *args, **options: getattr(host, name)(*args, **options)


ARITHMETIC = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"]
REFLECTED = {f"__r{name}__" for name in ARITHMETIC}
COMPARISONS, UNARY = ("lt", "le", "gt", "ge", "eq", "ne"), ("neg", "abs", "invert")
for _name in [f"__{n}__" for n in (*ARITHMETIC, *COMPARISONS)] + sorted(REFLECTED):
    setattr(ndarray, _name, _operator(_name))
for _name in ARITHMETIC[:7]:
    setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in UNARY:
    setattr(ndarray, f"__{_name}__", partialmethod(lambda self, f: call(f, self), getattr(operator, _name)))
METHODS = """sum mean var std max min prod argmax argmin any all cumsum dot clip
    reshape transpose swapaxes squeeze flatten astype copy take view"""
METHODS = {_name: _of_host(_name) for _name in METHODS.split()}
for _name in METHODS:
    setattr(ndarray, _name, partialmethod(_method, _name))
KEPT = {np.array, np.zeros_like, np.ones_like, np.full_like, np.cumsum, np.roll}  # results in the order of the argument
KEPT |= {METHODS["astype"], METHODS["cumsum"]}


AT = dict.fromkeys((np.maximum, np.minimum), "int32 float32 float64 uint32 uint64")  # of CuPy 13; 14 knows int64 too
AT |= {np.add: "int32 float16 float32 float64 uint32 uint64", np.subtract: "int32 uint32"}


class ufunc:
    """A function element by element, with the `at` that CuPy has for some."""

    def __init__(self, function):
        self.function = function
        if function in AT:
            self.at = self._at

    def _at(self, a, index, b):
        if a.dtype.name not in AT[self.function].split():
            raise TypeError(f"cupy.{self.function.__name__}.at only supports {AT[self.function]} as data type")
        do(self.function.at, a._host, _index(index), _host(b))

    def __call__(self, *args, **options):
        if not options.keys() <= {"out", "dtype", "casting"}:
            raise TypeError(f"{self.function.__name__}: wrong arguments {sorted(options)}")
        if not any(isinstance(a, ndarray) for a in args):
            raise TypeError(f"{self.function.__name__}: expected an array on the GPU; got {[type(a) for a in args]}")
        return call(self.function, *args, **options)

"""Which library an array belongs to, and which library makes the next one.

Both libraries live in one process. An operation never asks for "the" backend: it asks its own arguments, through
`namespace(x)`. The only global state is the library on which *new* arrays are created, set by `use`.
"""

import sys

import numpy as np

from .gpu.driver import NOT_INSTALLED, try_cupy

# CuPy is imported when it is first asked for; its array type is added then. A dict lookup by type costs 40 ns.
_namespaces = {np.ndarray: np, **dict.fromkeys(np.sctypeDict.values(), np)}
_waiting = []  # what is to be done when it is imported: see `once_on_gpu`
_default = np

INSTALL_CUPY = """\
use("cupy"): CuPy cannot be used here: {reason}.
`python -m minigen.doctor` finds out what is missing, and what to install.
To go on without a GPU: minigen.use("numpy"), or --backend numpy on the command line."""


class BackendError(RuntimeError):
    """The array library that was asked for cannot be used on this machine; the message says what to do."""


class NotInstalled(BackendError):
    """It is not installed at all, which is no fault."""


def namespace(x):
    """The module whose functions work on the array `x`: `numpy` or `cupy`.

    >>> namespace(np.zeros(3)).__name__
    'numpy'
    """
    try:
        return _namespaces[type(x)]
    except KeyError:
        return _namespace_of_unusual_type(x)


def _namespace_of_unusual_type(x):
    if isinstance(x, np.ndarray | np.generic):  # np.memmap and other subclasses
        return np
    if _is_cupy(x):  # an array that the user made before use("cupy")
        return _first_use(type(x))
    raise TypeError(
        f"expected an array or a Tensor; got {type(x).__module__}.{type(x).__qualname__}. "
        f"Make one with minigen.tensor(...)."
    )


def use(name):
    """Choose the library on which new arrays are created; returns its module.

    name: "numpy" (CPU), "cupy" (GPU), or "auto" (CuPy where it works, else NumPy).
    Arrays that exist already stay where they are; move them with `asarray` and `to_numpy`.
    Raises BackendError, which says what to install, where "cupy" cannot be used.
    """
    global _default
    if name == "numpy":
        _default = np
    elif name == "cupy":
        _default = _import_cupy()
    elif name == "auto":
        try:
            _default = _import_cupy()
        except BackendError:
            _default = np
    else:
        raise ValueError(f'use({name!r}): expected "numpy", "cupy" or "auto".')
    return _default


def _import_cupy():
    trouble = try_cupy()
    if trouble:
        raise (NotInstalled if trouble == NOT_INSTALLED else BackendError)(INSTALL_CUPY.format(reason=trouble))
    return _first_use(sys.modules["cupy"].ndarray)


def _first_use(ndarray):
    """Take up CuPy's type of arrays, and do what waited for it; returns CuPy."""
    _namespaces[ndarray] = sys.modules["cupy"]
    while _waiting:
        _waiting.pop()()
    return sys.modules["cupy"]


def once_on_gpu(do):
    """Call `do()` when CuPy is used for the first time, which may be never: where there is no GPU it costs nothing."""
    if len(set(_namespaces.values())) > 1:
        do()
    else:
        _waiting.append(do)


def default():
    """The module on which new arrays are created: `numpy`, or `cupy` after `use("cupy")`."""
    return _default


def asarray(x, dtype=None):
    """`x` as an array of the default library; this is the named way onto the GPU.

    Python numbers, lists and ranges become float32 where they hold floats; arrays keep their dtype, and on their own
    device their memory. Arrays of other libraries are taken over by DLPack. Raises TypeError for what holds no numbers.
    """
    if not isinstance(x, np.ndarray | np.generic) and not _is_cupy(x):
        x = _from_outside(x, dtype)
    if _default is np and _is_cupy(x):
        x = x.get()
    return _default.asarray(x, dtype=dtype)


def _from_outside(x, dtype):
    """Python's numbers and sequences, and arrays of other libraries, as an array of NumPy (or CuPy, where it lies)."""
    if hasattr(x, "__dlpack__"):
        on_host = x.__dlpack_device__()[0] == 1  # kDLCPU
        return (np if on_host else _import_cupy()).from_dlpack(x)
    array = np.asarray(x)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"expected numbers, a sequence of numbers of one length each, or an array; got {x!r:.80}.")
    return (
        array.astype(np.float32) if array.dtype == np.float64 and dtype is None and not hasattr(x, "dtype") else array
    )


def _is_cupy(x):
    cupy = sys.modules.get("cupy")  # no array of CuPy's exists where nobody has imported it
    return cupy is not None and isinstance(x, cupy.ndarray)


def to_numpy(x):
    """An array or Tensor as a NumPy array; this is the named way back from the GPU. On the CPU nothing is copied."""
    if _is_cupy(x):
        return x.get()
    return x.numpy() if hasattr(x, "numpy") else np.asarray(x)


def synchronize():
    """Wait until the device has done what it was asked for. Nothing to wait for on the CPU."""
    if _default is not np:
        _default.cuda.Device().synchronize()

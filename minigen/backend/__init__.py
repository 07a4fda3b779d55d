"""Arrays: which library, which device, threads, random numbers, fast kernels. Knows nothing of autograd."""

from .arrays import BackendError, NotInstalled, asarray, default, namespace, synchronize, to_numpy, use
from .precision import set_precision
from .random import Generator
from .threads import get_threads, set_threads

__all__ = [
    "BackendError",
    "Generator",
    "NotInstalled",
    "asarray",
    "default",
    "get_threads",
    "namespace",
    "set_precision",
    "set_threads",
    "synchronize",
    "to_numpy",
    "use",
]

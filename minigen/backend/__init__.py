"""Arrays: which library, which device, threads, random numbers, fast kernels. Knows nothing of autograd."""

from .arrays import BackendError, asarray, default, namespace, synchronize, to_numpy, use
from .random import Generator

__all__ = ["BackendError", "Generator", "asarray", "default", "namespace", "synchronize", "to_numpy", "use"]

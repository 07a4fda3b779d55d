"""Counter-based random numbers on the GPU: `philox.cu` through CuPy's elementwise compiler."""

import math
from functools import cache
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).with_name("philox.cu")


class Philox:
    """Philox4x32-10. The n-th number of a seed is a function of n alone, so the state is one counter."""

    def __init__(self, seed, counter=0):
        self.key, self.counter = seed % 2**64, counter

    def normal(self, shape, dtype=np.float32):
        return self._fill("normal(first, key, i)", shape, dtype)

    def uniform(self, shape, dtype=np.float32):
        return self._fill("uniform(word(first, key, i))", shape, dtype)

    def _fill(self, expression, shape, dtype):
        import cupy

        size = math.prod(shape) if isinstance(shape, tuple | list) else shape
        out = cupy.empty(shape, np.float32)
        _kernel(expression)(np.uint64(self.counter), np.uint64(self.key), out)
        self.counter += -(-size // 4)
        return out.astype(dtype, copy=False)


@cache
def _kernel(expression):
    import cupy

    return cupy.ElementwiseKernel(
        "uint64 first, uint64 key",
        "float32 y",
        f"y = {expression};",
        "minigen_random",
        preamble=SOURCE.read_text(),
    )

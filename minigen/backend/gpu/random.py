"""Counter-based random numbers on the GPU: `philox.cu` through CuPy's elementwise compiler."""

import math
from functools import cache
from pathlib import Path

import numpy as np

from ..capturing import refuse

SOURCE = Path(__file__).with_name("philox.cu")


class Philox:
    """Philox4x32-10. The n-th number of a seed is a function of n alone, so the state is a key and one counter.

    They lie on the device, in an array [key, counter] that each draw reads and moves on: so a captured step draws new
    numbers at every replay. The array is made at the first draw and never replaced: graphs hold its address.
    """

    def __init__(self, seed, counter=0):
        self.start, self.array = (seed % 2**64, counter), None

    @property
    def counter(self):
        """How many blocks of four numbers were drawn. Reading it waits for the device, once it has drawn."""
        return self.start[1] if self.array is None else int(self.array.get()[1])

    def restore(self, seed, counter):
        """Go on from the `counter` of a generator with this seed."""
        self.start = seed % 2**64, counter
        if self.array is not None:
            self.array[...] = self._start_on_device()

    def normal(self, shape, dtype=np.float32):
        """Standard normal numbers."""
        return self._draw("normal(state[1], state[0], i)", shape).astype(dtype, copy=False)

    def uniform(self, shape, dtype=np.float32):
        """Numbers in [0, 1)."""
        return self._draw("uniform(word(state[1], state[0], i))", shape).astype(dtype, copy=False)

    def keep(self, shape, p):
        """Booleans that are False with probability p."""
        return self._draw("uniform(word(state[1], state[0], i)) >= p", shape, "bool", "float32 p", np.float32(p))

    def integers(self, low, high, shape):
        """Integers in [low, high), int64, from 32 bits each: of n values some are likelier than others by n/2³²."""
        if not 0 < high - low <= 2**32:
            raise ValueError(f"Generator.integers: expected low < high ≤ low + 2³²; got low {low}, high {high}.")
        expression = "low + (long long)((word(state[1], state[0], i) * span) >> 32)"
        values = np.int64(low), np.uint64(high - low)
        return self._draw(expression, shape, "int64", "int64 low, uint64 span", *values)

    def _draw(self, expression, shape, dtype="float32", arguments="", *values):
        import cupy

        if self.array is None:
            refuse("a random generator draws for the first time")
            self.array = self._start_on_device()
        out = cupy.empty(shape, dtype)
        _kernel(expression, dtype, arguments)(self.array, *values, out)
        counter = self.array[1:]
        counter += np.uint64(-(-math.prod(out.shape) // 4))
        return out

    def _start_on_device(self):
        import cupy

        return cupy.asarray(np.array(self.start, np.uint64))


@cache
def _kernel(expression, dtype, arguments):
    import cupy

    return cupy.ElementwiseKernel(
        ", ".join(filter(None, ["raw uint64 state", arguments])),
        f"{dtype} y",
        f"y = {expression};",
        "minigen_random",
        preamble=SOURCE.read_text(),
    )

"""Counter-based random numbers on the GPU: `philox.cu` through CuPy's elementwise compiler."""

from functools import cache
from pathlib import Path

import numpy as np

from ..capturing import refuse
from ..layout import channels_first

SOURCE = Path(__file__).with_name("philox.cu")
# What every thread does at its end, so that no launch of its own moves the counter on: blocks take tickets when all
# their threads have read the counter, and the last one writes it. Four numbers use it up by one.
ADVANCE = """
__syncthreads();
if (threadIdx.x == 0) {
    __threadfence();
    if (atomicAdd(&state[2], 1ull) == gridDim.x - 1) state[1] += (_ind.size() + 3) / 4, state[2] = 0;
}"""


class Philox:
    """Philox4x32-10. The n-th number of a seed is a function of n alone, so the state is a key and one counter.

    They lie on the device, in an array [key, counter, tickets] that each draw reads and moves on: so a captured step
    draws new numbers at every replay. The array is made at the first draw and never replaced: graphs hold its address.
    Draws of a generator have to follow one another, on one stream: two at a time would mix up their tickets.
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
        image = isinstance(shape, tuple | list) and len(shape) == 4  # these are drawn in channels-last memory
        out = cupy.empty([shape[a] for a in (0, 2, 3, 1)] if image else shape, dtype)
        _kernel(expression, dtype, arguments)(*values, self.array, out)
        return channels_first(out) if image else out

    def _start_on_device(self):
        import cupy

        return cupy.asarray(np.array([*self.start, 0], np.uint64))


@cache
def _kernel(expression, dtype, arguments):
    import cupy

    return cupy.ElementwiseKernel(
        arguments,
        f"raw uint64 state, {dtype} y",
        f"y = {expression};",
        "minigen_random",
        preamble=SOURCE.read_text(),
        after_loop=ADVANCE,
    )

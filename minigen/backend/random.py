"""Random numbers: seedable, saved and restored to the bit, on the host and on the device.

There is no global generator. Whoever needs randomness is given a `Generator`; initial weights and data order are
drawn on the host, so one seed gives the same model on every device.
"""

import os

import numpy as np

from . import arrays
from .cpu_elementwise import dropout_mask
from .gpu.random import Philox


class Generator:
    """Random numbers on the default device, and `host` numbers for initial weights and shuffles.

    seed: any int; None draws one from the operating system (`generator.seed` tells which).

    On the CPU both come from one SFC64 stream, the fastest of NumPy's bit generators. On the GPU, device numbers
    come from a counter-based Philox4x32-10, whose whole state is one counter.

    >>> rng = Generator(0)
    >>> state = rng.state()
    >>> x = rng.normal((2, 3))
    >>> rng.restore(state)
    >>> bool((x == rng.normal((2, 3))).all())
    True
    """

    def __init__(self, seed=None):
        self.seed = int.from_bytes(os.urandom(4)) if seed is None else int(seed)
        self.host = np.random.Generator(np.random.SFC64(self.seed))
        self.device = Philox(self.seed)

    def normal(self, shape, dtype=np.float32):
        """Standard normal numbers on the default device, shape `shape`."""
        if arrays.default() is np:
            return self.host.standard_normal(shape, dtype=dtype)
        return self.device.normal(shape, dtype)

    def uniform(self, shape, dtype=np.float32):
        """Numbers in [0, 1) on the default device, shape `shape`."""
        if arrays.default() is np:
            return self.host.random(shape, dtype=dtype)
        return self.device.uniform(shape, dtype)

    def keep(self, shape, p):
        """Booleans that are False with probability `p`: what dropout keeps. 16 random bits each: p to 1/65536."""
        if not 0 <= p <= 1:
            raise ValueError(f"Generator.keep: expected a probability p in [0, 1]; got {p}.")
        if arrays.default() is np:
            return dropout_mask(self.host.bit_generator, shape, p)
        return self.device.uniform(shape) >= p

    def integers(self, low, high, shape):
        """Integers in [low, high), int64, drawn on the host and moved to the default device."""
        return arrays.asarray(self.host.integers(low, high, shape))

    def split(self):
        """A new generator, seeded by this one: for a part whose use must not disturb the others."""
        return Generator(int(self.host.integers(2**63)))

    def state(self):
        """Everything needed to go on from here, as a dict that JSON can hold."""
        bits = self.host.bit_generator.state
        words = [int(w) for w in bits["state"]["state"]]
        return {
            "seed": self.seed,
            "host": {"state": words, "has_uint32": bits["has_uint32"], "uinteger": bits["uinteger"]},
            "device": self.device.counter,
        }

    def restore(self, state):
        """Go on from a `state()`; the next numbers are bit for bit those that followed it."""
        self.seed, host = state["seed"], state["host"]
        self.host.bit_generator.state = {
            "bit_generator": "SFC64",
            "state": {"state": np.array(host["state"], np.uint64)},
            "has_uint32": host["has_uint32"],
            "uinteger": host["uinteger"],
        }
        self.device = Philox(self.seed, state["device"])

    def __repr__(self):
        return f"Generator(seed={self.seed})"

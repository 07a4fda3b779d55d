"""Random numbers: seedable, saved and restored to the bit, on the host and on the device.

There is no global generator. Whoever needs randomness is given a `Generator`; initial weights and data order are
drawn on the host, so one seed gives the same model on every device.
"""

import os

import numpy as np

from . import arrays
from .capturing import refuse
from .cpu_elementwise import dropout_mask
from .gpu.random import Philox


class Generator:
    """Random numbers on the default device, and `host` numbers for initial weights and shuffles.

    seed: any int; None draws one from the operating system (`generator.seed` tells which).

    On the CPU both come from one SFC64 stream, the fastest of NumPy's bit generators. On the GPU, device numbers
    come from a counter-based Philox4x32-10, whose whole state is one counter; it lies on the device, so that a step can
    be captured as a graph. Host numbers cannot be part of one: they raise NotCapturable there.

    >>> rng = Generator(0)
    >>> state = rng.state()
    >>> x = rng.normal((2, 3))
    >>> rng.restore(state)
    >>> bool((x == rng.normal((2, 3))).all())
    True
    """

    def __init__(self, seed=None):
        self.seed = int.from_bytes(os.urandom(4)) if seed is None else int(seed)
        self._host = np.random.Generator(np.random.SFC64(self.seed))
        self.device = Philox(self.seed)

    @property
    def host(self):
        """NumPy's generator of the host numbers."""
        refuse("Generator.host draws random numbers on the host")
        return self._host

    def normal(self, shape, dtype=np.float32):
        """Standard normal numbers on the default device, shape `shape`."""
        if arrays.default() is np:
            return self._host.standard_normal(shape, dtype=dtype)
        return self.device.normal(shape, dtype)

    def uniform(self, shape, dtype=np.float32):
        """Numbers in [0, 1) on the default device, shape `shape`."""
        if arrays.default() is np:
            return self._host.random(shape, dtype=dtype)
        return self.device.uniform(shape, dtype)

    def keep(self, shape, p):
        """Booleans that are False with probability `p`: what dropout keeps. 16 random bits each: p to 1/65536."""
        if not 0 <= p <= 1:
            raise ValueError(f"Generator.keep: expected a probability p in [0, 1]; got {p}.")
        if arrays.default() is np:
            return dropout_mask(self._host.bit_generator, shape, p)
        return self.device.keep(shape, p)

    def integers(self, low, high, shape):
        """Integers in [low, high), int64, on the default device, shape `shape`."""
        if arrays.default() is np:
            return self._host.integers(low, high, shape)
        return self.device.integers(low, high, shape)

    def split(self):
        """A new generator, seeded by this one: for a part whose use must not disturb the others."""
        refuse("Generator.split draws random numbers on the host")
        return Generator(int(self._host.integers(2**63)))

    def state(self):
        """Everything needed to go on from here, as a dict that JSON can hold."""
        bits = self._host.bit_generator.state
        words = [int(w) for w in bits["state"]["state"]]
        return {
            "seed": self.seed,
            "host": {"state": words, "has_uint32": bits["has_uint32"], "uinteger": bits["uinteger"]},
            "device": self.device.counter,
        }

    def restore(self, state):
        """Go on from a `state()`; the next numbers are bit for bit those that followed it."""
        self.seed, host = state["seed"], state["host"]
        self._host.bit_generator.state = {
            "bit_generator": "SFC64",
            "state": {"state": np.array(host["state"], np.uint64)},
            "has_uint32": host["has_uint32"],
            "uinteger": host["uinteger"],
        }
        self.device.restore(self.seed, state["device"])

    def __repr__(self):
        return f"Generator(seed={self.seed})"

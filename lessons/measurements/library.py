"""NumPy or CuPy, and how either is timed."""

import time

import numpy as np


class Library:
    """NumPy or CuPy: its module, how to time it, and how large its arrays are to be."""

    def __init__(self, xp, quick=False):
        self.xp, self.quick, self.gpu = xp, quick, xp is not np
        self.name = "CuPy" if self.gpu else "NumPy"

    def n(self, size):
        """A size, or a small one in the tests."""
        return max(4, size >> 12) if self.quick else size

    def random(self, *shape):
        return self.xp.asarray(np.random.default_rng(0).random(shape, dtype=np.float32))

    def wait(self):
        if self.gpu:
            self.xp.cuda.Device().synchronize()

    def seconds(self, f, *args, **options):
        """Seconds per call of f(*args, **options): the least of three rounds of at least 20 ms."""
        f(*args, **options)
        calls, best = 1, np.inf
        for _ in range(1 if self.quick else 3):
            while True:
                self.wait()
                began = time.perf_counter()
                for _ in range(calls):
                    f(*args, **options)
                self.wait()
                took = time.perf_counter() - began
                if took > 0.02 or self.quick:
                    break
                calls *= 2
            best = min(best, took / calls)
        return best

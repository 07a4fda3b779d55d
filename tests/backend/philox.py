"""Counter-based random numbers by NumPy: the oracle of philox.cu."""

import numpy as np


def philox4x32(counter, key, rounds=10):
    """Philox4x32 of arrays of four counter words and two key words (uint32 in uint64): four output words.

    Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011.
    """
    mask, (c0, c1, c2, c3), (k0, k1) = 0xFFFFFFFF, [np.uint64(c) for c in counter], key
    for _ in range(rounds):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ np.uint64(k0), p1 & mask, (p0 >> 32) ^ c3 ^ np.uint64(k1), p0 & mask
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c0, c1, c2, c3


def words(first, key, n):
    """(⌈n/4⌉, 4) words of the counters first, first + 1, ... of 64 bits, for a key of 64 bits."""
    counters = np.uint64(first) + np.arange(-(-n // 4), dtype=np.uint64)
    zero = np.zeros_like(counters)
    counter = counters & np.uint64(0xFFFFFFFF), counters >> np.uint64(32), zero, zero
    return np.stack(philox4x32(counter, (key & 0xFFFFFFFF, key >> 32)), axis=1)


def uniform(first, key, n):
    return ((words(first, key, n).reshape(-1)[:n] >> np.uint64(8)) * 2.0**-24).astype(np.float32)


def normal(first, key, n):
    """Box and Muller in float64: an even and an odd neighbour share radius and angle."""
    top = (words(first, key, n).reshape(-1, 2) >> np.uint64(8)).astype(np.float64)
    radius, angle = np.sqrt(-2 * np.log((top[:, 0] + 1) * 2.0**-24)), 2 * np.pi * top[:, 1] * 2.0**-24
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:n].astype(np.float32)

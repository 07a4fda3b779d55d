"""What the tests of igemm.cu share: a GPU, by emulation, and the portable kernels as its judge."""

from contextlib import contextmanager

import numpy as np
from backend.fake_cupy import installed
from backend.fake_kernels import LAUNCHES

from minigen.backend import portable, use
from minigen.backend.gpu import conv, sharing
from minigen.backend.precision import set_precision

# float32 as three TF32 products: 3·2⁻²² for each product, and a few roundings of the sum, of all terms' sizes.
EXACT = 1e-6
SMALL = sharing.TILES[-1]  # of 32 × 32: small arrays reach all its borders


@contextmanager
def emulated(capability="90"):
    """The stand-in for CuPy on a GPU of that compute capability; every product in small tiles."""
    with installed(capability=capability, products="emulated") as cupy, tiles(SMALL):
        yield use("cupy") and cupy


@contextmanager
def tiles(*allowed):
    before, sharing.TILES = sharing.TILES, allowed
    conv._launch.cache_clear()
    try:
        yield
    finally:
        sharing.TILES = before
        conv._launch.cache_clear()


@contextmanager
def rounding(name):
    before = set_precision(name)
    try:
        yield
    finally:
        set_precision(before)


@contextmanager
def launches(**expected):
    """Inside, kernels are launched exactly so often: igemm=1, add_parts=1."""
    before = LAUNCHES.copy()
    yield
    assert {name: LAUNCHES[name] - before[name] for name in ("igemm", "add_parts")} == {"add_parts": 0} | expected


def on(device, x):
    """A float64 array of the host as float32 on the device, in the same memory order; other arguments as they are."""
    return device.asarray(x.astype(np.float32)) if isinstance(x, np.ndarray) else x


def agree(device, name, *args, exact=EXACT):
    """The kernel `name` gives on the device what the portable one gives, up to `exact` of its terms' sizes."""
    found = getattr(conv, name)(*[on(device, a) for a in args])
    return close(found, name, *args, exact=exact)


def close(found, name, *args, exact=EXACT):
    expected, size = (
        getattr(portable, name)(
            *[f(a.astype(np.float32).astype(np.float64)) if isinstance(a, np.ndarray) else a for a in args]
        )
        for f in (np.positive, abs)
    )
    assert (found.shape, found.dtype) == (expected.shape, np.float32)
    assert np.isfinite(found.get()).all()
    assert (abs(found.get() - expected) <= exact * size).all(), abs(found.get() - expected).max()
    return found.get().astype(np.float64)

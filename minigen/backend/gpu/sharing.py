"""How a product of igemm.cu is shared out: what a block of threads computes, and how many blocks share its depth.

The choice is made from an estimate. `python -m minigen.bench --backend cupy --tiles` measures what it loses by it.
"""

import math
from functools import cache
from typing import NamedTuple

from .compile import ceil_div

OPERANDS = {"float32": "X3", "tf32": "TF32", "bfloat16": "BF16", "float16": "F16"}
SLAB = 32  # BK of tile.cuh
OLDEST = 60  # compute capability, as 75 for 7.5
IN_BACKGROUND = 80  # from here on slabs are copied while others are multiplied, and tensor cores know TF32


class Tile(NamedTuple):
    """What a block computes, BM × BN, and each of its warps, WM × WN.

    STAGES: slabs in shared memory. Three of the largest tile are 96 KiB, which every GPU since Ampere (8.0) has; small
    tiles have less to do in the time that a slab takes to come, and so want more.
    speed: products per time of a multiprocessor with such blocks, relative to the first: an estimate, from how often
    a number that lies in shared memory is used.
    """

    BM: int
    BN: int
    WM: int
    WN: int
    STAGES: int
    speed: float

    @property
    def shared(self):
        """Bytes of shared memory."""
        return self.STAGES * (self.BM + self.BN) * SLAB * 4


TILES = (
    Tile(128, 128, 64, 32, 3, 1.0),
    Tile(64, 64, 32, 32, 3, 0.7),
    Tile(128, 32, 32, 32, 3, 0.6),
    Tile(32, 32, 16, 16, 5, 0.3),
)


class Gpu(NamedTuple):
    """What decides how products are made. capability: 75 for 7.5; shared: bytes that a block can ask for."""

    processors: int
    capability: int
    shared: int


@cache
def gpu(device):
    """The Gpu of that number."""
    import cupy

    found = cupy.cuda.Device(device)
    attributes = found.attributes
    shared = attributes["MaxSharedMemoryPerBlockOptin"]
    return Gpu(attributes["MultiProcessorCount"], int(found.compute_capability), shared)


def operand(rounding, capability):
    """What tile.cuh calls OPERAND, for that precision."""
    return "FMA" if rounding == "float32" and capability < IN_BACKGROUND else OPERANDS[rounding]


def extents(role, image, channels, results, kernel_size, stride):
    """(M, N, K, phases): the product that igemm.cu computes, of the largest phase where there are several.

    2·M·N·K·phases operations then bound what a convolution takes; it may be less, where phases or borders are smaller.
    """
    batch, _, _, C = image
    if role == "INPUT":
        windows = math.prod(ceil_div(n, s) for n, s in zip(results, stride))
        taps = math.prod(ceil_div(k, s) for k, s in zip(kernel_size, stride))
        return batch * windows, channels, taps * C, math.prod(stride)
    windows, taps = batch * math.prod(results), math.prod(kernel_size) * C
    return (channels, taps, windows, 1) if role == "WEIGHT" else (windows, channels, taps, 1)


class Work(NamedTuple):
    """A product: the numbers of `extents`, how many numbers the result has, and what computes it.

    wide: whether a warp has the registers for 64 × 64 results: where factors are rounded, and copied four at a time.
    """

    M: int
    N: int
    K: int
    phases: int
    size: int
    wide: bool
    gpu: Gpu


def tiles(wide, gpu):
    """TILES, as that GPU can have them.

    wide: warps of the largest take 64 × 64 results, for which they read a third less from shared memory.
    A block of 7.5 has 64 KiB of shared memory, of 6.0 and 6.1 48. Before 8.0 two slabs do: one is multiplied while the
    other is filled.
    """
    most = max(t.STAGES for t in TILES) if gpu.capability >= IN_BACKGROUND else 2
    found = (t._replace(STAGES=min(t.STAGES, most), WN=64 if wide and t.WM == 64 else t.WN) for t in TILES)
    return tuple(t for t in found if t.shared <= gpu.shared)


PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # that are tried
MOST_Z = 65535  # blocks along the third axis of a grid


def share(work):
    """(tile, slabs, parts): what a block computes, how deep, and how many blocks share the depth of one result."""
    return min(choices(work), key=lambda choice: cost(choice, work))


def choices(work):
    """All that `share` chooses from."""
    total = ceil_div(work.K, SLAB)
    depths = {ceil_div(total, parts) for parts in PARTS if parts <= min(total, MOST_Z // work.phases)} or {0}
    parts = lambda slabs: ceil_div(total, slabs) if slabs else 1
    return [(tile, slabs, parts(slabs)) for tile in tiles(work.wide, work.gpu) for slabs in sorted(depths)]


def cost(choice, work):
    """About how long a choice takes, in units of a slab of the largest tile on one multiprocessor: half a microsecond.

    A launch takes as many rounds as the multiprocessors need for all blocks; a block costs its slabs and some four more
    to start and end. Parts need a second launch, and write and read all results each; 2 MB pass in a unit.
    """
    tile, slabs, parts = choice
    blocks = ceil_div(work.M, tile.BM) * ceil_div(work.N, tile.BN) * work.phases * parts
    area = tile.BM * tile.BN / (128 * 128 * tile.speed)
    again = 4 + (2 * parts + 1) * work.size * 4 / 2e6 if parts > 1 else 0
    return ceil_div(blocks, work.gpu.processors) * (slabs * area + 4 * max(area, 0.1)) + again

"""How much of the GPU's memory is free, and how much a piece of work needs."""

import functools

from .graph import new_pool


def available():
    """Bytes that can still be allocated, once CuPy has given back what it only kept for later."""
    import cupy

    for pool in (cupy.get_default_memory_pool(), _pool(cupy)):
        pool.free_all_blocks()
    return cupy.cuda.runtime.memGetInfo()[0]


def needed(work):
    """Bytes that `work()` needs beside what is allocated already. What it returns is thrown away.

    Raises MemoryError where that is not there, though the work might be done by giving back and asking again.
    """
    import cupy

    available()
    pool = _pool(cupy)
    before = pool.total_bytes()
    try:
        with cupy.cuda.using_allocator(pool.malloc):
            work()
        return pool.total_bytes() - before  # freed memory stays in the pool, so this is the most at a time
    finally:
        pool.free_all_blocks()


@functools.cache
def _pool(cupy):
    """For measuring only: in the default pool, pieces that lie free between others would serve, uncounted.

    It is kept: what lies free in a pool that is forgotten is lost to CuPy 14, whose blocks refer in circles.
    """
    return new_pool()

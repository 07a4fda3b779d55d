"""How much of the GPU's memory is free, and how much a piece of work needs."""


def available():
    """Bytes that can still be allocated, once CuPy has given back what it only kept for later."""
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()
    return cupy.cuda.runtime.memGetInfo()[0]


def needed(work):
    """Bytes that `work()` needs beside what is allocated already. What it returns is thrown away."""
    import cupy

    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.total_bytes()
    work()
    return pool.total_bytes() - before  # freed memory stays in the pool, so this is the most that was held at a time

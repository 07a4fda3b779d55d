"""Clocks and memory of the device, and what it is: what measuring needs. On CuPy alone."""

import contextlib
import statistics
import subprocess

import numpy as np


def describe():
    """{fact: value} about the device and the libraries."""
    import cupy

    device, runtime = cupy.cuda.Device(), cupy.cuda.runtime
    found = {"cupy": cupy.__version__, "numpy": np.__version__, "capability": device.compute_capability}
    with contextlib.suppress(Exception):  # no fact is worth the measurement
        found |= {"CUDA": runtime.runtimeGetVersion(), "driver serves": runtime.driverGetVersion()}
        properties = runtime.getDeviceProperties(device.id)
        found |= {"name": properties["name"].decode(), "multiprocessors": properties["multiProcessorCount"]}
        found |= {"GiB": device.mem_info[1] / 2**30}
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout
        found["driver, clock, power"] = "".join(said.splitlines()[:1])
    return found


def mark():
    """An event on the current stream."""
    import cupy

    event = cupy.cuda.Event()
    event.record()
    return event


def between(begin, end):
    """Milliseconds between two events that the device has come to."""
    import cupy

    return cupy.cuda.get_elapsed_time(begin, end)


def milliseconds(work):
    """What the device takes for `work()`; waits for it."""
    begin = mark()
    work()
    end = mark()
    end.synchronize()
    return between(begin, end)


def held():
    """Bytes that the default pool holds, once what nobody uses is given back."""
    import cupy

    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    return pool.total_bytes()


@contextlib.contextmanager
def poisoned():
    """Inside, new arrays are full of NaN."""
    import cupy

    pool = cupy.get_default_memory_pool()

    def malloc(size):
        memory = pool.malloc(size)
        if size:
            memory.memset_async(0xFF, size)
        return memory

    with cupy.cuda.using_allocator(malloc):
        yield


def occupy(seconds, bytes):
    """Give the device copies of so many bytes to make, for so long, but for no more than 400 of them."""
    import cupy

    room = cupy.zeros(bytes, np.uint8)
    once = milliseconds(room.copy)
    for _ in range(min(400, 1 + int(1e3 * seconds / max(once, 1e-3)))):
        room.copy()


def ceilings(n):
    """{"bytes/s": of a copy of n × n numbers, "float32": FLOP/s of cuBLAS's product}."""
    import cupy

    room, a = (cupy.asarray(np.random.default_rng(0).random((n, n), np.float32)) for _ in range(2))

    def seconds(work):
        return statistics.median(milliseconds(work) for _ in range(10)) / 1e3

    moved, product = seconds(lambda: room.__setitem__(..., a)), seconds(lambda: a @ a)
    return {"bytes/s": 2 * a.nbytes / moved, "float32": 2 * n**3 / product}

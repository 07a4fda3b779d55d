"""The stand-in for CuPy with clocks and memory that can be set: what the benchmark needs to be rehearsed."""

import contextlib
import time
import types

from backend import fake_cupy


def timed(event):
    """A class of events that know when they were recorded: work is done at once here."""

    class Event(event):
        def record(self, stream=None):
            super().record(stream)
            self.at = time.perf_counter()

    return Event


def elapsed(begin, end):
    """Milliseconds between two events, both recorded, as cupy.cuda.get_elapsed_time."""
    return 1e3 * (end.at - begin.at)


def memset_async(pointer, value, size, stream=None):
    """Of MemoryPointer: fill the first bytes."""
    if size > pointer.memory.size:
        raise ValueError(f"{size} bytes of {pointer.memory.size}")
    pointer.memory[:size] = value


@contextlib.contextmanager
def installed(**options):
    """As fake_cupy.installed."""
    with fake_cupy.installed(**options) as cupy:
        pointer = cupy.get_default_memory_pool().malloc(1)
        type(pointer).memset_async = memset_async
        pointer.release()
        cupy.cuda.Event, cupy.cuda.get_elapsed_time = timed(cupy.cuda.Event), elapsed
        cupy.__version__, plain = "a stand-in", cupy.cuda.Device
        cupy.cuda.Device = lambda id=0: types.SimpleNamespace(**vars(plain(id)), mem_info=(1 << 30, 2 << 30))
        properties = {"name": b"no GPU", "multiProcessorCount": 4}
        vars(cupy.cuda.runtime).update(getDeviceProperties=lambda id: properties)
        vars(cupy.cuda.runtime).update(runtimeGetVersion=lambda: 13000, driverGetVersion=lambda: 13000)
        yield cupy

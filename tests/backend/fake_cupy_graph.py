"""Memory pools, copies and graphs for the stand-in of CuPy, as strict as CUDA is, or stricter.

While a stream captures, nothing runs: each piece of work is kept with the memory it reads and writes, and a launch of
the graph runs the pieces again on the same memory. New arrays are filled with NaN (integers with −1) until something
writes to them, and again when they are freed. Memory comes from pools and goes back to them: a graph whose pool serves
others too overwrites what they hold, here as there. What would copy to the host or wait for it raises, as does cuBLAS;
copies from the host read a buffer that is gone when the graph runs.
"""

import contextlib
import math
import types
import weakref
from collections import Counter

import numpy as np
from backend.fake_cupy_streams import (
    CUDARuntimeError,
    Event,
    Graph,
    Stream,
    capturing,
    current,
    launch,
    needs_no_capture,
    streams,
    synchronize,  # noqa: F401
)

ALIGNMENT = 512  # of CuPy's pools
blas_in_capture = False  # let matrix products pass, though cuBLAS would refuse
transfers = Counter()  # "to host", "to device": how often since it was cleared


# ------------------------------------------------------------------------------------------------ memory

_memory_of = {}  # id of the array at the root of all views of an allocation -> its bytes


_driver = {}  # size -> memory that no pool holds


memory_size = 1 << 60  # bytes of the GPU, for all pools together
_pools = weakref.WeakSet()


class OutOfMemoryError(MemoryError):
    pass


_lost = []  # sizes of blocks that lay free in pools that were forgotten: those of CuPy 14 refer in circles


def memory_left():
    return memory_size - sum(pool.held for pool in _pools) - sum(_lost)


class Memory:
    """Memory of the driver's: of a freed piece of that size, else new."""

    def __init__(self, size):
        if size > memory_left():
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory", status=2)
        if _driver.get(size):
            self.bytes = _driver[size].pop()
            return
        room = np.full(size + ALIGNMENT, 0xFF, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        self.bytes = room[start : start + size]


class MemoryPointer:
    def __init__(self, mem, offset):
        self.mem = mem


class MemoryPool:
    """Freed memory is kept by size and by stream, and handed out again; what is given back goes to any pool.

    Where the driver has no more, all that is free is given back and asked for again, even while a stream captures.
    """

    def __init__(self, allocator=None):
        self.free, self.used, self.held, self.lost = {}, 0, 0, _lost
        self.allocator = allocator or (lambda size: MemoryPointer(Memory(size), 0))
        _pools.add(self)

    def malloc(self, size):
        """The memory of an allocation: an array of bytes."""
        size = max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)
        blocks = self.free.setdefault((current.stream.ptr, size), [])
        if not blocks:
            new = self._from_driver(size)
            self.held += size
            blocks = self.free.setdefault((current.stream.ptr, size), [])
            blocks.append(new)
        self.used += size
        return Pointer(self, blocks.pop(), current.stream.ptr)

    def _from_driver(self, size):
        for last in (False, True):
            try:
                return self.allocator(size).mem.bytes
            except CUDARuntimeError as error:
                if error.status != 2:
                    raise
                if last:
                    text = f"Out of memory allocating {size:,} bytes (allocated so far: {self.used:,} bytes)"
                    raise OutOfMemoryError(text) from None
                self._give_back()

    def __del__(self):
        self.lost.append(self.free_bytes())

    def set_limit(self, size=None, fraction=None):
        assert (size, fraction) == (0, None), "the stand-in knows no limits"

    def used_bytes(self):
        return self.used

    def total_bytes(self):
        return self.held

    def free_bytes(self):
        return self.held - self.used

    def free_all_blocks(self, stream=None):
        needs_no_capture()  # stricter than CuPy
        self._give_back()

    def _give_back(self):
        self.held -= self.free_bytes()
        for (_, size), blocks in self.free.items():
            _driver.setdefault(size, []).extend(blocks)
        self.free.clear()


class Pointer:
    """What `malloc` returns: `memory`, which goes back to its pool when `release` is called."""

    def __init__(self, pool, memory, stream):
        self.pool, self.memory, self.stream = pool, memory, stream

    def release(self):
        self.memory[...] = 0xFF
        self.pool.used -= self.memory.size
        self.pool.free.setdefault((self.stream, self.memory.size), []).append(self.memory)


def empty(shape, dtype):
    """A NumPy array in memory of the current allocator; the memory goes back when no view of it is left."""
    shape, dtype = (shape,) if isinstance(shape, int | np.integer) else tuple(shape), np.dtype(dtype)
    size = math.prod(shape)
    if not size:
        return np.empty(shape, dtype)
    pointer = current.allocator(size * dtype.itemsize)
    # Views name their first array as base, and it names no array: so its end is the end of all views.
    root = np.frombuffer(memoryview(pointer.memory), dtype, size)
    _memory_of[id(root)] = pointer.memory
    weakref.finalize(root, _end, id(root), pointer).atexit = False
    return root.reshape(shape)


def _end(key, pointer):
    del _memory_of[key]
    pointer.release()


def placed(array, fill=True):
    """`array`, fresh from NumPy, in memory of the current allocator, with the same strides where it is dense."""
    if not array.size:
        return array
    order = sorted(range(array.ndim), key=lambda a: (0 if array.flags.c_contiguous else -array.strides[a], a))
    out = empty([array.shape[a] for a in order], array.dtype).transpose(np.argsort(order))
    if fill and not capturing():
        out[...] = array
    return out


def unowned(array):
    """The same view of the same memory, that does not keep it from being freed: a graph knows addresses only."""
    root = array
    while (base := getattr(root, "base", None)) is not None and not isinstance(base, memoryview):
        root = base
    memory = _memory_of.get(id(root))
    if memory is None:
        return array
    start = array.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    return np.ndarray(array.shape, array.dtype, memory, start, array.strides)


# ------------------------------------------------------------------------------------------------ work


class PinnedMemoryPool:
    def malloc(self, size):
        return size


def to_host(what):
    """A copy to the host, which waits for the stream."""
    needs_no_capture()
    transfers["to host"] += 1
    current.stream.issue()
    current.stream.synchronize()
    return what


def to_device(array):
    """A new array with the values of one on the host. Captured, it would read a staging buffer that is gone later."""
    if array.ndim == 0:
        return filled(lambda: array, array)
    from_host(array.nbytes)
    if not capturing():
        return placed(array)
    return filled(lambda: np.full(array.shape, 0xAA, np.uint8).astype(array.dtype), array)


def from_host(size=8):
    """A copy from the host, by way of a staging buffer."""
    current.pinned_allocator(size)
    transfers["to device"] += 1


def filled(compute, like):
    """A new array of the shape and dtype of `like`, into which `compute()` goes now or at each launch."""
    out = placed(like)
    if capturing():
        memory = unowned(out)
        launch(lambda: np.copyto(memory, compute(), casting="unsafe"))
    return out


def refuse_blas():
    if capturing() and not blas_in_capture:
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")


# ------------------------------------------------------------------------------------------------ cupy.cuda


@contextlib.contextmanager
def using_allocator(allocator=None):
    before, current.allocator = current.allocator, allocator
    try:
        yield
    finally:
        current.allocator = before


def set_pinned_memory_allocator(allocator):
    current.pinned_allocator = allocator


def install(cupy):
    """Give the module `cupy` its streams, graphs and pools, all as new."""
    global _lost
    _lost = []
    streams.clear()
    _pools.clear()
    _driver.clear()
    transfers.clear()
    Graph.launches, Stream.null = 0, Stream(null=True)
    current.stream, current.pool, current.pinned = Stream.null, MemoryPool(), PinnedMemoryPool()
    current.allocator, current.pinned_allocator, current.host_saw = current.pool.malloc, current.pinned.malloc, {}
    cupy.get_default_memory_pool = lambda: current.pool
    cupy.cuda.runtime.memGetInfo = lambda: (memory_left(), memory_size)
    cupy.cuda.memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
    cupy.get_default_pinned_memory_pool = lambda: current.pinned
    names = {"Stream": Stream, "Event": Event, "MemoryPool": MemoryPool, "using_allocator": using_allocator}
    names |= {"Memory": Memory, "MemoryPointer": MemoryPointer}
    names |= {"get_current_stream": lambda: current.stream, "Graph": Graph, "PinnedMemoryPool": PinnedMemoryPool}
    vars(cupy.cuda).update(names, set_pinned_memory_allocator=set_pinned_memory_allocator)

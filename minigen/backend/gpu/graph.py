"""Work captured once as a CUDA graph and launched again as one thing. Only here are streams, graphs and pools named.

A small kernel takes less time on the GPU than its launch takes the host; a graph is launched once for all of them.
What a graph holds is kernels with their arguments, hence *addresses*: whatever it reads and writes has to stay where it
is, and what changes from launch to launch has to lie in memory, not in an argument.
"""

import contextlib
import functools
import gc
import traceback
from pathlib import Path

from ..capturing import NotCapturable, capturing, refuse

CUBLAS = (
    "a matrix product is left to cuBLAS, which CuPy does not capture: that of float64, of groups, of a batch of "
    "matrices, or any on a GPU older than compute capability 6.0"
)
PACKAGE = Path(__file__).parents[2]


class Graph:
    """`work()`, captured: it is recorded, not done.  result: what it returned, arrays that each replay fills anew.

    pool: the memory for what `work` allocates, and nobody else's: the pool does not know that a launch will write
    again to what was freed during the capture. Graphs that never run at the same time may share one; as long as one of
    them is used, the pool must not give back what it holds.
    Raises NotCapturable, with the reason, for work that no graph can hold.
    """

    def __init__(self, work, pool):
        import cupy

        self.graph, self.result = None, None
        stream = _stream(cupy, cupy.cuda.Device().id)
        with stream, cupy.cuda.using_allocator(pool.malloc), capturing(), _undisturbed(cupy):
            stream.begin_capture()
            try:
                self.result = work()
            except BaseException as error:
                with contextlib.suppress(Exception):  # an error may have ended the capture already
                    stream.end_capture()
                if isinstance(error, MemoryError) or not isinstance(error, Exception):
                    raise
                raise NotCapturable(reason_of(error)) from error
            try:
                self.graph = stream.end_capture()
            except Exception as error:
                raise NotCapturable(reason_of(error)) from error

    def replay(self):
        """Do the work, after everything on the current stream; its `result`."""
        self.graph.launch()
        return self.result


@functools.cache
def _stream(cupy, device):
    """One for all graphs: a pool hands out again only what was freed on the same stream."""
    return cupy.cuda.Stream(non_blocking=True)  # the default stream cannot be captured


OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation


def new_pool():
    """A memory pool for graphs.

    Where the GPU's memory is used up it raises MemoryError at once. CuPy's own would first give back what is free in
    it, and then find room: in what the graphs that were captured before will write to.
    """
    import cupy

    def malloc(size):
        try:
            return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            if error.status != OUT_OF_MEMORY:
                raise
            raise MemoryError(f"the GPU has no {size} bytes left for a graph") from error

    pool = cupy.cuda.MemoryPool(malloc)
    pool.set_limit(size=0)  # of CUPY_GPU_MEMORY_LIMIT: there too it would give back
    return pool


def free_unused():
    """Give memory back to the driver that only waits to be used again."""
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()


@contextlib.contextmanager
def _undisturbed(cupy):
    """Without copies from the host: CuPy's go through a staging buffer, and the graph would read it when it holds other
    things. Without the garbage collector: it may free a graph and its memory, which must not happen during a capture.
    """
    collecting = gc.isenabled()
    gc.disable()
    cupy.cuda.set_pinned_memory_allocator(lambda size: refuse("an array is copied from the host to the GPU"))
    try:
        yield
    finally:
        cupy.cuda.set_pinned_memory_allocator(cupy.get_default_pinned_memory_pool().malloc)
        if collecting:
            gc.enable()


def reason_of(error):
    """One clause: what went wrong, and in which line of whose code."""
    frames = traceback.extract_tb(error.__traceback__)
    library = lambda f: PACKAGE in Path(f.filename).parents or "site-packages" in f.filename or "cupy" in f.filename
    outside = [f for f in frames if not library(f)]
    where = (outside or frames)[-1]
    what = str(error) if isinstance(error, NotCapturable) else f"{type(error).__name__}: {error}"
    if isinstance(error, NotImplementedError) and "cuBLAS" in what:
        what = CUBLAS
    layer = f", in {error.in_module}" if getattr(error, "in_module", None) else ""
    return f"{what} ({Path(where.filename).name}:{where.lineno}, in {where.name}{layer})"

"""Threads, BLAS and malloc: the process-level settings that are worth as much as any kernel.

Threads.  NumPy and BLAS release the interpreter lock, so a kernel is split over Python threads: each takes a
range of the batch (or of the memory) and runs one-threaded BLAS on it.  That beats BLAS's own threads, because
the copies and the elementwise work between the products are split too.  BLAS is held to one thread once, at the
first kernel, and never toggled: idle BLAS workers spin for milliseconds and would take the core that Python's
second thread needs.  Results depend on the number of threads (partial sums are cut there), never on their timing.

malloc.  glibc hands every large array back to the system when it is freed, so the next temporary is paid for
again in page faults.  `mallopt` (Linux with glibc) makes the heap keep it.  What that brings depends on the machine:
lessons/results.md has a measurement.

Environment: MINIGEN_THREADS=n (default: the processors this process may use), MINIGEN_MALLOC=0 (leave malloc alone).
"""

import ctypes
import os
import queue
import sys
import threading

CHUNK = 1 << 18  # elements per elementwise piece: 1 MiB of float32, the size of an L2 cache
WORTH = 15_000_000  # flop (about 0.1 ms) below which handing work to another thread costs more than it saves


# -------------------------------------------------------------------------------------------- how many threads


def _default_threads():
    """MINIGEN_THREADS, or else the number of processors this process may run on."""
    text = os.environ.get("MINIGEN_THREADS")
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"MINIGEN_THREADS: expected a whole number of at least 1; got {text!r}.")
    return int(text)


class _Pool:
    """n − 1 daemon threads that wait for jobs; the calling thread is the n-th."""

    def __init__(self, n):
        self.n = n
        self.jobs = queue.SimpleQueue()
        for i in range(1, n):
            threading.Thread(target=self._work, name=f"minigen-{i}", daemon=True).start()

    def _work(self):
        _here.is_worker = True
        while (job := self.jobs.get()) is not None:
            f, part, i, done = job
            try:
                done.put((i, f(*part), None))
            except BaseException as error:  # handed to the caller, who raises it
                done.put((i, None, error))

    def run(self, f, parts):
        done = queue.SimpleQueue()  # one per call: several threads of the user may run kernels at once
        for i, part in enumerate(parts[1:], 1):
            self.jobs.put((f, part, i, done))
        results, errors = [None] * len(parts), []
        try:
            results[0] = f(*parts[0])
        finally:  # also after an error or Ctrl-C: the others still write into arrays of this call
            for _ in parts[1:]:
                i, results_i, error = done.get()
                results[i] = results_i
                if error is not None:
                    errors.append(error)
        if errors:
            raise errors[0]
        return results

    def stop(self):
        for _ in range(1, self.n):
            self.jobs.put(None)


_here = threading.local()  # .is_worker: a kernel inside a kernel runs serially, or it would wait for itself
_lock = threading.Lock()
_pool = None
_threads = _default_threads()


def get_threads():
    """How many threads kernels use, the calling one included."""
    return _threads


def set_threads(n):
    """Use n threads from now on; n = 1 switches threading off.  Not to be called while another thread runs a kernel."""
    global _threads, _pool
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"set_threads: expected a whole number of at least 1; got {n!r}.")
    with _lock:
        if _pool is not None:
            _pool.stop()
        _threads, _pool = n, None


def _started():
    """The pool, started at the first kernel: importing the package starts no thread and looks for no library."""
    global _pool
    with _lock:
        if _pool is None:
            _hold_blas_to_one_thread()
            _pool = _Pool(_threads)
        return _pool


def _after_fork():
    """Threads do not survive a fork: the child starts its own when it first needs them."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()
    _here.is_worker = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# --------------------------------------------------------------------------------------------- splitting work


def parts(n, work=WORTH, unit=1):
    """[0, n) in at most `get_threads()` near-equal ranges of at least `unit`; uncut if the `work` (flop) is small."""
    _pool or _started()
    k = 1 if work < WORTH else max(1, min(_threads, n // unit))
    return [(n * i // k, n * (i + 1) // k) for i in range(k)]


def run(f, ranges):
    """[f(lo, hi) for lo, hi in ranges], each range on a thread of its own; the results are in order of the ranges."""
    if len(ranges) == 1 or getattr(_here, "is_worker", False):
        return [f(lo, hi) for lo, hi in ranges]
    return (_pool or _started()).run(f, ranges)


def chunked(f, n, chunk=CHUNK):
    """[f(lo, hi), ...] over [0, n) in pieces that fit the cache, on all threads when there are pieces enough."""
    if n <= chunk:
        return [f(0, n)]

    def pieces(lo, hi):
        return [f(i, min(i + chunk, hi)) for i in range(lo, hi, chunk)]

    return [result for part in run(pieces, parts(n, unit=chunk)) for result in part]


# ------------------------------------------------------------------------------------------------ BLAS, malloc


def _hold_blas_to_one_thread():
    import threadpoolctl  # here: it looks through the loaded libraries, 10 ms that importing minigen need not pay

    threadpoolctl.ThreadpoolController().limit(limits=1, user_api="blas")


def _keep_freed_memory():
    """Tell glibc to keep freed memory on its heap.  True if it did; False elsewhere, or with MINIGEN_MALLOC=0."""
    if sys.platform != "linux" or os.environ.get("MINIGEN_MALLOC") == "0":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):  # musl has no such settings
        return False
    trim_threshold, mmap_max, arena_max = -1, -4, -8  # M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX of malloc.h
    never_trim = libc.mallopt(trim_threshold, -1)
    never_mmap = libc.mallopt(mmap_max, 0)
    one_arena = libc.mallopt(arena_max, 1)  # what one thread frees, the next can use
    return bool(never_trim and never_mmap and one_arena)


_malloc_tuned = _keep_freed_memory()


def summary():
    """The settings a timing depends on: BLAS library, its version, kernels and threads; our threads; malloc."""
    import threadpoolctl

    _started()
    blas = [lib for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]
    first = blas[0] if blas else {}
    return {
        "blas": first.get("internal_api"),
        "blas_version": first.get("version"),
        "blas_architecture": first.get("architecture"),
        "blas_threads": first.get("num_threads"),
        "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE"),
        "threads": _threads,
        "malloc_tuned": _malloc_tuned,
    }

"""Threads, BLAS and malloc settings."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import threadpoolctl

from minigen.backend import threads
from minigen.backend.cpu_matmul import matmul


@pytest.fixture
def two():
    before = threads.get_threads()
    threads.set_threads(2)
    yield
    threads.set_threads(before)


def python(code, **environment):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("n, unit, expected", [(10, 1, [(0, 5), (5, 10)]), (3, 2, [(0, 3)]), (0, 1, [(0, 0)])])
def test_parts_cover_the_range(n, unit, expected, two):
    assert threads.parts(n, unit=unit) == expected


def test_small_work_is_not_split(two):
    assert threads.parts(1000, work=threads.WORTH - 1) == [(0, 1000)]


def test_results_come_in_order_of_the_ranges_whoever_is_first(two):
    def slow_first(lo, hi):
        time.sleep(0.02 if lo == 0 else 0)
        return lo, threading.current_thread().name

    (first, here), (second, there), *_ = threads.run(slow_first, [(0, 1), (1, 2), (2, 3)])
    assert (first, second) == (0, 1)
    assert here != there


def test_chunked_covers_the_range_in_order(two):
    assert threads.chunked(lambda lo, hi: (lo, hi), 10, 4) == [(0, 4), (4, 5), (5, 9), (9, 10)]
    assert threads.chunked(lambda lo, hi: (lo, hi), 3, 4) == [(0, 3)]


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_reaches_the_caller_after_all_parts_are_done(failing, two):
    done = []

    def part(lo, hi):
        if lo == failing:
            raise KeyError(lo)
        time.sleep(0.02)
        done.append(lo)

    with pytest.raises(KeyError, match=str(failing)):
        threads.run(part, [(0, 1), (1, 2)])
    assert done == [1 - failing]
    assert threads.run(lambda lo, hi: lo, [(0, 1), (1, 2)]) == [0, 1], "the pool must survive"


def test_a_kernel_inside_a_kernel_does_not_wait_for_itself(two):
    inner = lambda lo, hi: threads.run(lambda a, b: a + lo, [(0, 1), (1, 2)])
    assert threads.run(inner, [(0, 1), (10, 11)]) == [[0, 1], [10, 11]]


def test_several_threads_of_the_user_may_run_kernels_at_once(two):
    results = {}

    def user(k):
        results[k] = [threads.run(lambda lo, hi: lo * k, [(1, 2), (2, 3)]) for _ in range(50)]

    users = [threading.Thread(target=user, args=(k,)) for k in range(4)]
    [u.start() for u in users]
    [u.join() for u in users]
    assert results == {k: [[k, 2 * k]] * 50 for k in range(4)}


def test_one_thread_is_allowed_and_none_is_not(two):
    threads.set_threads(1)
    assert threads.parts(1000) == [(0, 1000)]
    assert threads.get_threads() == 1
    for n in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"set_threads: expected a whole number of at least 1; got {n}"):
            threads.set_threads(n)


def test_blas_keeps_to_one_thread_once_a_kernel_ran():
    matmul(np.ones((4, 4)), np.ones((4, 4)))
    blas = [lib["num_threads"] for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]
    assert set(blas) <= {1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is of Unix")
def test_a_forked_child_starts_threads_of_its_own():
    code = """
import os, warnings
from minigen.backend import threads
warnings.simplefilter("ignore")  # Python warns of a fork in a process with threads: that is what is tested here
threads.set_threads(2)
square = lambda lo, hi: lo * lo
threads.run(square, [(2, 3), (3, 4)])
child = os.fork()
if child == 0:
    os._exit(0 if threads.run(square, [(2, 3), (3, 4)]) == [4, 9] else 1)
print(os.waitpid(child, 0)[1], threads.run(square, [(2, 3), (3, 4)]))
"""
    assert python(code) == "0 [4, 9]"


@pytest.mark.parametrize("value, printed", [("3", "3"), ("zero", None), ("0", None)])
def test_the_environment_sets_the_number_of_threads(value, printed):
    out = python("from minigen.backend import threads; print(threads.get_threads())", MINIGEN_THREADS=value)
    expected = printed or f"ValueError: MINIGEN_THREADS: expected a whole number of at least 1; got '{value}'."
    assert out == expected


def test_import_starts_no_thread_and_malloc_can_be_left_alone():
    code = """
import sys, threading
from minigen.backend import threads
print(threading.active_count(), "threadpoolctl" in sys.modules, threads.summary()["malloc_tuned"])
"""
    assert python(code, MINIGEN_MALLOC="0") == "1 False False"


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_freed_memory_is_kept_and_paid_for_once():
    """Page faults of ten 8 MiB temporaries: about ten times 2048 when each is handed back, none when kept."""
    code = """
import resource, numpy as np
from minigen.backend import threads
x = np.ones(2 << 20, np.float32)
[x * 2 for _ in range(3)]
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults(); [np.sum(x * 2) for _ in range(10)]
print(faults() - before if threads.summary()["malloc_tuned"] else "not tuned")
"""
    printed = python(code)
    if printed == "not tuned":  # musl
        pytest.skip("this C library has no mallopt")
    assert int(printed) < 200


def test_the_summary_names_what_a_timing_depends_on(two):
    summary = threads.summary()
    assert summary["threads"] == 2
    assert summary["blas_threads"] in (1, None)
    assert set(summary) >= {"blas", "blas_version", "blas_architecture", "openblas_coretype", "malloc_tuned"}

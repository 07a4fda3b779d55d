"""What this machine does: the measurements of the lesson "The machine", for NumPy and, where it works, for CuPy.

    python lessons/machine.py                          all sections, both libraries side by side
    python lessons/machine.py gemm fusion              some of them
    python lessons/machine.py --backend numpy

One thread, and BLAS held to one, except in the section `threads`. A time is the least of several: what the machine
can do when nothing else disturbs it. On a GPU a round ends with a synchronisation.
"""

import argparse
import datetime
import json
import os
import platform
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


class Library:
    """NumPy or CuPy: its module, how to time it, and how large its arrays are to be."""

    def __init__(self, xp, quick=False):
        self.xp, self.quick, self.gpu = xp, quick, xp is not np
        self.name = "CuPy" if self.gpu else "NumPy"

    def n(self, size):
        """A size, or a small one in the tests."""
        return max(4, size >> 12) if self.quick else size

    def random(self, *shape):
        return self.xp.asarray(np.random.default_rng(0).random(shape, dtype=np.float32))

    def wait(self):
        if self.gpu:
            self.xp.cuda.Device().synchronize()

    def seconds(self, f, *args, **options):
        """Seconds per call of f(*args, **options): the least of three rounds of at least 20 ms."""
        f(*args, **options)
        calls, best = 1, np.inf
        for _ in range(1 if self.quick else 3):
            while True:
                self.wait()
                began = time.perf_counter()
                for _ in range(calls):
                    f(*args, **options)
                self.wait()
                took = time.perf_counter() - began
                if took > 0.02 or self.quick:
                    break
                calls *= 2
            best = min(best, took / calls)
        return best


def layout(lib):
    """Contiguous and strided reading; windows of images in two layouts."""
    xp, n = lib.xp, lib.n(1 << 20)
    out = xp.empty(n, np.float32)
    for step in (1, 2, 4, 16, 64):
        x = lib.random(n * step)[::step]
        yield f"copy numbers {4 * step} bytes apart", 1e9 * lib.seconds(xp.add, x, 0, out=out) / n, "ns/number"
    N, C, H, k = 32, 64, 28, 3
    if lib.quick:
        N, C, H = 1, 2, 5
    P, item = H - k + 1, 4
    first, last = lib.random(N, C, H, H), lib.random(N, H, H, C)
    strided = xp.lib.stride_tricks.as_strided
    sn, sc, sh, sw = (item * s for s in (C * H * H, H * H, H, 1))
    a = strided(first, (N, P, P, C, k, k), (sn, sh, sw, sc, sh, sw))
    sn, sh, sw, sc = (item * s for s in (H * H * C, H * C, C, 1))
    b = strided(last, (N, P, P, k, k, C), (sn, sh, sw, sh, sw, sc))
    for name, windows in (("NCHW", a), ("NHWC", b)):
        yield f"copy 3×3 windows, {name}", 1e9 * lib.seconds(windows.copy) / windows.size, "ns/number"


def caches(lib):
    """The same addition over ever larger arrays; random reading from ever larger tables."""
    xp = lib.xp
    for kib in (16, 64, 256, 512, 1024, 2048, 8192, 32768, 262144):
        n = lib.n(kib * 128)  # two arrays of float32
        x, y = lib.random(n), lib.random(n)
        yield f"y += x, both {kib} KiB", 12 * n / lib.seconds(xp.add, x, y, out=y) / 1e9, "GB/s"
    index = xp.asarray(np.random.default_rng(0).integers(0, 1 << 40, lib.n(1 << 18)))
    for kib in (16, 256, 1024, 8192, 32768, 262144):
        table = lib.random(lib.n(kib * 256))
        i = index % table.size
        yield f"random reading from {kib} KiB", 1e9 * lib.seconds(table.__getitem__, i) / i.size, "ns/number"


def pages(lib):
    """New arrays against reused ones. malloc is set when minigen is imported, so this runs in processes of its own."""
    xp = lib.xp
    if lib.gpu:
        x = lib.random(lib.n(3 << 18))
        out = xp.empty_like(x)
        yield "new 3 MiB arrays", 1e6 * lib.seconds(lambda: x + 1), "µs"
        yield "one 3 MiB array reused", 1e6 * lib.seconds(lambda: xp.add(x, 1, out=out)), "µs"
        return
    for setting, title in (("0", "malloc as it is"), ("1", "malloc keeps memory")):
        command = [sys.executable, __file__, "--pages-child"]
        command += ["--quick"] if lib.quick else []
        environment = {**os.environ, "MINIGEN_MALLOC": setting}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        for name, value, unit in json.loads(done.stdout):
            yield f"{name}, {title}", value, unit


def three(x):
    """Three new arrays, alive at once."""
    y = x + 1
    z = y + 1
    return z + 1


def pages_child(lib):
    import resource

    import minigen.backend  # noqa: F401  (sets malloc)

    rows = []
    for mib in (3, 64):
        x = lib.random(lib.n(mib << 18))
        out = np.empty_like(x)

        three(x)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            three(x)
        faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 60
        rows += [
            (f"page faults of a new {mib} MiB array", faults, "each"),
            (f"new {mib} MiB arrays", 1e6 * lib.seconds(three, x) / 3, "µs"),
            (f"one {mib} MiB array reused", 1e6 * lib.seconds(np.add, x, 1, out=out), "µs"),
        ]
    print(json.dumps(rows))


def fusion(lib):
    """leaky_relu(a·x + b)·c + d: six passes, six passes in pieces, one kernel."""
    xp, n = lib.xp, lib.n(1 << 24)
    x, y, u = lib.random(n), xp.empty(n, np.float32), xp.empty(n, np.float32)

    def new_arrays():
        t = x * 3.0 + 0.5
        t = xp.maximum(t, t * 0.2)
        return t * 2.0 + 0.1

    def chain(x, y, u):
        xp.multiply(x, 3.0, out=y)
        xp.add(y, 0.5, out=y)
        xp.multiply(y, 0.2, out=u)
        xp.maximum(y, u, out=y)
        xp.multiply(y, 2.0, out=y)
        xp.add(y, 0.1, out=y)

    def in_pieces(size):
        for i in range(0, n, size):
            chain(x[i : i + size], y[i : i + size], u[:size])

    yield "six ufuncs, new arrays", 1e9 * lib.seconds(new_arrays) / n, "ns/number"
    yield "six ufuncs, out=", 1e9 * lib.seconds(lambda: chain(x, y, u)) / n, "ns/number"
    if not lib.gpu:
        for log in (10, 12, 14, 16, 18, 20, 22):
            took = lib.seconds(in_pieces, 1 << log)
            yield f"in pieces of {4 << log >> 10} KiB", 1e9 * took / n, "ns/number"
    else:
        code = "float t = 3.0f * x + 0.5f; y = fmaxf(t, 0.2f * t) * 2.0f + 0.1f;"
        kernel = xp.ElementwiseKernel("float32 x", "float32 y", code, "lesson_chain")
        yield "one kernel", 1e9 * lib.seconds(lambda: kernel(x, y)) / n, "ns/number"
    yield "one pass, y = 3x", 1e9 * lib.seconds(lambda: xp.multiply(x, 3.0, out=y)) / n, "ns/number"


def numbers(lib):
    """The same work in other words, and in other numbers."""
    xp, n = lib.xp, lib.n(1 << 18)
    x, out = lib.random(n) - 0.5, xp.empty(n, np.float32)
    small, zero, wide = x * 0.2, xp.zeros_like(x), x.astype(np.float64)
    wide_out = xp.empty_like(wide)
    for name, f in (
        ("maximum(x, 0.2 x)", lambda: xp.maximum(x, small, out=out)),
        ("where(x > 0, x, 0.2 x)", lambda: xp.where(x > 0, x, small)),
        ("x * 0.5", lambda: xp.multiply(x, 0.5, out=out)),
        ("x * 0.5 in float64", lambda: xp.multiply(wide, 0.5, out=wide_out)),
        ("x * 0.5 of zeros", lambda: xp.multiply(zero, 0.5, out=out)),
    ):
        yield name, 1e9 * lib.seconds(f) / n, "ns/number"
    tiny = xp.full(n, 1e-40, np.float32)
    yield "x * 0.5 of subnormals", 1e9 * lib.seconds(lambda: xp.multiply(tiny, 0.5, out=out)) / n, "ns/number"
    X, ones = lib.random(lib.n(1 << 16), 64), xp.ones(lib.n(1 << 16), np.float32)
    for name, f in (("X.sum(0)", lambda: X.sum(axis=0)), ("ones @ X", lambda: ones @ X)):
        yield f"{name}, X of 65536 × 64", 1e9 * lib.seconds(f) / X.size, "ns/number"


def gemm(lib):
    """Products of square matrices; many small ones."""
    xp = lib.xp
    for n in (16, 32, 64, 128, 256, 512, 1024, 2048) + ((4096, 8192) if lib.gpu else ()):
        n = min(n, 16) if lib.quick else n
        a, b, c = lib.random(n, n), lib.random(n, n), xp.empty((n, n), np.float32)
        yield f"float32, n = {n}", 2 * n**3 / lib.seconds(xp.matmul, a, b, out=c) / 1e9, "GFLOP/s"
    n = 16 if lib.quick else 1024
    a, b = lib.random(n, n), lib.random(n, n)
    yield f"float32, n = {n}, a transposed view", 2 * n**3 / lib.seconds(lambda: a @ b.T) / 1e9, "GFLOP/s"
    a, b = a.astype(np.float64), b.astype(np.float64)
    yield f"float64, n = {n}", 2 * n**3 / lib.seconds(lambda: a @ b) / 1e9, "GFLOP/s"
    x, w = lib.random(4 if lib.quick else 256, 64), lib.random(64, 32)
    rows, flop = [x[i : i + 1] for i in range(len(x))], 2 * x.size * 32
    took = lib.seconds(lambda: [row @ w for row in rows])
    yield "256 samples through a dense layer, one by one", flop / took / 1e9, "GFLOP/s"
    yield "256 samples through a dense layer, at once", flop / lib.seconds(lambda: x @ w) / 1e9, "GFLOP/s"
    if lib.gpu:
        yield from tensor_cores(lib)


def tensor_cores(lib):
    """minigen's own product, by what its factors are rounded to; "float32" is three products of TF32 numbers."""
    import minigen as mg
    from minigen.backend.precision import PRECISIONS

    n = 16 if lib.quick else 4096
    a, b = lib.random(n, n), lib.random(n, n)
    before = mg.backend.set_precision("float32")
    try:
        for name in PRECISIONS:
            mg.backend.set_precision(name)
            yield f"minigen, factors in {name}, n = {n}", 2 * n**3 / lib.seconds(mg.matmul, a, b) / 1e9, "GFLOP/s"
    finally:
        mg.backend.set_precision(before)


def threads(lib):
    """Handing work to a second thread, and what two of them gain. NumPy only."""
    if lib.gpu:
        return
    import minigen as mg
    from minigen.backend import threads as pool

    there, back = queue.SimpleQueue(), queue.SimpleQueue()
    threading.Thread(target=lambda: [back.put(0) for _ in iter(there.get, None)], daemon=True).start()
    yield "to another thread and back", 1e6 * lib.seconds(lambda: (there.put(0), back.get())), "µs"
    there.put(None)
    empty = lambda: pool.run(lambda lo, hi: None, pool.parts(8))
    for count in (1, 2):
        mg.set_threads(count)
        yield f"an empty kernel, {count} thread(s)", 1e6 * lib.seconds(empty), "µs"
        for n in (128, 256, 1024):
            n = min(n, 16) if lib.quick else n
            a, b = lib.random(n, n), lib.random(n, n)
            took = lib.seconds(mg.matmul, a, b)
            yield f"product n = {n}, {count} thread(s)", 2 * n**3 / took / 1e9, "GFLOP/s"
        x = lib.random(lib.n(1 << 24))
        took = lib.seconds(mg.leaky_relu, x, 0.2)
        yield f"leaky relu of 64 MiB, {count} thread(s)", 8 * x.size / took / 1e9, "GB/s"
    mg.set_threads(1)


def overhead(lib):
    """What a call costs that computes next to nothing: 8×8 arrays."""
    import minigen as mg

    xp, a = lib.xp, lib.random(8, 8)
    out = xp.empty_like(a)
    t = mg.tensor(a, requires_grad=True)
    yield "add(a, a, out=)", 1e6 * lib.seconds(lambda: xp.add(a, a, out=out)), "µs"
    yield "a + a", 1e6 * lib.seconds(lambda: a + a), "µs"
    yield "a + a, Tensors", 1e6 * lib.seconds(lambda: t + t), "µs"
    yield "a + a and its result fetched", 1e6 * lib.seconds(lambda: float((a + a)[0, 0])), "µs"


def graph(lib):
    """100 small kernels: one by one, and captured once and replayed. CuPy only."""
    if not lib.gpu:
        return
    cupy, a = lib.xp, lib.random(8, 8)

    def steps():
        for _ in range(100):
            cupy.add(a, 1, out=a)

    yield "100 launches, each", 1e4 * lib.seconds(steps), "µs"
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        steps()  # compiled and loaded before the capture
        stream.synchronize()
        stream.begin_capture()
        steps()
        captured = stream.end_capture()
        yield "100 in a graph, each", 1e4 * lib.seconds(captured.launch), "µs"


def roofline(lib):
    """minigen's kernels against max(flop/peak, bytes/bandwidth), both measured here."""
    import minigen as mg

    mg.set_threads(1)
    xp, side = lib.xp, 16 if lib.quick else 1024
    a, b, big = lib.random(side, side), lib.random(side, side), lib.random(lib.n(1 << 24))
    copy = xp.empty_like(big)
    peak = 2 * side**3 / lib.seconds(lambda: a @ b)
    bandwidth = 8 * big.size / lib.seconds(lambda: xp.add(big, 0, out=copy))
    yield "peak: product of n = 1024", peak / 1e9, "GFLOP/s"
    yield "bandwidth: copy of 64 MiB", bandwidth / 1e9, "GB/s"
    N, C, O, H = (2, 4, 4, 4) if lib.quick else (64, 64, 128, 28)
    last = lambda n, c, h: lib.random(n, h, h, c).transpose(0, 3, 1, 2)
    x, w = last(N, C, H), last(O, C, 5)
    dense_x, dense_w = lib.random(2 * N, 12 * C), lib.random(12 * C, 6 * C)
    p, g = mg.tensor(lib.random(lib.n(1 << 22)), requires_grad=True), lib.random(lib.n(1 << 22))
    adam = mg.optim.Adam([p])
    weight = lib.random(C)
    count, outputs = x.size, N * O * H * H
    for name, f, flop, moved in (
        ("leaky relu", lambda: mg.leaky_relu(x, 0.2), 2 * count, 8 * count),
        ("batch norm", lambda: mg.batch_norm(x, None, None, weight, weight, training=True), 6 * count, 12 * count),
        ("Adam", lambda: adam.step([g]), 10 * g.size, 28 * g.size),
        (
            "dense",
            lambda: mg.matmul(dense_x, dense_w),
            2 * len(dense_x) * dense_w.size,
            4 * (dense_x.size + dense_w.size + len(dense_x) * 6 * C),
        ),
        (
            "conv 5×5",
            lambda: mg.conv2d(x, w, padding=2),
            2 * outputs * C * 25,
            4 * (count + w.size + outputs),
        ),
    ):
        bound = max(flop / peak, moved / bandwidth)
        yield f"{name}: {flop / moved:.2f} flop/byte, bound", 1e3 * bound, "ms"
        yield f"{name}: measured", 1e3 * lib.seconds(f), "ms"


SECTIONS = {f.__name__: f for f in (layout, caches, pages, fusion, numbers, gemm, threads, overhead, graph, roofline)}


def libraries(backend, *options):
    """NumPy, and CuPy if it is asked for or works."""
    import minigen as mg

    found = [Library(np, *options)]
    if backend != "numpy":
        try:
            found.append(Library(mg.use("cupy"), *options))
        except mg.BackendError as error:
            if backend == "cupy":
                sys.exit(str(error))
    return found


def better(value, other, unit):
    return max(value, other) if unit.endswith("/s") else min(value, other)


def measure(sections, libs, rounds):
    """{section: {(title, unit): {library: value}}}, the best of so many rounds, minutes apart."""
    found = {name: {} for name in sections}
    for lib in libs * rounds:
        use(lib)
        for name in sections:
            for title, value, unit in SECTIONS[name](lib):
                row = found[name].setdefault((title, unit), {})
                row[lib.name] = better(value, row.get(lib.name, value), unit)
    return found


def table(found, libs):
    """Print one table a section, a column a library."""
    for name, rows in found.items():
        if not rows:
            continue
        print(f"\n{name:<56}" + "".join(f"{lib.name:>12}" for lib in libs))
        for (title, unit), values in rows.items():
            cells = (f"{values[lib.name]:>12.4g}" if lib.name in values else f"{'—':>12}" for lib in libs)
            print(f"  {title:<54}" + "".join(cells) + f"  {unit}")


def use(lib):
    import minigen as mg

    mg.use("cupy" if lib.gpu else "numpy")


def device(libs):
    """The machine, in a line or two."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    yield f"{datetime.date.today()}, {model}, Python {platform.python_version()}, NumPy {np.__version__}"
    for lib in libs:
        if lib.gpu:
            name = lib.xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
            tf32 = os.environ.get("CUPY_TF32", "0")
            yield f"{name}, CuPy {lib.xp.__version__}, CUPY_TF32={tf32} (1: float32 products by TF32 tensor cores)"


def main(argv=None):
    p = argparse.ArgumentParser("python lessons/machine.py", description=__doc__.splitlines()[0])
    p.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (default: all)")
    p.add_argument("--backend", choices=("auto", "numpy", "cupy"), default="auto", help="(default: auto)")
    p.add_argument("--rounds", type=int, default=3, help="of all sections; the best of each row counts (default: 3)")
    p.add_argument("--quick", action="store_true", help="tiny arrays: whether it runs, not how fast")
    p.add_argument("--pages-child", action="store_true", help=argparse.SUPPRESS)
    args = p.parse_args(argv)
    if unknown := set(args.sections) - set(SECTIONS):
        p.error(f"no section {sorted(unknown)[0]!r}. Known: {', '.join(SECTIONS)}.")
    sys.path.insert(0, str(ROOT))
    import threadpoolctl

    import minigen as mg

    threads_before = mg.get_threads()
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        mg.set_threads(1)
        try:
            if args.pages_child:
                return pages_child(Library(np, args.quick))
            libs = libraries(args.backend, args.quick)
            print(*device(libs), sep="\n")
            table(measure(args.sections or list(SECTIONS), libs, 1 if args.quick else args.rounds), libs)
        finally:
            mg.set_threads(threads_before)
            mg.use("numpy")


if __name__ == "__main__":
    main()

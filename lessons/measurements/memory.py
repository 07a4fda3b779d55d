"""What memory costs: layouts, caches, new pages, and passes over large arrays."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

COMMAND = Path(__file__).resolve().parent.parent / "machine.py"


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
        command = [sys.executable, str(COMMAND), "--pages-child"]
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

"""What arithmetic costs: kinds of numbers, products of matrices, and minigen's kernels under the roofline."""

import numpy as np


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
    from minigen.backend.precision import possible

    n = 16 if lib.quick else 4096
    a, b = lib.random(n, n), lib.random(n, n)
    before = mg.backend.set_precision("float32")
    try:
        for name in possible(int(lib.xp.cuda.Device().compute_capability)):
            mg.backend.set_precision(name)
            yield f"minigen, factors in {name}, n = {n}", 2 * n**3 / lib.seconds(mg.matmul, a, b) / 1e9, "GFLOP/s"
    finally:
        mg.backend.set_precision(before)


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

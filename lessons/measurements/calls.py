"""What a call costs: handing work to threads, launching kernels, replaying graphs."""

import queue
import threading


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

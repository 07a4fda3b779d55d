"""minigen's side of the measurement on a GPU: its training steps, eager and captured, and what happens within one."""

import json
import statistics
import tempfile
import time
from pathlib import Path

from ..backend import Generator, set_precision, synchronize, use
from ..backend.gpu import measure
from .gpu_check import check_kernels, check_workload, period, rounding
from .gpu_taps import Times, tapped
from .gpu_tiles import REPEATS, products
from .workloads import WORKLOADS, training

WAYS = ("eager", "graph")
PROFILED = 10  # steps


class Contender:
    """Training steps of a workload. period: how many a cycle has."""

    def __init__(self, workload, precision, way, batch, thin=1):
        set_precision(precision)
        self.precision = precision
        self.run = training(WORKLOADS[workload](Generator(0), thin=thin), batch, graph=way == "graph")
        self.period = period(self.run)

    def select(self):
        set_precision(self.precision)

    def cycle(self):
        for _ in range(self.period):
            self.run.step()

    def held(self):
        """Bytes that its graphs hold besides the default pool."""
        pool = self.run.captured and self.run.captured.pool
        return pool.total_bytes() if pool else 0

    def note(self):
        return self.run.graph_note or ""


class Library:
    """What gpu_worker.Server asks for, by CuPy."""

    contender = Contender
    check_kernels = staticmethod(check_kernels)
    check_workload = staticmethod(check_workload)

    def __init__(self, rehearsal=False):
        self.rehearsal = rehearsal
        use("cupy")  # raises BackendError, which says why, where CuPy cannot be used

    def describe(self):
        """Versions and the device."""
        return measure.describe()

    synchronize = staticmethod(synchronize)
    held = staticmethod(measure.held)
    milliseconds = staticmethod(measure.milliseconds)

    def ceilings(self):
        """What the device can do, where there is no PyTorch to ask."""
        return measure.ceilings(64 if self.rehearsal else 8192)

    # ------------------------------------------------------------------------------------------- within a step

    def breakdown(self, workload, precision, batch, thin=1):
        """{"step_us", "host_us", "calls": rows of gpu_taps.Times} of an eager cycle, a step on average.

        The device is kept busy first, so that it works through a full queue: the times are its own, not the host's.
        """
        with rounding(precision):
            contender = Contender(workload, precision, "eager", batch, thin)
            for _ in range(3):
                contender.cycle()
            synchronize()
            began = time.perf_counter()
            contender.cycle()
            host = time.perf_counter() - began
            found = []
            for _ in range(3):
                times, total = Times(measure.mark, measure.between), 0.0
                for _ in range(contender.period):
                    measure.occupy(3 * host / contender.period, 1 << 10 if self.rehearsal else 1 << 30)
                    begin = measure.mark()
                    with tapped(times):
                        contender.run.step()
                    end = measure.mark()
                    end.synchronize()
                    total += measure.between(begin, end)
                found.append((total, times.rows()))
        total, rows = sorted(found, key=lambda f: f[0])[1]
        n = contender.period
        rows = [{k: v if isinstance(v, str) else v / n for k, v in row.items()} for row in rows]
        return {"step_us": 1e3 * total / n, "host_us": 1e6 * host / n, "calls": rows}

    def tiles(self, workload, precision, batch, thin=1, repeats=REPEATS):
        """Rows of gpu_tiles.products, of an eager step in which every objective is due."""
        with rounding(precision):
            contender = Contender(workload, precision, "eager", batch, thin)
            for _ in range(contender.period - 1):
                contender.run.step()
            return products(contender.run.step, min(repeats, 1) if self.rehearsal else repeats)

    def profile(self, workload, precision, batch, thin=1):
        """{"step_us", "kernels": [{"kernel", "launches", "us"}]} a step, as CUPTI sees it: all that runs.

        By PyTorch's profiler, which sees all launches of the process, within graphs too.
        """
        import torch

        activities = [torch.profiler.ProfilerActivity.CPU if self.rehearsal else torch.profiler.ProfilerActivity.CUDA]
        with rounding(precision):
            contender = Contender(workload, precision, "graph", batch, thin)
            for _ in range(4):
                contender.cycle()
            spent = statistics.median(self.milliseconds(contender.cycle) for _ in range(5))
            cycles = -(-PROFILED // contender.period)
            if not self.rehearsal:
                torch.zeros(1, device="cuda")  # the profiler looks at a context that PyTorch knows
            synchronize()
            with torch.profiler.profile(activities=activities) as profiler:
                for _ in range(cycles):
                    contender.cycle()
                synchronize()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(path))
            events = json.loads(path.read_text())["traceEvents"]
        n = cycles * contender.period
        return {"step_us": 1e3 * spent / contender.period, "kernels": launches_of(events, n)}


def launches_of(events, steps):
    """[{"kernel", "launches", "us"}] a step, the longest first, from the events of a Chrome trace."""
    found = {}
    for event in events:
        if event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset"):
            row = found.setdefault(event["name"], {"kernel": event["name"], "launches": 0, "us": 0.0})
            row["launches"] += 1 / steps
            row["us"] += event["dur"] / steps
    return sorted(found.values(), key=lambda row: -row["us"])

"""minigen's side of the measurement on a GPU: its training steps, eager and captured, and what happens within one."""

import contextlib
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from ..backend import Generator, set_precision, synchronize, use
from .gpu_check import check_kernels, check_workload, period, rounding
from .gpu_taps import Times, tapped
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
        self.cupy = use("cupy")

    def describe(self):
        """Versions and the device."""
        cupy = self.cupy
        found = {"cupy": cupy.__version__, "numpy": np.__version__, "capability": cupy.cuda.Device().compute_capability}
        if not self.rehearsal:
            runtime, device = cupy.cuda.runtime, cupy.cuda.Device()
            properties = runtime.getDeviceProperties(device.id)
            found["name"] = properties["name"].decode()
            found["multiprocessors"] = properties["multiProcessorCount"]
            found["GiB"] = device.mem_info[1] / 2**30
            found["CUDA"], found["driver serves"] = runtime.runtimeGetVersion(), runtime.driverGetVersion()
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                asked = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
                said = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout
                found["nvidia-smi"] = said.strip().splitlines()[0] if said.strip() else ""
        return found

    def synchronize(self):
        synchronize()

    def held(self):
        """Bytes that the default pool holds, once what nobody uses is given back."""
        self.cupy.get_default_memory_pool().free_all_blocks()
        return self.cupy.get_default_memory_pool().total_bytes()

    def mark(self):
        event = self.cupy.cuda.Event()
        event.record()
        return event

    def between(self, begin, end):
        return self.cupy.cuda.get_elapsed_time(begin, end)

    def milliseconds(self, work):
        """What the device takes for `work()`."""
        begin = self.mark()
        work()
        end = self.mark()
        end.synchronize()
        return self.between(begin, end)

    def ceilings(self):
        """{"bytes/s": of a large copy, "float32": FLOP/s of cuBLAS}: where there is no PyTorch to ask."""
        n = 64 if self.rehearsal else 8192
        room, a = (self.cupy.asarray(np.random.default_rng(0).random((n, n), np.float32)) for _ in range(2))
        times = lambda work: statistics.median(self.milliseconds(work) for _ in range(10)) / 1e3
        moved, product = times(lambda: room.__setitem__(..., a)), times(lambda: a @ a)
        return {"bytes/s": 2 * a.nbytes / moved, "float32": 2 * n**3 / product}

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
                times = Times(self.mark, self.between)
                self.occupy(3 * host)
                begin = self.mark()
                with tapped(times):
                    contender.cycle()
                end = self.mark()
                end.synchronize()
                found.append((self.between(begin, end), times.rows()))
        total, rows = sorted(found, key=lambda f: f[0])[1]
        n = contender.period
        rows = [{k: v if isinstance(v, str) else v / n for k, v in row.items()} for row in rows]
        return {"step_us": 1e3 * total / n, "host_us": 1e6 * host / n, "calls": rows}

    def occupy(self, seconds):
        """Give the device work for so long."""
        room = self.cupy.zeros((1 << 10 if self.rehearsal else 1 << 28,), np.float32)
        once = self.milliseconds(room.copy)
        for _ in range(1 if self.rehearsal else min(400, 1 + int(1e3 * seconds / max(once, 1e-3)))):
            room.copy()

    def profile(self, workload, precision, batch, thin=1):
        """{"way", "step_us", "kernels": [{"kernel", "launches", "us"}]} a step, as CUPTI sees it: all that runs.

        By PyTorch's profiler, which sees all launches of the process, within graphs too.
        """
        import torch

        activities = [torch.profiler.ProfilerActivity.CPU if self.rehearsal else torch.profiler.ProfilerActivity.CUDA]
        with rounding(precision):
            contender = Contender(workload, precision, "graph", batch, thin)
            for _ in range(4):
                contender.cycle()
            cycles = -(-PROFILED // contender.period)
            synchronize()
            with torch.profiler.profile(activities=activities) as profiler:
                for _ in range(cycles):
                    contender.cycle()
                synchronize()
            spent = statistics.median(self.milliseconds(contender.cycle) for _ in range(5))
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

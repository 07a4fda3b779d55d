"""`python -m minigen.bench --backend cupy`: training steps on a GPU, against PyTorch's.

On a machine that is lent for minutes, from the root of the repository (nothing need be installed but minigen's
dependencies, CuPy, and PyTorch for the comparison):

    PYTHONUNBUFFERED=1 python3 -m minigen.bench --backend cupy --minutes 9 --json "$OUT/gpu.json"

1. Is it right: gpu_check.py, one process for each workload, at the same time; meanwhile torch.compile compiles.
2. What the device can do: a large copy, large products.
3. The steps, precision by precision: contenders in turns, in processes that each hold one library.
4. Where the time goes, kernel by kernel.

It ends in time whatever happens: what is worth most comes first, each thing asked for has a limit, what fails is
recorded and the rest goes on. The JSON file is written again after each row.
"""

import concurrent.futures
import contextlib
import datetime
import statistics
import sys
import threading
from typing import NamedTuple

from ..backend.precision import possible
from ..run import save_json
from . import gpu_report
from .gpu_floors import floors, least
from .gpu_processes import Clock, Worker, WorkerError, processors
from .rounds import ratio


class Size(NamedTuple):
    """How large a measurement is. few: the batch of steps that are repeated on the host."""

    batches: dict
    few: int
    thin: int
    rounds: int
    seconds: float  # of a turn
    large: int


FULL = Size({"dcgan64": 128, "dcgan": 128, "vae64": 128, "mlpvae": 128, "wgangp": 64}, 16, 1, 5, 0.05, 8)
REHEARSAL = Size(dict.fromkeys(FULL.batches, 2), 2, 32, 2, 0.0, 1)
WORKLOADS = list(FULL.batches)
ONLY = ("dcgan64", "wgangp")  # the workloads that the benchmark on the CPU does not have
PRECISIONS = ("tf32", "float32", "bfloat16")
CONVOLUTIONAL = ("dcgan64", "dcgan", "vae64", "wgangp")
PREPARING = 0.4  # share of the time that checks and compilers may take
A_ROW, A_BREAKDOWN = 12.0, 6.0  # s: with less left, none is begun
LAST = 8.0  # s that are kept for the end


def measure(args, kind):
    """What a `kind` of Bench finds, as a dict that JSON can hold. Exits with a sentence where CuPy cannot be used."""
    bench = kind(args, REHEARSAL if args.rehearse else FULL, Clock(args.minutes - LAST / 60))
    try:
        bench.run()
    finally:
        bench.close()
    return bench.found


class Bench:
    """A measurement: its processes, and what was found so far."""

    def __init__(self, args, size, clock):
        self.args, self.size, self.clock = args, size, clock
        self.precisions = [p for p in PRECISIONS if p in args.precision]
        self.options = ["--rehearse"] if args.rehearse else []
        self.minigen, self.torch = self.worker("minigen"), None if args.no_torch else self.worker("torch")
        self.compilers, self.compiled = {}, {}  # a process for each workload; {key: facts, or why there are none}
        self.lock = threading.Lock()
        self.found = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": " ".join(["python", "-m", "minigen.bench", *sys.argv[1:]]),
            "rehearsal": args.rehearse,
            **{facts: {} for facts in ("device", "torch", "floors", "ceilings")},
            **{rows: [] for rows in ("checks", "rows", "breakdown", "profile", "tiles", "troubles")},
        }

    def worker(self, name):
        return Worker(self.clock, name, *self.options)

    def describe(self):
        """Who is here: the device, and PyTorch unless it cannot be used."""
        try:
            self.found["device"] = self.minigen.ask("describe", limit=120)
        except WorkerError as error:
            sys.exit(f"python -m minigen.bench: --backend cupy: {error}")
        if self.torch:
            with self.trouble("PyTorch"):
                self.found["torch"] = self.torch.ask("describe", limit=120)
            if not self.found["torch"]:
                self.torch.close()
                self.torch = None
        gpu_report.print_machine(self.found)
        self.leave_out()

    def run(self):
        self.describe()
        self.prepare()
        self.ceilings()
        first, *others = self.precisions
        for stage, precision in [(0, first), (1, first), *((s, p) for s in (0, 1) for p in others)]:
            (self.rows, self.breakdowns)[stage](precision)
        self.profiles()
        self.found["seconds"] = self.clock.spent()
        gpu_report.print_summary(self.found)

    def leave_out(self):
        """The precisions that this GPU has not."""
        capability = int(self.found["device"]["capability"])
        missing = [p for p in self.precisions if p not in possible(capability)]
        self.precisions = [p for p in self.precisions if p not in missing]
        why = f"not on compute capability {capability // 10}.{capability % 10}"
        if not self.precisions:
            sys.exit(f"python -m minigen.bench: --precision {' '.join(missing)}: {why}.")
        if missing:
            self.found["troubles"].append(f"left out: {', '.join(missing)}: {why}")
            print(f"!! {self.found['troubles'][-1]}", flush=True)

    @contextlib.contextmanager
    def trouble(self, what):
        """What goes wrong inside is recorded, and told; the measurement goes on."""
        try:
            yield
        except WorkerError as error:
            self.found["troubles"].append(f"{what}: {error}")
            print(f"!! {what}: {error}", flush=True)
        finally:
            self.save()

    def save(self):
        if self.args.json:
            with self.lock:
                save_json(self.args.json, self.found)

    def options_of(self, workload):
        return {"workload": workload, "batch": self.size.batches[workload], "thin": self.size.thin}

    # --------------------------------------------------------------------------------------------- 1. before timing

    def prepare(self):
        """Checks, each in a process of its own, torch.compile beside them, and the floors in this one."""
        until = PREPARING * self.clock.left() + self.clock.spent()
        jobs = max(2, processors() * 2 // 3)
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            checks = [pool.submit(self.check, what, until) for what in ("kernels", *self.args.workloads)]
            compiling = [pool.submit(self.compile, w, until) for w in self.args.workloads if self.torch]
            for workload in self.args.workloads:
                self.found["floors"][workload] = floors(workload, self.size.batches[workload], self.size.thin)
            for check in concurrent.futures.as_completed(checks):
                self.found["checks"] += check.result()
                self.save()
            concurrent.futures.wait(compiling)
        gpu_report.print_checks(self.found["checks"])

    def check(self, what, until):
        """Findings of the kernels, or of a workload; that there are none is one, too."""
        worker, found = self.worker("minigen"), []
        ask = lambda do, **options: found.extend(worker.ask(do, limit=until - self.clock.spent(), **options))
        try:
            if what == "kernels":
                ask("check_kernels", large=self.size.large, precisions=self.precisions)
            for p in self.precisions if what != "kernels" else ():
                options = self.options_of(what) | {"few": self.size.few, "first": p == self.precisions[0]}
                ask("check_workload", precision=p, **options)
        except WorkerError as error:
            missing = {"what": f"{what}: the other checks", "error": None, "allowed": 0.0, "ok": False}
            found.append(missing | {"where": str(error)})
        finally:
            worker.close()
        return [{"group": what, **f} for f in found]

    def compile(self, workload, until):
        """A process that holds the workload compiled by torch.compile, as far as there was time."""
        worker = self.worker("torch")
        self.compilers[workload] = worker
        for precision in self.precisions:
            for way in ("compile", "compile graph"):
                key, limit = f"{workload} {precision} {way}", until - self.clock.spent()
                options = self.options_of(workload) | {"precision": precision, "way": way}
                try:
                    if limit <= 0:
                        raise WorkerError("there was no time left to compile it.")
                    if way == "compile graph" and "error" in self.compiled[f"{workload} {precision} compile"]:
                        raise WorkerError("it could not be compiled.")
                    self.compiled[key] = worker.ask("prepare", limit=limit, key=key, **options)
                except WorkerError as error:
                    self.compiled[key] = {"error": str(error)}

    # --------------------------------------------------------------------------------------------- 2. the device

    def ceilings(self):
        with self.trouble("ceilings"):
            self.found["ceilings"] = (self.torch or self.minigen).ask("ceilings")
        gpu_report.print_ceilings(self.found)

    # --------------------------------------------------------------------------------------------- 3. steps

    def rows(self, precision):
        gpu_report.print_titles()
        for workload in self.args.workloads:
            if self.clock.left() > A_ROW:
                with self.trouble(f"{workload}, {precision}"):
                    self.found["rows"].append(self.row(workload, precision))
                    gpu_report.print_row(self.found, self.found["rows"][-1])

    def contenders(self, workload, precision):
        """[(name, worker, key)]; those of torch.compile are ready, or not there."""
        ways = [("minigen", self.minigen, way) for way in ("eager", "graph")]
        if self.torch:
            layouts = ("eager", "channels-last", "graph", "channels-last graph")
            known = layouts if workload in CONVOLUTIONAL else ("eager", "graph")
            ways += [("torch", self.torch, way) for way in known]
            ways += [("torch", self.compilers[workload], way) for way in ("compile", "compile graph")]
        return [(f"{library} {way}", worker, f"{workload} {precision} {way}") for library, worker, way in ways]

    def row(self, workload, precision):
        """Times of all contenders, ms a step: medians over rounds, in each of which all have a turn."""
        contenders, times, facts, errors = self.contenders(workload, precision), {}, {}, {}
        for name, worker, key in contenders:
            self.attempt(errors, name, lambda: facts.update({name: self.start(worker, key, workload, precision)}))  # noqa: B023
        for i in range(self.size.rounds):
            for name, worker, key in contenders[i % len(contenders) :] + contenders[: i % len(contenders)]:
                if name not in errors:
                    self.attempt(errors, name, lambda: self.turn(times, name, worker, key))  # noqa: B023
        for worker in (self.minigen, self.torch):
            if worker and worker.process:
                keys = [key for _, w, key in contenders if w is worker]
                self.attempt(errors, "clearing up", lambda: worker.ask("forget", keys=keys))  # noqa: B023
        times = {name: t for name, t in times.items() if len(t) == self.size.rounds and name not in errors}
        checks = [c for c in self.found["checks"] if c["group"] == workload]
        return {
            "workload": workload,
            "batch": self.size.batches[workload],
            "precision": precision,
            "trusted": bool(checks) and all(c["ok"] for c in checks),
            "ms": {name: statistics.median(t) for name, t in times.items()},
            "rounds": times,
            "facts": facts,
            "errors": errors,
            **self.compared(times),
            "floor": least(self.found["floors"].get(workload), self.found["ceilings"], precision),
        }

    def start(self, worker, key, workload, precision):
        """Facts about a contender that is ready now."""
        if "compile" in key:
            if "error" in self.compiled[key]:
                raise WorkerError(self.compiled[key]["error"])
            return self.compiled[key]
        way = key.removeprefix(f"{workload} {precision} ")
        return worker.ask("prepare", key=key, precision=precision, way=way, **self.options_of(workload))

    def turn(self, times, name, worker, key):
        times.setdefault(name, []).append(worker.ask("turn", key=key, seconds=self.size.seconds, limit=30)["ms"])

    @staticmethod
    def attempt(errors, name, work):
        try:
            work()
        except WorkerError as error:
            errors[name] = str(error)

    @staticmethod
    def compared(times):
        """minigen's graph, or eager steps where there is none, in units of PyTorch's best and of its eager ones."""
        own = next((n for n in ("minigen graph", "minigen eager") if n in times), None)
        best = min((n for n in times if n.startswith("torch")), key=lambda n: statistics.median(times[n]), default=None)
        over = lambda other: ratio(times, own, other) if own and other in times else None
        return {"own": own, "best": best, "/best": over(best), "/eager": over("torch eager")}

    # --------------------------------------------------------------------------------------------- 4. within a step

    def breakdowns(self, precision):
        for workload in self.args.workloads:
            if self.clock.left() > A_BREAKDOWN:
                with self.trouble(f"breakdown of {workload}, {precision}"):
                    found = self.minigen.ask("breakdown", precision=precision, **self.options_of(workload))
                    self.found["breakdown"].append({"workload": workload, "precision": precision, **found})

    def profiles(self):
        """In a process of its own, the last one: a profiler slows down everything after it."""
        worker = self.worker("minigen")
        self.minigen.close()
        for precision in self.precisions if self.torch else ():
            for workload in self.args.workloads:
                if self.clock.left() > A_BREAKDOWN:
                    with self.trouble(f"profile of {workload}, {precision}"):
                        found = worker.ask("profile", precision=precision, **self.options_of(workload))
                        self.found["profile"].append({"workload": workload, "precision": precision, **found})
        worker.close()

    def close(self):
        for worker in (self.minigen, self.torch, *self.compilers.values()):
            if worker:
                worker.close(grace=0.5)
        self.save()

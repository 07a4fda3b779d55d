"""A process that measures on the GPU when gpu.py asks:  python -m minigen.benchmarks.gpu_worker minigen|torch

It reads JSON objects {"do": name, option: ...}, one a line, and answers each with {"value": ...} or {"error": "..."}.
A process of its own for each library: an illegal address spoils all that a process does on the GPU after it.

--rehearse: everything on the CPU, minigen on the stand-in for CuPy that the tests have.
"""

import importlib
import itertools
import json
import os
import sys
import time
from pathlib import Path

from ..backend import BackendError

WARM_UP = 3  # cycles: kernels are compiled and chosen, steps captured
TESTS = Path(__file__).parents[2] / "tests"


class Server:
    """Answers requests: its public methods. library: gpu_minigen.Library or gpu_torch.Library."""

    def __init__(self, library):
        self.library, self.contenders = library, {}

    def describe(self):
        """Versions, device."""
        return self.library.describe()

    def prepare(self, key, **what):
        """Make a contender ready to be timed, under the name `key`; seconds it took, MiB that it holds, a remark."""
        began = time.perf_counter()
        self.contenders.pop(key, None)
        before = self.library.held()
        contender = self.contenders[key] = self.library.contender(**what)
        try:
            for _ in range(WARM_UP):
                contender.cycle()
            self.library.synchronize()
        except BaseException:
            del self.contenders[key]
            raise
        held = self.library.held() - before + contender.held()
        return {"seconds": time.perf_counter() - began, "MiB": held / 2**20, "note": contender.note()}

    def turn(self, key, seconds):
        """ms a step, by events on the device, of as many steps as take about so many seconds."""
        if key not in self.contenders:
            raise RuntimeError("its process ended in between, and it was lost.")
        contender, measure = self.contenders[key], self.library.milliseconds
        contender.select()
        once = measure(contender.cycle)  # also warms up
        n = max(1, min(1000, round(1000 * seconds / max(once, 1e-3))))
        spent = measure(lambda: [contender.cycle() for _ in itertools.repeat(None, n)])
        return {"ms": spent / (n * contender.period), "steps": n * contender.period}

    def forget(self, keys):
        """Let contenders go."""
        for key in keys:
            self.contenders.pop(key, None)
        self.library.held()

    def __getattr__(self, name):
        """All else is the library's: ceilings, checks, breakdowns."""
        return getattr(self.library, name)


def serve(server, requests, answers):
    """Answer until there are no more requests, or nothing can be done on the device any more."""
    for line in requests:
        options = json.loads(line)
        try:
            answer = {"value": getattr(server, options.pop("do"))(**options)}
        except Exception as error:
            answer = refused(error)
            try:
                server.library.synchronize()
            except Exception:
                answer["fatal"] = True
        print(json.dumps(answer), file=answers, flush=True)
        if answer.get("fatal"):
            os._exit(1)  # what is held on the device cannot be freed in order any more


def refused(error):
    """The answer that an error is: its own words for BackendError, which is addressed to the user."""
    said = f"{error}" if isinstance(error, BackendError) else f"{type(error).__name__}: {error}"
    return {"error": " ".join(said.split())[:600]}


def rehearse():
    """`import cupy` finds the stand-in, on a GPU with tensor cores; products in small tiles."""
    sys.path.append(str(TESTS))
    try:
        stand_in = importlib.import_module("backend.fake_cupy_timed")
    except ImportError as error:
        sys.exit(f"--rehearse: the stand-in for CuPy lies in the tests of minigen's repository ({error}).")
    sharing = importlib.import_module("minigen.backend.gpu.sharing")
    sharing.TILES = sharing.TILES[-1:]
    inside = stand_in.installed(products="emulated")
    inside.__enter__()
    return inside


def main(name, *options):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print what they like
    inside = rehearse() if "--rehearse" in options and name == "minigen" else None
    from . import gpu_minigen, gpu_torch

    try:
        library = {"minigen": gpu_minigen, "torch": gpu_torch}[name].Library(rehearsal="--rehearse" in options)
    except Exception as error:  # no CuPy, no PyTorch, no GPU: it is the answer to the first request
        print(json.dumps(refused(error)), file=answers, flush=True)
        return
    serve(Server(library), sys.stdin, answers)
    del inside


if __name__ == "__main__":
    main(*sys.argv[1:])

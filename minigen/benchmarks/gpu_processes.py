"""The processes that measure, as gpu.py sees them: each is asked for one thing at a time, and may not take too long."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

THREADS = "TORCHINDUCTOR_COMPILE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"


def processors():
    """How many of them this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2


class WorkerError(RuntimeError):
    """What a process answered instead of a result, or that it did not: one sentence."""


class Clock:
    """How much is left of the time that a measurement may take."""

    def __init__(self, minutes):
        self.began, self.seconds = time.monotonic(), 60 * minutes

    def spent(self):
        return time.monotonic() - self.began

    def left(self):
        return self.seconds - self.spent()


class Worker:
    """A process that runs gpu_worker.py with these options; it is started when it is asked, again where it ended."""

    command = [sys.executable, "-m", "minigen.benchmarks.gpu_worker"]

    def __init__(self, clock, *options):
        self.clock, self.options = clock, options
        self.process, self.said, self.answers = None, None, None

    def ask(self, do, limit=60.0, **options):
        """What the process answers, waited for at most `limit` seconds, and never past the clock."""
        if self.process is None or self.process.poll() is not None:
            self._start()
        limit = min(limit, self.clock.left())
        if limit <= 0:
            raise WorkerError("no time is left.")
        try:
            print(json.dumps({"do": do, **options}), file=self.process.stdin, flush=True)
            line = self.answers.get(timeout=limit)
        except queue.Empty:
            self.close(grace=0)
            raise WorkerError(f"no answer within {limit:.0f} s.") from None
        except OSError:  # it ended before it could be asked
            line = None
        if line is None:
            raise WorkerError(f"its process ended: {self._last_words()}")
        answer = json.loads(line)
        if answer.get("fatal"):
            self.close(grace=1.0)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["value"]

    def _start(self):
        self.close(grace=0)
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]
        few = str(max(1, processors() // 4))  # several check and compile at once
        own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **dict.fromkeys(THREADS, few)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [*self.command, *self.options], env=os.environ | own, stdin=pipe, stdout=pipe, stderr=self.said, text=True
        )
        self.answers = queue.SimpleQueue()
        threading.Thread(target=_lines, args=(self.process.stdout, self.answers), daemon=True).start()

    def _last_words(self):
        self.said.seek(0)
        return " ".join(" ".join(self.said.read().splitlines()[-3:]).split())[-400:] or "it said nothing."

    def close(self, grace=5.0):
        """End the process: it is asked to, and killed if it does not within `grace` seconds."""
        if self.process is None:
            return
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.said.close()
        self.process = None


def _lines(stream, answers):
    """Pass on what a process answers, and None at its end."""
    with stream:
        for line in stream:
            answers.put(line)
    answers.put(None)

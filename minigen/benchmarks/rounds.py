"""Starts contenders, each in a process of its own, and takes their times in turn.

Interleaved rounds: what slows the machine for a while slows all contenders, so ratios within a round stay fair.
Processes of their own: thread pools and malloc settings of one do not disturb another. While one runs, the others
wait for input.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS_A_TURN = 0.3
PAUSE = 0.05  # s between turns: idle BLAS and OpenMP threads spin for some milliseconds


class ContenderError(RuntimeError):
    """A contender that cannot be run; the message holds the end of what it said."""


class Contender:
    """A process that makes training steps when asked to. command: see `contender.py`; environment: what it adds."""

    def __init__(self, name, command, environment=None):
        self.name = name
        pipe = subprocess.PIPE
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]  # minigen, wherever we were started
        own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **(environment or {})}
        self.process = subprocess.Popen(
            command, env=os.environ | own, stdin=pipe, stdout=pipe, stderr=self.said, text=True
        )

    def wait_until_ready(self):
        """Its settings, once it has made its first steps."""
        word, _, settings = self._line().partition(" ")
        if word != "ready":
            raise ContenderError(f'{self.name}: expected "ready"; got {word!r}.')
        self._forget_peak()
        return json.loads(settings or "{}")

    def time(self, steps):
        """The median time of so many steps, ms."""
        print(steps, file=self.process.stdin, flush=True)
        return float(self._line())

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            self.said.seek(0)
            end = self.said.read().strip().splitlines()[-5:]
            raise ContenderError("\n".join([f"{self.name}: its process ended early.", *end]))
        return line.strip()

    def _forget_peak(self):
        """Linux can forget the peak of memory use up to now, so that imports and initial weights do not count."""
        with contextlib.suppress(OSError):  # not Linux, or not allowed: the peak is then that of the whole process
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def close(self):
        """End the process; its peak memory in MiB, or None where the system does not tell."""
        peak = None
        with contextlib.suppress(OSError, StopIteration):  # neither Linux nor alive
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            peak = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
        self.process.stdin.close()
        if peak is None and hasattr(os, "wait4"):
            *_, usage = os.wait4(self.process.pid, 0)
            peak = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
        else:
            self.process.wait()
        self.process.stdout.close()
        self.said.close()
        return peak


def run_rounds(contenders, rounds, steps=None):
    """({name: [ms of each round]}, {name: peak MiB}, {name: settings}, share of the processors that others used).

    contenders: [(name, command, environment)].  steps: in a turn; None: as many as take about 0.3 s.
    """
    started, memory = [], {}
    try:
        for arguments in contenders:  # one after the other: their first steps would disturb each other's
            started.append(Contender(*arguments))
            started[-1].settings = started[-1].wait_until_ready()
        turn = {c.name: steps or max(2, min(200, round(1000 * SECONDS_A_TURN / c.time(2)))) for c in started}
        times, others = {c.name: [] for c in started}, OtherProcesses([c.process.pid for c in started])
        for i in range(rounds):
            for c in started[i % len(started) :] + started[: i % len(started)]:  # each is first, and last, in turn
                time.sleep(PAUSE)
                times[c.name].append(c.time(turn[c.name]))
        share = others.share()
    finally:
        memory = {c.name: c.close() for c in started}
    return times, memory, {c.name: c.settings for c in started}, share


def ratio(times, name, other):
    """How long `name` takes for one unit of time of `other`: the median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(times[name], times[other]))


class OtherProcesses:
    """Which share of the processors is used by other processes than these, from now on. Linux only."""

    def __init__(self, pids):
        self.pids = pids
        self.before = self._ticks()

    def _ticks(self):
        """(all, idle, ours) in clock ticks, or None."""
        try:
            fields = [int(f) for f in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
            ours = 0
            for pid in [*self.pids, os.getpid()]:
                after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ours += int(after_name[11]) + int(after_name[12])  # utime, stime
            return sum(fields), fields[3] + fields[4], ours
        except (OSError, IndexError, ValueError):
            return None

    def share(self):
        """Between 0 and 1, or None where it cannot be told."""
        after = self._ticks()
        if after is None or self.before is None:
            return None
        total, idle, ours = (b - a for a, b in zip(self.before, after))
        return max(0.0, (total - idle - ours) / total) if total else None

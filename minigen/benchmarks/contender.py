"""One contender, in a process of its own:  python -m minigen.benchmarks.contender NAME WORKLOAD BATCH

It prints "ready" and its settings as JSON, then reads numbers n, one a line, and answers each with the median time
of n steps in ms. Any script with the command line `WORKLOAD BATCH` and these answers can be a contender (`--against`).
"""

import json
import statistics
import sys
import time

WARM_UP = 4  # steps: buffers are allocated, BLAS and PyTorch choose their kernels


def minigen_step(workload, batch):
    from ..backend import Generator, threads
    from .workloads import WORKLOADS, training

    return training(WORKLOADS[workload](Generator(0)), batch).step, threads.summary()


def torch_step(workload, batch, channels_last=False):
    from ..backend import get_threads
    from .torch_workloads import settings, step_in_layout

    return step_in_layout(workload, batch, channels_last, get_threads()), settings()


CONTENDERS = {
    "minigen": minigen_step,
    "torch": torch_step,
    "torch-channels-last": lambda workload, batch: torch_step(workload, batch, channels_last=True),
}


def median_time(step, n):
    """The median time of n steps, ms."""
    times = []
    for _ in range(n):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def main(name, workload, batch):
    step, settings = CONTENDERS[name](workload, int(batch))
    for _ in range(WARM_UP):
        step()
    print("ready", json.dumps(settings), flush=True)
    for line in sys.stdin:
        print(median_time(step, int(line)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`--backend auto`: the device on which this very training is faster, by a short trial on both.

A GPU is not faster for every model: each step starts some hundred kernels, which costs it more than a small net's
arithmetic costs a CPU. Where the border lies depends on both machines, so it is measured.
"""

import math
import time

from . import backend
from .backend import BackendError, NotInstalled

SECONDS = 0.5  # of measuring on each device, after warming up
FIRST_TIME = "The first time on a GPU, its kernels are compiled, which can take a minute."
PLAINLY_SLOWER = 3  # a CPU that takes so many times as long for its first step needs no more trial


def choose(build, tell):
    """("cupy" or "numpy", why, in a sentence), and makes it the default.

    build: () → a Training on the default device; called once for each, and thrown away after a few steps.
    tell: is called with a sentence when there is a GPU, since a trial can take its time.
    Without CuPy, or without a GPU that it can use, it is "numpy".
    """
    try:
        backend.use("cupy")
    except BackendError as error:
        backend.use("numpy")
        missing = isinstance(error, NotInstalled)
        return "numpy", "" if missing else "The GPU cannot be used: python -m minigen.doctor says why."
    tell(f"--backend auto: trying the GPU and the CPU. {FIRST_TIME}")
    on_gpu = seconds_a_step(build())
    backend.use("numpy")
    on_cpu = seconds_a_step(build(), enough=PLAINLY_SLOWER * on_gpu)
    name = "cupy" if on_gpu <= on_cpu else "numpy"
    backend.use(name)
    times = f"a step takes {on_gpu * 1e3:.3g} ms on the GPU, {on_cpu * 1e3:.3g} ms on the CPU"
    return name, f"--backend auto: {times}; so it is {'CuPy' if name == 'cupy' else 'NumPy'}."


def seconds_a_step(training, enough=math.inf):
    """Seconds that a step takes once everything is compiled, captured and in the cache.

    enough: where the very first round takes more seconds a step than this, that is the answer.
    """
    round_ = math.lcm(*(o.every for o in training.objectives))  # after so many steps, every objective had its turn
    first = timed(training, round_)
    if first > max(enough, SECONDS):
        return first
    for _ in range(4):  # on the GPU a step is captured, and compared with itself, after a few
        timed(training, round_)
    spent, steps = 0.0, 0
    while spent < SECONDS:
        spent += round_ * timed(training, round_)
        steps += round_
    return spent / steps


def timed(training, steps):
    """Seconds a step of so many, until the device has done them."""
    begin = time.perf_counter()
    for _ in range(steps):
        training.step()
    backend.synchronize()
    return (time.perf_counter() - begin) / steps

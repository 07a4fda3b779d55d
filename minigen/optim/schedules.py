"""Learning-rate schedules: functions from the number of steps taken to the learning rate."""

import math


def warmup(schedule, steps):
    """The rate rises linearly over the first `steps` steps, then follows `schedule` (a number or a function)."""
    rate = schedule if callable(schedule) else lambda t: schedule
    return lambda t: rate(t) * min(1.0, (t + 1) / steps)


def step_decay(lr, every, factor=0.1):
    """lr·factor^⌊t/every⌋."""
    return lambda t: lr * factor ** (t // every)


def exponential(lr, factor):
    """lr·factorᵗ."""
    return lambda t: lr * factor**t


def linear(lr, steps, end=0.0):
    """From lr to end over `steps` steps, then end."""
    return lambda t: lr + (end - lr) * min(t / steps, 1.0)


def cosine(lr, steps, end=0.0):
    """From lr to end along half a cosine over `steps` steps, then end.       Loshchilov & Hutter 2017"""
    return lambda t: end + (lr - end) * 0.5 * (1 + math.cos(math.pi * min(t / steps, 1.0)))

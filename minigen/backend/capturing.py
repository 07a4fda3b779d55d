"""Whether a training step is being captured as a graph, and the error for what a graph cannot repeat."""

from contextlib import contextmanager


class NotCapturable(RuntimeError):
    """A step does what no graph can repeat; the message says what, as one clause."""


_capturing = False


@contextmanager
def capturing():
    """Inside, what happens on the device is recorded, not done; see `gpu/graph.py`."""
    global _capturing
    _capturing = True
    try:
        yield
    finally:
        _capturing = False


def refuse(what):
    """Raise NotCapturable while a step is being captured. what: "Generator.split draws on the host"."""
    if _capturing:
        raise NotCapturable(what)

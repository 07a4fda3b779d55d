"""Ctrl-C ends a training in order, not in the middle of a step."""

import signal
import threading
from contextlib import contextmanager


@contextmanager
def stop_on_interrupt():
    """Yields a function that tells whether Ctrl-C (or SIGTERM) came; a second one interrupts as usual."""
    came = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number, frame):
        came.append(number)
        signal.signal(number, before[number])

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Streams, events and captures for the stand-in of CuPy: work on different streams has to be ordered by events."""

import types
import weakref

current = types.SimpleNamespace()  # what CuPy keeps for a thread: stream, allocators, and how far the host has waited


class CUDARuntimeError(RuntimeError):
    def __init__(self, text, status=900):
        super().__init__(text)
        self.status = status


UNSUPPORTED = "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"
INVALIDATED = "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture"


def capturing():
    return current.stream.nodes is not None


def launch(work):
    """Do `work()` on the current stream, or keep it for the graph that the stream is capturing.

    work must hold arrays as `unowned` gives them.
    """
    current.stream.issue()
    if capturing():
        current.stream.nodes.append(work)
    else:
        work()


def needs_no_capture():
    """What waits for the device ends a capture."""
    if capturing():
        current.stream.invalid = True
        raise CUDARuntimeError(UNSUPPORTED)


class Stream:
    """Work on different streams must be ordered by events: what is not raises here (there it is a race)."""

    count = 0

    def __init__(self, null=False, non_blocking=False, ptds=False):
        Stream.count += 1
        self.ptr, self.is_non_blocking = 0 if null else Stream.count, non_blocking
        self.nodes, self.invalid, self.issued, self.saw, self.outer = None, False, 0, {}, []

    def __enter__(self):
        self.outer.append(current.stream)
        current.stream = self
        return self

    def __exit__(self, *error):
        current.stream = self.outer.pop()

    def issue(self):
        """Count a piece of work; all other streams' must have been waited for."""
        if self.nodes is not None:
            return
        for other in list(streams):
            if other is not self and other.issued > max(self.saw.get(other.ptr, 0), current.host_saw.get(other.ptr, 0)):
                raise RuntimeError(f"race: stream {self.ptr} does not wait for the work on stream {other.ptr}")
        self.issued += 1
        streams.add(self)

    def record(self, event=None):
        event = Event() if event is None else event
        event.saw = self.saw | {self.ptr: self.issued}
        return event

    def wait_event(self, event):
        for ptr, count in event.saw.items():
            self.saw[ptr] = max(count, self.saw.get(ptr, 0))

    def synchronize(self):
        needs_no_capture()
        current.host_saw = current.host_saw | self.saw | {self.ptr: self.issued}

    def is_capturing(self):
        return self.nodes is not None

    def begin_capture(self, mode=None):
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.nodes, self.invalid = [], False

    def end_capture(self):
        if self.nodes is None:
            raise CUDARuntimeError("cudaErrorIllegalState: the operation cannot be performed in the present state")
        nodes, self.nodes = self.nodes, None
        if self.invalid:
            raise CUDARuntimeError(INVALIDATED)
        return Graph(nodes)


streams = weakref.WeakSet()


class Event:
    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.saw = {}

    def record(self, stream=None):
        (stream or current.stream).record(self)

    def synchronize(self):
        needs_no_capture()
        current.host_saw = current.host_saw | self.saw


class Graph:
    """Work on fixed memory."""

    launches = 0

    def __init__(self, nodes):
        self._nodes = nodes

    def launch(self, stream=None):
        with stream or current.stream:
            launch(self._run)

    def upload(self, stream=None):
        pass

    def _run(self):
        Graph.launches += 1
        for work in self._nodes:
            work()


def synchronize():
    """The host waits for all streams."""
    needs_no_capture()
    current.host_saw = {s.ptr: s.issued for s in streams}

"""The steps of a Training as CUDA graphs: captured once, verified, then replayed."""

import contextlib
import gc
import sys

import numpy as np

from .autograd import state
from .backend import namespace
from .backend.capturing import NotCapturable
from .backend.gpu.graph import Graph, free_unused, new_pool
from .backend.kernels import kernels
from .backend.precision import precision
from .logged import Losses
from .optim.flat import in_shape, memory_order


class CapturedSteps:
    """Graphs of a Training's steps on the GPU, one for each set of objectives that are due together.

    The first step of a set is an ordinary one: it compiles kernels and makes what is made once. The second is captured
    and compared: two replays have to end, to the bit, where two ordinary steps from the same state end. From then on
    the steps are replays. (For the comparison there has to be memory for an ordinary step beside the graph's.)
    What Python does in a loss, besides calling ops, happens some times more at the second step, and no more after it.

    note: None, or why no graph is used: one sentence.  insist: raise NotCapturable instead.
    """

    def __init__(self, insist=False):
        self.insist, self.note = insist, None
        self.graphs, self.seen, self.pool = {}, set(), None

    def buffers(self, training, due, shapes):
        """The arrays from which a graph will read the next step's batch: written there, it need not be copied. Or None.

        shapes: ((shape, dtype), ...) of the batch.
        """
        graph = self.graphs.get(self._key(training, due, shapes))
        return graph and graph.batch

    def step(self, training, due, batch):
        """What `training.do(due, batch)` does and returns, by a graph if possible. batch: arrays."""
        if self.note or state.watcher is not None:  # debug() looks at every op
            return training.do(due, batch)
        key = self._key(training, due, tuple([(a.shape, a.dtype) for a in batch]))
        graph = self.graphs.get(key)
        if graph is None and key not in self.seen:
            self.seen.add(key)
            losses = training.do(due, batch)
            with contextlib.suppress(NotCapturable):
                in_one_vector(losses)  # compiles what only a captured step may need
            return losses
        if graph is None and not self._succeeds(key, training, due, batch):
            return training.do(due, batch)
        training.prepare(due)
        return self.graphs[key].replay(batch)

    @staticmethod
    def _key(training, due, shapes):
        """What a graph depends on."""
        return (*due, shapes, training.clip, training.model.training, precision())

    def _succeeds(self, key, training, due, batch):
        """Whether there is a graph now; if not, `note` says why, and everything is given back that it took."""
        try:
            self.graphs[key] = self._capture(training, due, batch)
            return True
        except (NotCapturable, MemoryError) as error:
            if self.insist:
                raise
            reason = error if isinstance(error, NotCapturable) else "there is not enough memory for both at once"
            self.note = f"No CUDA graph is used, and each step starts its kernels one by one: {reason}."
        gc.collect()  # the error is gone, but it and the frames that it held, with all they computed, refer in circles
        self.close()
        return False

    def close(self):
        """Give back the graphs and their memory."""
        self.graphs.clear()
        if self.pool is not None:
            self.pool.free_all_blocks()

    def __del__(self):
        if not sys.is_finalizing():
            self.close()

    def _capture(self, training, due, batch):
        """A StepGraph that was compared. Whatever happens, the training is in the state it was in."""
        self.pool = self.pool or new_pool()
        free_unused()  # what the first step needed: the graph needs as much of its own
        tensors = [*training.model.named_parameters(), *training.model.named_buffers()]
        before = [t.data for _, t in tensors]
        try:
            graph = StepGraph(training, due, batch, self.pool)
            for (name, t), array in zip(tensors, before):
                if not _same_place(t.data, array):
                    raise NotCapturable(f"{name!r} is replaced by a new array in each step; change it in place instead")
        finally:
            for (_, t), array in zip(tensors, before):
                t.data = array
        start = Snapshot(training)
        try:
            _verify(training, due, batch, graph, start)
        finally:
            start.restore()
        free_unused()  # what the ordinary steps needed
        return graph


def _same_place(a, b):
    """Whether two arrays are one (in-place operators of CuPy may return another object for the same memory)."""
    return a is b or (a.data.ptr, a.shape, a.strides) == (b.data.ptr, b.shape, b.strides)


class StepGraph:
    """One captured step: it reads the batch from buffers of its own, and leaves its losses in one vector."""

    def __init__(self, training, due, batch, pool):
        self.batch = [in_shape(memory_order(a).copy(), a.shape) for a in batch]
        self.names = []
        self.graph = Graph(lambda: self._losses(training.compute(due, self.batch)), pool)

    def _losses(self, losses):
        self.names = list(losses)
        return in_one_vector(losses)

    def replay(self, batch):
        """{name: 0-d array}, copies that the next replay leaves alone. batch: arrays, that may be the graph's own."""
        for buffer, array in zip(self.batch, batch):
            if array is not buffer:
                memory_order(buffer)[...] = memory_order(array)
        return Losses(self.names, self.graph.replay().copy())


def in_one_vector(losses):
    """The values of {name: array of one number}, as a new vector."""
    values = [v.reshape(1) for v in losses.values()]
    if len({v.dtype for v in values}) > 1:
        raise NotCapturable("the losses are of several dtypes")
    vector = namespace(values[0]).empty(len(values), values[0].dtype)
    kernels(vector).gather(values, vector)
    return vector


# ------------------------------------------------------------------------------------------------ verification


class Snapshot:
    """Everything that a step changes, to be compared or put back."""

    def __init__(self, training):
        self.arrays = training.persistent()
        self.values = [memory_order(a).copy() for a in self.arrays.values()]
        self.counters = [(o, o.steps) for o in (*training.optimizers, training.average) if o is not None]

    def restore(self):
        for array, value in zip(self.arrays.values(), self.values):
            array[...] = in_shape(value, array.shape)
        for counted, steps in self.counters:
            counted.steps = steps

    def difference(self, other):
        """The name of an array that differs in any bit, or None."""
        bits = lambda v: v.view(np.uint8)
        for name, a, b in zip(self.arrays, self.values, other.values):
            if not (bits(a) == bits(b)).all():
                return name
        return None


def _verify(training, due, batch, graph, start):
    """Raise NotCapturable unless two replays from `start` end where two ordinary steps end."""

    def after_two(step):
        for _ in range(2):
            step()
        end = Snapshot(training)
        start.restore()
        return end

    def replayed():
        training.prepare(due)
        graph.replay(batch)

    replays = after_two(replayed)
    ordinary = after_two(lambda: training.do(due, batch))
    name = ordinary.difference(replays)
    if name is None:
        return
    again = after_two(lambda: training.do(due, batch)).difference(ordinary)
    if again is not None:
        raise NotCapturable(f"an ordinary step does not repeat itself to the bit ({again!r} differs)")
    raise NotCapturable(f"a replayed step does not end where an ordinary one does ({name!r} differs)")

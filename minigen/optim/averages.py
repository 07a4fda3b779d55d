"""Clipping of gradients, and averages of weights."""

import operator
from contextlib import contextmanager

import numpy as np

from ..autograd import Tensor
from ..backend import asarray, namespace, to_numpy
from ..backend.kernels import kernels
from ..backend.layout import in_memory_order
from .flat import in_shape, memory_order
from .numbers import held

_times = in_memory_order(operator.mul)


def global_norm(gradients):
    """√Σ g² over all elements of all gradients: a 0-d array."""
    total = 0
    for g in gradients:
        v = memory_order(g)
        # On the GPU `dot` is cuBLAS's, which cannot be captured in a graph.
        total = total + (v.dot(v) if namespace(v) is np else (v * v).sum())
    return total**0.5


def clip_grad_norm(gradients, max_norm):
    """(gradients, norm): all scaled by one factor, so that their global norm is at most max_norm. None stay None."""
    arrays = [g.data if isinstance(g, Tensor) else g for g in gradients]
    norm = global_norm([g for g in arrays if g is not None])
    factor = namespace(norm).minimum(max_norm / (norm + 1e-6), 1.0)
    return [None if g is None else _times(g, factor) for g in arrays], norm


class EMA:
    """An exponential moving average of parameters: avg ← d·avg + (1 − d)·p after each step.

    d = min(decay, (1 + t)/(10 + t)) at step t, so that the random start is forgotten soon.
    A generator's average draws better than its last weights.       Yazıcı et al. 2019

    Like an optimiser's step, `update` has a part on the host, `prepare`, and one on the device, `apply`.
    flats: the flat storage of optimisers (`optimizer.flat`); parameters that are neighbours there are averaged as one.
    """

    count = 1  # numbers that change from step to step

    def __init__(self, parameters, decay=0.999, flats=()):
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: expected a decay in [0, 1); got {decay}.")
        self.parameters, self.decay, self.steps, self.held = list(parameters), decay, 0, None
        if not self.parameters:
            raise ValueError("EMA: expected parameters; got none.")
        # In memory order, whatever the order of p: `apply` writes through a vector that must be a view.
        self.runs = [r for flat in flats for r in flat.runs(self.parameters)]
        own = {}  # place in the list -> its average
        for run in self.runs:
            run.averages = run.values.copy()
            own |= {i: in_shape(run.averages[part], self.parameters[i].shape) for i, part in run.parts.items()}
        self.alone = [i for i in range(len(self.parameters)) if i not in own]
        own |= {i: in_shape(memory_order(self.parameters[i].data).copy(), self.parameters[i].shape) for i in self.alone}
        self.averages = [own[i] for i in range(len(self.parameters))]

    def update(self):
        """Take in the present weights."""
        self.prepare()
        self.apply()

    def prepare(self):
        """The first part of an update: count it, and compute the decay."""
        self.held = held(self.advance(), self.like, self.held)

    def advance(self):
        """Count an update; (1 − d,)."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        return (1 - decay,)

    @property
    def like(self):
        """An array of the device and dtype of the averages."""
        return self.averages[0]

    def apply(self):
        """The second part: avg ← d·avg + (1 − d)·p."""
        for run in self.runs:
            kernels(run.averages).ema(run.averages, run.values, self.held)
        for i in self.alone:
            average, p = self.averages[i], self.parameters[i]
            kernels(average).ema(memory_order(average), memory_order(p.data), self.held)

    @contextmanager
    def applied(self):
        """Inside, the parameters hold their averages; afterwards, their own values again."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self):
        for average, p in zip(self.averages, self.parameters):
            own = p.data.copy(order="K")
            p.data[...] = average
            average[...] = own

    def state_dict(self):
        return {"steps": self.steps, **{str(i): to_numpy(a).copy() for i, a in enumerate(self.averages)}}

    def load_state_dict(self, state):
        self.steps = int(state["steps"])
        for i, average in enumerate(self.averages):
            average[...] = asarray(state[str(i)])

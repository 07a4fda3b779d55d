"""Clipping of gradients, and averages of weights."""

from contextlib import contextmanager

from ..autograd import Tensor
from ..backend import asarray, namespace, to_numpy
from ..backend.kernels import kernels
from .flat import in_shape, memory_order


def global_norm(gradients):
    """√Σ g² over all elements of all gradients: a 0-d array."""
    total = 0
    for g in gradients:
        v = memory_order(g)
        total = total + v.dot(v)
    return total**0.5


def clip_grad_norm(gradients, max_norm):
    """(gradients, norm): all scaled by one factor, so that their global norm is at most max_norm. None stay None."""
    arrays = [g.data if isinstance(g, Tensor) else g for g in gradients]
    norm = global_norm([g for g in arrays if g is not None])
    factor = namespace(norm).minimum(max_norm / (norm + 1e-6), 1.0)
    return [None if g is None else g * factor for g in arrays], norm


class EMA:
    """An exponential moving average of parameters: avg ← d·avg + (1 − d)·p after each step.

    d = min(decay, (1 + t)/(10 + t)) at step t, so that the random start is forgotten soon.
    A generator's average draws better than its last weights.       Yazıcı et al. 2019
    """

    def __init__(self, parameters, decay=0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: expected a decay in [0, 1); got {decay}.")
        self.parameters, self.decay, self.steps = list(parameters), decay, 0
        # In memory order, whatever the order of p: `update` writes through a vector that must be a view.
        self.averages = [in_shape(memory_order(p.data).copy(), p.shape) for p in self.parameters]

    def update(self):
        """Take in the present weights."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for average, p in zip(self.averages, self.parameters):
            kernels(average).ema(memory_order(average), memory_order(p.data), decay)

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

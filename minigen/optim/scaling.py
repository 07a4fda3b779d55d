"""Loss scaling: float16 has no numbers below 3e-8, where many gradients lie; so the backward pass is multiplied."""

from contextlib import contextmanager

import numpy as np

from ..autograd import Tensor
from ..backend import asarray, namespace, to_numpy
from ..backend.layout import in_memory_order

START, LARGEST = 2.0**16, 2.0**24
GROW_AFTER = 2000  # steps without an overflow after which the factor is doubled


class LossScale:
    """The factor of one objective: halved when a gradient overflows, doubled after a long time without.

    A step whose gradients are not all finite changes nothing but the factor. (The optimiser counts it all the same.)
    Everything happens on the device, and nothing waits for it, so a step can be captured as a graph.
    Powers of two change no digit of a float32.       Micikevicius et al. 2018, Mixed precision training, section 3.2

        scale = LossScale()
        with scale.overflows_expected():
            gradients = scale.unscaled(grad(loss, params, scale.cotangent(loss)))
        with scale.guarding(optimizer):
            optimizer.step(gradients)
    """

    def __init__(self):
        self.values = asarray(np.array([START, 0.0], np.float32))  # the factor; steps since it last changed
        self.finite = None  # whether the gradients of this step are: a 0-d array

    def cotangent(self, loss):
        """The factor in the place of 1 = ∂loss/∂loss, from which the backward pass starts; of the loss's shape."""
        return self.values[0].reshape(loss.shape).astype(loss.dtype)

    def overflows_expected(self):
        """Inside, NumPy does not warn of infinities and what becomes of them: they are why the factor is adapted."""
        return np.errstate(over="ignore", invalid="ignore")

    def unscaled(self, gradients):
        """[array] of the gradients without the factor, or of zeros where not all are finite. None stays None."""
        arrays = [g.data if isinstance(g, Tensor) else g for g in gradients]
        xp = namespace(self.values)
        self.finite = xp.isfinite(sum(g.sum() for g in arrays if g is not None))  # NaN and infinity stay so in a sum
        inverse = 1.0 / self.values[0]
        unscaled = in_memory_order(lambda g: xp.where(self.finite, g * inverse, 0.0 * inverse))
        return [None if g is None else unscaled(g) for g in arrays]

    @contextmanager
    def guarding(self, optimizer):
        """What `optimizer` changes inside is put back if the gradients were not finite. Then the factor is adapted."""
        changed = [optimizer.flat.values, *(getattr(optimizer, name) for name in optimizer.state_names)]
        before = [vector.copy() for vector in changed]
        yield
        where = namespace(self.values).where
        for vector, old in zip(changed, before):
            vector[...] = where(self.finite, vector, old)
        self._adapt()

    def _adapt(self):
        where = namespace(self.values).where
        scale, steps = self.values[0], self.values[1] + 1.0
        grows = self.finite & (steps >= GROW_AFTER)
        larger = namespace(self.values).minimum(2.0 * scale, LARGEST)
        new = where(self.finite, where(grows, larger, scale), 0.5 * scale)
        self.values[1] = where(self.finite & (steps < GROW_AFTER), steps, 0.0 * steps)
        self.values[0] = new

    def state(self):
        return to_numpy(self.values).copy()

    def restore(self, values):
        self.values[...] = asarray(values)

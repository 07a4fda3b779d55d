"""What a fault is: a wrong layer, written once as mathematics for every gradient checker that is compared here.

A fault is a backward function: it gets the language F of one framework, the cotangent g and the layer's inputs, and
returns the gradients of the inputs, in order. F knows what the three frameworks share (`F.sum(x, axis, keepdims)`)
and the few things that they spell differently: `F.constant(x)` cuts x out of the graph, `F.recording(g)` tells whether
the backward pass is being recorded. The faults are read by interpreters without minigen: NumPy only.
"""

import inspect
from typing import Any, NamedTuple


class Fault(NamedTuple):
    name: str
    kind: str  # what should be said of it: a kind of minigen's diagnosis, or "right"
    inputs: tuple  # of arrays
    forward: Any  # forward(F, *inputs)
    backward: Any  # backward(F, g, *inputs) -> gradients
    target: Any  # target(F, layer, *inputs): how the layer is used

    def gradients(self, F, g, *inputs):
        """The gradients as a tuple."""
        found = self.backward(F, g, *inputs)
        return found if isinstance(found, tuple) else (found,)

    @property
    def names(self):
        """What the layer's inputs are called."""
        return list(inspect.signature(self.backward).parameters)[2:]


FAULTS = {}


def fault(kind, forward, *inputs, target=lambda F, layer, *xs: layer(*xs)):
    def register(backward):
        FAULTS[backward.__name__] = Fault(backward.__name__, kind, inputs, forward, backward, target)
        return backward

    return register

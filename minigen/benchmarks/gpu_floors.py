"""The least that a training step must do: operations of its products, and bytes that its ops read and write.

Counted on the host from the shapes, whatever the device. Operations: 2·M·N·K for each convolution, dense layer and
their derivatives. Bytes: what an op (or the VJPs of one) reads once and what it writes once, in float32; views are
free; Adam reads four numbers and writes three for each parameter. Ops that were fused into one could move less.
"""

import math

import numpy as np

from ..autograd import Tensor
from ..autograd.state import state
from ..backend import Generator, default, use
from .gpu_taps import arrays
from .workloads import WORKLOADS, training

ADAM = 7 * 4  # bytes a parameter
FEW = (2, 4)  # batch sizes that are counted; everything is linear in it


def floors(workload, batch, thin=1):
    """{"flops", "bytes"} of a step, averaged over those that are repeated."""
    before = default().__name__
    use("numpy")
    try:
        low, high = (count(workload, n, thin) for n in FEW)
    finally:
        use(before)
    return {k: low[k] + (high[k] - low[k]) / (FEW[1] - FEW[0]) * (batch - FEW[0]) for k in low}


def least(counts, ceilings, precision):
    """ms that a step takes at least, by operations and by bytes, at what the device reached; None where one is unknown.

    counts: of `floors`.  ceilings: {"bytes/s", precision: FLOP/s}.
    """
    if not counts or not ceilings:
        return None
    moved = {"bytes": 1e3 * counts["bytes"] / ceilings["bytes/s"]}
    return moved | ({"operations": 1e3 * counts["flops"] / ceilings[precision]} if precision in ceilings else {})


def count(workload, batch, thin):
    run = training(WORKLOADS[workload](Generator(0), thin=thin), batch)
    steps = math.lcm(*(o.every for o in run.objectives))
    counter = state.watcher = Counter()
    try:
        for _ in range(steps):
            run.step()
    finally:
        state.watcher = None
    updates = sum(sum(p.size for p in o.parameters) / o.every for o in run.objectives)
    return {"flops": counter.flops / steps, "bytes": counter.bytes / steps + ADAM * updates}


class Counter:
    """Is told of every op and every VJP, see autograd/state.py."""

    def __init__(self):
        self.flops = self.bytes = 0
        self.unread = 0  # bytes that the VJPs of the present Node read, until the first of them makes something new

    def forward(self, op, out, call):
        inputs, _, node = call
        known = dict(zip(op.inputs, inputs))
        flops = operations(op.__name__, known, out)
        if node is not None:
            node.debug = flops
        self.flops += flops
        made = [a for a in arrays([out]) if not any(np.may_share_memory(a, b) for b in arrays(list(inputs)))]
        if made:
            self.bytes += size(made) + size(arrays(list(inputs)))

    def before_vjps(self, pull):
        node, g, useful = pull
        needed = {name for parent, vjp, _ in node.edges if parent.serial in useful for name in vjp.keeps}
        kept = {name: node.saved[name] for name in needed if name in node.saved}
        if type(kept.get("out")) is tuple:  # batch norm reads μ and σ² of it, max pooling the indices, and none y
            kept["out"] = kept["out"][1:]
        self.g = [t for t in (g if type(g) is list else [g]) if not isinstance(t, Tensor) and t is not None]
        self.unread = size(self.g) + size(arrays(list(kept.values())))

    def after_vjp(self, node, i, contribution):
        if isinstance(contribution, Tensor):
            return  # the ops that made it were counted: it was recorded
        if node.op.input_name(i) != "bias":
            self.flops += node.debug or 0  # the form is trilinear: each of its three derivatives costs the same
        if any(np.may_share_memory(contribution, g) for g in self.g):
            return
        self.bytes += contribution.nbytes + self.unread
        self.unread = 0


def size(found):
    """Bytes of arrays; of one that was broadcast, those that are there."""
    return sum(math.prod(n for n, s in zip(a.shape, a.strides) if s) * a.itemsize for a in found)


def operations(name, known, out):
    """2·M·N·K of an op, from its inputs by name and its result."""
    name = name.removesuffix("_leaky")
    if name in ("_conv2d", "_conv2d_x"):  # each pixel of the smaller side meets a whole kernel once
        side = out if name == "_conv2d" else known["g"]
        return 2 * side.size * math.prod(known["weight"].shape[1:])
    if name == "_conv2d_w":
        return 2 * known["g"].size * math.prod(out.shape[1:])
    if name == "_matmul":
        return 2 * known["x"].size * known["y"].shape[-1]
    if name == "_linear":
        return 2 * known["x"].size * len(known["weight"])
    return 0

"""Which op is to blame? Every op that a function called is checked by itself, at the arrays that it received."""

from typing import NamedTuple

import numpy as np

from ..autograd import grad, state
from ..backend import to_numpy
from .subject import Subject, is_float, random_like, watching

MOST = 300  # ops that are checked


class Call(NamedTuple):
    """One application of an op."""

    op: object
    arrays: list
    options: dict
    live: list  # which of the inputs a gradient may flow to
    layer: str  # " in layers.2: Conv2d", or ""

    def subject(self, low):
        function = lambda *arrays: self.op(*arrays, **self.options)
        constant = lambda i, a: i not in self.live and is_float(a) and low is not None
        arrays = [a.astype(low) if constant(i, a) else a for i, a in enumerate(self.arrays)]
        return Subject(function, arrays, low=low, places=self.live, title=str(self.op), names=self.names())

    def names(self):
        return [self.op.input_name(i) for i in range(len(self.arrays))]

    def describe(self):
        return f"the op {self.op}{self.layer}, called as {self.op.describe(self.arrays, self.options)}"

    def signature(self):
        shape = lambda a: (a.shape, a.strides) if hasattr(a, "strides") else repr(a)
        return self.op, tuple(map(shape, self.arrays)), repr(self.options), tuple(self.live)


class Recorder:
    """A watcher of autograd (see autograd/state.py) that keeps every recorded call."""

    def __init__(self):
        self.calls = []

    def forward(self, op, out, call):
        arrays, options, node = call
        if node is not None:
            live = [i for i, p in enumerate(node.parents) if p is not None and is_float(arrays[i])]
            layer = ""
            if state.modules:
                path, innermost = state.modules[0].path_of(state.modules[-1]), type(state.modules[-1]).__name__
                layer = f" in {path}: {innermost}" if path else f" in {innermost}"
            self.calls.append(Call(op, list(arrays), options, live, layer))

    def before_vjps(self, call):
        pass

    def after_vjp(self, node, i, contribution):
        pass


class Keeper(Recorder):
    """Keeps copies of the arrays that were saved for backward instead."""

    def forward(self, op, out, call):
        node = call[2]
        for name, value in node.saved.items() if node is not None else ():
            if hasattr(value, "dtype") and getattr(value, "ndim", 0):
                self.calls.append((str(op), name, value, to_numpy(value).copy()))


def recorded_calls(subject, cotangents):
    """(calls of the forward function, calls of its VJPs with create_graph=True): [Call] each, equal ones once."""
    recorder = Recorder()
    calls = recorder.calls
    with watching(recorder):
        leaves, outputs = subject(subject.point)
        n = len(calls)
        for y, v in zip(outputs, cotangents):
            if y.node is not None:
                try:
                    grad(y, leaves, v, create_graph=True, allow_unused=True)
                except Exception:  # a VJP that breaks so has been told of before, or this is about arrays
                    break
    unique = lambda found: list({c.signature(): c for c in reversed(found) if c.live}.values())[::-1][:MOST]
    return unique(calls[:n]), unique(calls[n:])


def cut_inputs(subject, rng):
    """[text] for each constant that an op received though it changes with the inputs: cut from the graph."""
    moved = [x + 1e-3 * random_like(x, rng) for x in subject.point]
    here, there = Recorder(), Recorder()
    with watching(here):
        subject(subject.point)
    with watching(there):
        subject(moved)
    if [c.op for c in here.calls] != [c.op for c in there.calls]:
        return []
    found = []
    for a, b in zip(here.calls, there.calls):
        for i, (x, y) in enumerate(zip(a.arrays, b.arrays)):
            constant = i not in a.live and (is_float(x) or isinstance(x, float))
            if constant and np.shape(x) == np.shape(y) and not np.array_equal(to_numpy(x), to_numpy(y)):
                found.append(f"{a.op}{a.layer} receives {a.op.input_name(i)!r} as a constant, though it changes")
    return list(dict.fromkeys(found))


def overwritten(subject):
    """What an op saved and somebody changed before backward came to use it, in words; or None."""
    keeper = Keeper()
    with watching(keeper):
        subject(subject.point)
    for op, name, value, copy in keeper.calls:
        if not np.array_equal(to_numpy(value), copy):
            return f"{name!r}, saved by {op} for backward, was changed afterwards in the forward function."

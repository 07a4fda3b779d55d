"""The losses of many steps on their way into the log: fetched from the device, averaged, and found finite or not."""

from collections.abc import Mapping

import numpy as np

from .backend import namespace, to_numpy


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to try."""


class Losses(Mapping):
    """{name: array of shape ()} of losses that lie in one vector; each is looked up when it is asked for."""

    def __init__(self, names, vector):
        self.names, self.vector = names, vector

    def __getitem__(self, name):
        if name not in self.names:
            raise KeyError(name)
        return self.vector[self.names.index(name)]

    def __iter__(self):
        return iter(self.names)

    def __len__(self):
        return len(self.names)

    def __repr__(self):
        return repr(dict(self))


def on_host(recent):
    """[(step, {name: loss})] with the losses on the host: from the GPU in one copy, the only one in many steps."""
    vectors = []
    for _, terms in recent:
        vectors += [terms.vector] if isinstance(terms, Losses) else [loss.reshape(1) for loss in terms.values()]
    losses = iter(to_numpy(namespace(vectors[0]).concatenate(vectors)) if vectors else ())
    return [(step, dict(zip(terms, losses))) for step, terms in recent]


def means(rows):
    """{name: mean over those rows that have it} of a list of {name: number}."""
    sums, counts = {}, {}
    for row in rows:
        for name, value in row.items():
            sums[name] = sums.get(name, 0) + value
            counts[name] = counts.get(name, 0) + 1
    return {name: float(to_numpy(sums[name])) / counts[name] for name in sums}


def check_finite(row, recent):
    """Raise TrainingError where a mean loss is NaN or infinite. recent: (step, losses) of the steps it is the mean of.

    The steps are looked at only then: to look at each of them would make the host wait for the GPU.
    """
    if all(np.isfinite(value) for value in row.values()):
        return
    for step, losses in [*recent, (row["step"], row)]:  # the row itself: finite losses may have an infinite sum
        for name, value in losses.items():
            if not np.isfinite(value := float(to_numpy(value))):
                objective = next(iter(losses)).partition("/")[0]  # the one that is updated first
                reason = "Try a smaller learning rate"
                if step == 1 and name.startswith(f"{objective}/"):
                    reason = "No update came before it, so the learning rate is not the reason: look at the data"
                raise TrainingError(
                    f"step {step}: the loss {name!r} is {value}. {reason}; --debug (minigen.debug()) stops at the op "
                    f"that made the first such number."
                )

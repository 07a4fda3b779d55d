"""The only training loop of the project."""

import functools
import math
import operator
import signal
import threading
import time
from contextlib import contextmanager

import numpy as np

from .autograd import Tensor, grad
from .backend import Generator, to_numpy
from .data import Loader
from .optim import EMA, clip_grad_norm


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to try."""


class Training:
    """A model being trained: its optimisers, its data, its average of weights, and how far it has come.

    `step()` is one step; `state()` and `restore()` make it go on elsewhere, bit for bit.
    lr, average: None takes the model's own. clip: bound of each objective's global gradient norm, or None.
    decay_steps: an attribute; where it is set, the learning rate falls linearly to 0 at that step.
    """

    decay_steps = None

    def __init__(self, model, dataset, *, batch_size=None, lr=None, seed=0, average=None, clip=None, augment=None):
        if clip is not None and not clip > 0:
            raise ValueError(f"Training: expected clip, the bound of the gradient's norm, above 0; got {clip}.")
        self.model, self.clip, self.steps = model, clip, 0
        self.loader = Loader(
            dataset,
            min(model.batch_size if batch_size is None else batch_size, len(dataset)),
            Generator(seed),
            pixel_range=model.pixel_range,
            augment=augment,
        )
        self.objectives = model.objectives()
        lr = model.lr if lr is None else lr
        if not callable(lr) and not lr >= 0:
            raise ValueError(f"Training: expected a learning rate ≥ 0; got {lr}.")
        self.optimizers = [model.optimizer(o.parameters, self._schedule(lr, o.every)) for o in self.objectives]
        decay = model.average if average is None else average
        self.average = EMA(model.averaged_parameters(), decay) if decay else None
        model.train()

    def _schedule(self, lr, every):
        """The learning rate of an objective after t updates of its own: a function that looks at decay_steps then."""
        if callable(lr):
            return lr
        return lambda t: lr * max(0, 1 - t * every / self.decay_steps) if self.decay_steps else lr

    def step(self):
        """One batch: every objective that is due is updated once. Returns {"objective/term": 0-d array}."""
        x, y = next(self.loader)
        x = Tensor(x)
        batch = (x, y) if self.model.labels else (x,)
        drawn = self.model.draw(x)
        losses = {}
        for objective, optimizer in zip(self.objectives, self.optimizers):
            if self.steps % objective.every != objective.every - 1:
                continue
            terms = objective.loss(*batch, *drawn)
            gradients = grad(functools.reduce(operator.add, terms.values()), objective.parameters)
            if self.clip:
                gradients, losses[f"{objective.name}/gradient norm"] = clip_grad_norm(gradients, self.clip)
            optimizer.step(gradients)
            losses |= {f"{objective.name}/{name}": term.data for name, term in terms.items()}
        if self.average:
            self.average.update()
        self.steps += 1
        return losses

    @contextmanager
    def averaged(self):
        """Inside, the model has its averaged weights and statistics that fit them: it draws and measures with these."""
        if not self.average:
            yield self.model
            return
        buffers = [(b, b.data.copy()) for _, b in self.model.named_buffers()]
        with self.average.applied():
            try:
                self.model.calibrate()
                yield self.model
            finally:
                for buffer, value in buffers:
                    buffer.data[...] = value

    def state(self):
        """(arrays, numbers): everything to go on exactly. Arrays by name; numbers as JSON can hold them."""
        arrays = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        for objective, optimizer in zip(self.objectives, self.optimizers):
            arrays |= {f"optimizer/{objective.name}/{k}": np.asarray(v) for k, v in optimizer.state_dict().items()}
        if self.average:
            arrays |= {f"average/{k}": np.asarray(v) for k, v in self.average.state_dict().items()}
        generators = {name: g.state() for name, g in self.model.named_generators()}
        return arrays, {"steps": self.steps, "loader": self.loader.state(), "generators": generators}

    def restore(self, arrays, numbers):
        """Go on from a `state()` of the same model, options and data."""
        part = lambda prefix: {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        self.model.load_state_dict(part("model/"))
        for objective, optimizer in zip(self.objectives, self.optimizers):
            optimizer.load_state_dict(part(f"optimizer/{objective.name}/"))
        if self.average:
            self.average.load_state_dict(part("average/"))
        for name, generator in self.model.named_generators():
            generator.restore(numbers["generators"][name])
        self.loader.restore(numbers["loader"])
        self.steps = numbers["steps"]


class Observer:
    """Is told how training goes. All methods do nothing: override what you need."""

    def begin(self, training, total):
        """Before the first step of `total`."""

    def log(self, training, row):
        """Every `log_every` steps and after the last: row = {"step", "epoch", "seconds", "images/s", mean losses}."""

    def end(self, training, interrupted):
        """After the last step, or after the one during which Ctrl-C was pressed."""


def fit(
    model,
    dataset,
    *,
    steps=None,
    epochs=None,
    log_every=50,
    observers=(),
    training=None,
    **options,
):
    """Train `model` on `dataset`; returns the Training, whose `history` holds the logged rows.

    steps or epochs: how long in all; None for both: the model's own number of epochs.
    options: those of Training (batch_size, lr, seed, average, clip, augment).
    training: a Training to go on with, instead of a new one.
    Ctrl-C ends after the step at hand (a second one at once). Raises TrainingError when a loss is not finite.

    >>> training = fit(GAN((1, 28, 28)), load("glyphs"), steps=100)        # doctest: +SKIP
    """
    training = training or Training(model, dataset, **options)
    total = total_steps(training, steps, epochs)
    training.history, sums, counts, recent = [], {}, {}, []
    began = since = time.perf_counter()
    last = training.steps
    with stop_on_interrupt() as interrupted:
        for observer in observers:
            observer.begin(training, total)
        while training.steps < total and not interrupted():
            recent.append((training.steps + 1, training.step()))
            for name, value in recent[-1][1].items():
                sums[name] = sums.get(name, 0) + value
                counts[name] = counts.get(name, 0) + 1
            if training.steps % log_every == 0 or training.steps == total or interrupted():
                now = time.perf_counter()
                row = {
                    "step": training.steps,
                    "epoch": training.steps / len(training.loader),
                    "seconds": now - began,
                    "images/s": (training.steps - last) * training.loader.batch_size / (now - since),
                    **{name: float(to_numpy(sums[name])) / counts[name] for name in sums},
                }
                check_finite(row, recent)
                since, last, sums, counts, recent = now, training.steps, {}, {}, []
                training.history.append(row)
                for observer in observers:
                    observer.log(training, row)
        stopped = interrupted()
        for observer in observers:
            observer.end(training, stopped)
    return training


def total_steps(training, steps=None, epochs=None):
    """How many steps a run has in all: `steps`, or so many `epochs` (rounded up), or the model's own number of them."""
    if steps is not None:
        return steps
    return math.ceil((training.model.epochs if epochs is None else epochs) * len(training.loader))


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

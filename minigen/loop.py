"""The only training loop of the project."""

import functools
import math
import operator
import time
import weakref
from contextlib import contextmanager, nullcontext

import numpy as np

from .autograd import Tensor, grad
from .backend import Generator, default
from .backend.precision import precision
from .captured import CapturedSteps
from .data import Loader
from .interrupt import stop_on_interrupt
from .logged import TrainingError, check_finite, means, on_host
from .memory import explained
from .optim import EMA, LossScale, clip_grad_norm
from .optim.numbers import Together


class Training:
    """A model being trained: its optimisers, its data, its average of weights, and how far it has come.

    `step()` is one step; `state()` and `restore()` make it go on elsewhere, bit for bit.
    lr, average: None takes the model's own. clip: bound of each objective's global gradient norm, or None.
    loader: an attribute, a Loader; any iterator of batches (x, y) can take its place.
    decay_steps: an attribute; where it is set, the learning rate falls linearly to 0 at that step.
    graph: whether steps on the GPU are captured as CUDA graphs and replayed, with the same results, see `captured`.
        None: where it can be done, and `graph_note` says why not. True: or else NotCapturable is raised.
    Losses are scaled (optim.LossScale) where the precision is float16 when the Training is made.
    """

    decay_steps = None

    def __init__(
        self,
        model,
        dataset,
        *,
        batch_size=None,
        lr=None,
        seed=0,
        average=None,
        clip=None,
        augment=None,
        graph=None,
    ):
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
        flats = [optimizer.flat for optimizer in self.optimizers]
        self.average = EMA(model.averaged_parameters(), decay, flats) if decay else None
        self.numbers = Together(self._counted(range(len(self.objectives))))
        self.scales = [LossScale() if precision() == "float16" else None for _ in self.objectives]
        self.use_graph(graph)
        model.train()

    def use_graph(self, graph):
        """Change the option `graph`, from the next step on."""
        self.captured = CapturedSteps(insist=graph is True) if graph is not False and default() is not np else None

    def _schedule(self, lr, every):
        """The learning rate of an objective after t updates of its own: a function that looks at decay_steps then."""
        if callable(lr):
            return lr
        me = weakref.proxy(self)  # no cycle: graphs and their memory are given back when a Training goes
        return lambda t: lr * max(0, 1 - t * every / me.decay_steps) if me.decay_steps else lr

    def step(self):
        """One batch: every objective that is due is updated once. Returns {"objective/term": 0-d array}.

        Raises TrainingError where the memory does not hold it, with the batch size that would fit.
        """
        try:
            due = [i for i, o in enumerate(self.objectives) if self.steps % o.every == o.every - 1]
            batch = self._batch(due)
            losses = self.captured.step(self, due, batch) if self.captured else self.do(due, batch)
        except MemoryError as error:
            raise TrainingError(f"step {self.steps + 1}: {explained(self, error)}") from None
        self.steps += 1
        return losses

    def _batch(self, due):
        """The arrays of the next batch, (x, y) or (x,); where a graph will read them, if it can be."""
        labels = self.model.labels
        if not isinstance(self.loader, Loader):
            return next(self.loader)[: 1 + labels]
        into = self.captured.buffers(self, due, self.loader.coming(labels)) if self.captured else None
        return self.loader.next(labels, into)

    def do(self, due, batch):
        """The objectives number `due` are updated from a batch of arrays; {"objective/term": 0-d array}.

        A step that raises counts as none, as in `steps`.
        """
        counts = [(counted, counted.steps) for counted in self._counted(due)]
        self.prepare(due)
        try:
            return self.compute(due, batch)
        except BaseException:
            for counted, steps in counts:
                counted.steps = steps
            raise

    def prepare(self, due):
        """What a step does on the host, besides choosing the batch: learning rates and decays."""
        self.numbers.prepare(self._counted(due))

    def _counted(self, due):
        """What counts a step in which the objectives number `due` are updated."""
        return [*(self.optimizers[i] for i in due), *([self.average] if self.average else [])]

    def compute(self, due, batch):
        """The part of `do` on the device, after `prepare`.

        It is the same work each time, on the same memory, and no value is looked at: it can be captured.
        """
        x = Tensor(batch[0])
        batch = (x, *batch[1:])
        drawn = self.model.draw(x)
        losses = {}
        for i in due:
            objective = self.objectives[i]
            terms = objective.loss(*batch, *drawn)
            terms = {name: term.data for name, term in terms.items()} | self._update(i, add_up(terms))
            losses |= {f"{objective.name}/{name}": value for name, value in terms.items()}
        if self.average:
            self.average.apply()
        return losses

    def _update(self, i, loss):
        """Optimiser number i takes its step down `loss`; {name: 0-d array} of what else is worth a place in the log."""
        parameters, optimizer, scale, also = self.objectives[i].parameters, self.optimizers[i], self.scales[i], {}
        if scale:
            also["loss scale"] = scale.values[0].copy()
            with scale.overflows_expected():
                gradients = scale.unscaled(grad(loss, parameters, scale.cotangent(loss)))
        else:
            gradients = grad(loss, parameters)
        if self.clip:
            gradients, also["gradient norm"] = clip_grad_norm(gradients, self.clip)
        with scale.guarding(optimizer) if scale else nullcontext():
            optimizer.apply(gradients)
        return also

    @property
    def graph_note(self):
        """Why steps are not replayed as graphs, in one sentence; None where they are, will be, or need not be."""
        return self.captured.note if self.captured else None

    def persistent(self):
        """{name: array}: everything on the device that a step changes and a later one reads."""
        arrays = {n: t.data for n, t in (*self.model.named_parameters(), *self.model.named_buffers())}
        for objective, optimizer in zip(self.objectives, self.optimizers):
            arrays |= {f"optimizer/{objective.name}/{n}": getattr(optimizer, n) for n in optimizer.state_names}
        if self.average:
            arrays |= {f"average/{i}": a for i, a in enumerate(self.average.averages)}
        arrays |= {f"scale/{o.name}": s.values for o, s in zip(self.objectives, self.scales) if s}
        generators = {f"generator/{n}": g.device.array for n, g in self.model.named_generators()}
        return arrays | {n: a for n, a in generators.items() if a is not None}

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
        arrays |= {f"scale/{o.name}": s.state() for o, s in zip(self.objectives, self.scales) if s}
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
        for objective, scale in zip(self.objectives, self.scales):
            if scale:
                scale.restore(arrays[f"scale/{objective.name}"])
        for name, generator in self.model.named_generators():
            generator.restore(numbers["generators"][name])
        self.loader.restore(numbers["loader"])
        self.steps = numbers["steps"]


def add_up(terms):
    """The sum of the named terms of a loss."""
    return functools.reduce(operator.add, terms.values())


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
    options: those of Training (batch_size, lr, seed, average, clip, augment, graph).
    training: a Training to go on with, instead of a new one.
    Ctrl-C ends after the step at hand (a second one at once). Raises TrainingError when a loss is not finite.

    >>> training = fit(GAN((1, 28, 28)), load("glyphs"), steps=100)        # doctest: +SKIP
    """
    training = training or Training(model, dataset, **options)
    total = total_steps(training, steps, epochs)
    training.history, recent = [], []
    began = since = time.perf_counter()
    last = training.steps
    with stop_on_interrupt() as interrupted:
        for observer in observers:
            observer.begin(training, total)
        while training.steps < total and not interrupted():
            recent.append((training.steps + 1, training.step()))
            if training.steps % log_every == 0 or training.steps == total or interrupted():
                recent = on_host(recent)  # waits for the device
                now = time.perf_counter()
                row = {
                    "step": training.steps,
                    "epoch": training.steps / len(training.loader),
                    "seconds": now - began,
                    "images/s": (training.steps - last) * training.loader.batch_size / (now - since),
                    **means([losses for _, losses in recent]),
                }
                check_finite(row, recent)
                since, last, recent = now, training.steps, []
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

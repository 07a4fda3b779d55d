"""What to say when a training step does not fit into memory: on the GPU, with the batch size that would."""

import gc
import traceback

import numpy as np

from .autograd import Tensor, grad
from .backend import default
from .backend.gpu import memory

SMALL = 8  # images of the smallest trial
SPARE = 0.9  # share of the free memory that a step may take: pools round up, and other programs come and go


def explained(training, error):
    """A sentence or two about the MemoryError of a step of `training`, whose losses and weights are of no use then."""
    size = training.loader.batch_size
    if default() is np:
        return f"the memory does not hold a step with a batch of {size} ({error}). Try a smaller --batch-size."
    forget(error)
    training.use_graph(False)
    try:
        fits, image = trial(training)
    except MemoryError as again:
        forget(again)
        fits, image = 0, 0
    if fits < 1:
        return f"the GPU's memory does not hold this model, even with a batch of {SMALL}. Take a smaller model."
    free = f"{memory.available() / 2**20:.0f} MiB are free, and an image takes {image / 2**20:.2g} MiB"
    return f"the GPU's memory does not hold a step with a batch of {size}. By a trial, {free}: try --batch-size {fits}."


def forget(error):
    """Let go of what was computed until the error arose: its frames hold it, and refer to each other in circles."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()


def trial(training):
    """(images that fit into a batch, bytes for each of them), by the largest batches that do: half, a quarter, ...

    Of small ones nothing can be told: their images find room in what the gradients of the weights leave free.
    """
    size = training.loader.batch_size
    n = max(SMALL, size // 2)
    while True:
        try:
            half, whole = (memory.needed(lambda n=n: compute(training, n)) for n in (n // 2, n))
            break
        except MemoryError as error:
            if n == SMALL:
                raise
            forget(error)
        n = max(SMALL, n // 2)
    image = max(1, (whole - half) / (n - n // 2))
    fits = int((SPARE * memory.available() - (whole - image * n)) / image)
    fits = min(fits, size - 1)
    return fits if fits < 16 else fits // 8 * 8, image


def compute(training, n):
    """Losses and gradients of n images, of which nothing is kept."""
    xp = default()
    x = Tensor(xp.zeros((n, *training.model.shape), np.float32))
    batch = (x, xp.zeros(n, np.int64)) if training.model.labels else (x,)
    drawn = training.model.draw(x)
    for objective in training.objectives:
        terms = objective.loss(*batch, *drawn)
        grad(sum(terms.values()), objective.parameters)

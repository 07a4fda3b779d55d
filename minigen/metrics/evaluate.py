"""What a model measures of itself on test data."""

import numpy as np

from ..autograd import no_grad
from ..backend import to_numpy
from ..data import Loader


@no_grad()
def evaluate(model, dataset, batch_size=200):
    """{name: (mean over the data set, unit)} of what the model's `measure` reports, in evaluation mode.

    The random numbers of the model go on afterwards as if nothing had been measured.
    """
    loader = Loader(
        dataset, min(batch_size, len(dataset)), pixel_range=model.pixel_range, shuffle=False, drop_last=False
    )
    generators = [(g, g.state()) for _, g in model.named_generators()]
    training, _ = model.training, model.eval()
    sums, units = {}, {}
    try:
        for x, y in loader.epoch():
            for name, (value, unit) in model.measure(x, y).items():
                sums[name] = sums.get(name, 0.0) + float(to_numpy(getattr(value, "data", value)))
                units[name] = unit
    finally:
        model.train(training)
        for generator, state in generators:
            generator.restore(state)
    return {name: (total / len(dataset), units[name]) for name, total in sums.items()}


def pca_error(train, test, k):
    """Squared error per image of test when projected on the k leading principal components of train; pixels in [0, 1].

    The least that a linear autoencoder with k numbers can reach: a floor for comparison.
    """
    x = train.pixels.reshape(len(train), -1).astype(np.float32) / 255
    mean = x.mean(axis=0)
    x -= mean
    _, vectors = np.linalg.eigh(x.T @ x)
    y = test.pixels.reshape(len(test), -1).astype(np.float32) / 255 - mean
    components = vectors[:, -k:]
    residual = y - (y @ components) @ components.T
    return float((residual**2).sum(axis=1).mean())

"""What a model is: a set of objectives. An objective is a loss, the parameters that minimise it, and how often."""

from collections.abc import Callable
from dataclasses import dataclass

from ..autograd import Tensor, no_grad
from ..backend import Generator
from ..nn import Module
from ..optim import Adam


@dataclass
class Objective:
    """A loss and who minimises it.

    name: for the log.  loss: (*batch, *drawn) → {term: scalar Tensor}, whose sum is minimised; each term is logged.
    parameters: those that minimise it.  every: the update takes place on each `every`-th step.
    """

    name: str
    loss: Callable
    parameters: list
    every: int = 1


class Model(Module):
    """A Module that knows how it is trained. Write __init__(self, shape, *, options, rng) and what is abstract here.

    shape: (C, H, W) of the images. Keyword-only arguments become command-line options; their help is the line of the
    class's docstring that begins with `name:`. rng: the Generator of weights and of everything random in the model.
    Images come in `pixel_range`; labels come with them where `labels` is True.
    """

    pixel_range = (0, 1)
    labels = False
    batch_size, epochs, lr, betas = 64, 10, 1e-3, (0.9, 0.999)  # defaults of the command
    decay = False  # whether the learning rate falls linearly to 0 over the run
    average = 0.0  # decay of the moving average of weights that draws samples; 0: none

    def __init__(self, shape, rng=None):
        self.shape, self.rng = tuple(shape), rng or Generator()

    def objectives(self):
        """[Objective], in the order in which they are updated within a step."""
        raise NotImplementedError(f"{type(self).__name__}: define objectives(self) -> [Objective(...)].")

    def draw(self, x):
        """What is drawn once a step and handed to every loss after the batch: a tuple, such as GAN's G(z)."""
        return ()

    def optimizer(self, parameters, lr):
        """The optimiser of an objective."""
        return Adam(parameters, lr, self.betas)

    def averaged_parameters(self):
        """The parameters of which a moving average is kept for drawing."""
        return self.parameters()

    def calibrate(self):
        """Called after weights were exchanged for their averages: bring statistics that depend on them up to date."""

    def sample(self, n, rng=None):
        """n new images (n, C, H, W) in `pixel_range`; None where the model has nothing to draw from."""
        return None

    def reconstruct(self, x):
        """Images like x, through the model's code; None where it has none."""
        return None

    def measure(self, x, y):
        """{name: (sum over the batch, unit)}: what is reported on test data; x, y arrays."""
        return {}


class SingleObjective(Model):
    """A model with one loss over all its parameters."""

    def objectives(self):
        return [Objective("loss", self.loss, self.parameters())]

    def loss(self, x):
        """{term: scalar}."""
        raise NotImplementedError(f"{type(self).__name__}: define loss(self, x) -> {{term: scalar}}.")


def batches_of(n, size):
    """(start, stop) over range(n) in pieces of `size`."""
    return [(i, min(i + size, n)) for i in range(0, n, size)]


@no_grad()
def generate(draw, n, size=256):
    """`draw(k)` for pieces of n, as one array: what does not fit into memory at once."""
    from ..ops import concatenate

    pieces = [draw(hi - lo) for lo, hi in batches_of(n, size)]
    return Tensor(concatenate(pieces, axis=0).data)

"""A convolutional classifier: the judge of generated images.

min E −ln softmax(f(x))_y                                        LeCun et al. 1998, in today's materials
"""

from functools import partial

from ..autograd import no_grad
from ..nn import BatchNorm2d, Conv2d, Dense, Dropout, Flatten, Sequential
from ..nn.init import he_normal
from ..ops import cross_entropy, max_pool2d, relu, softmax
from .base import SingleObjective


class Classifier(SingleObjective):
    """min E −ln softmax(f(x))_y, f two convolutions with pooling and two dense layers.

    classes: how many there are; taken from the data by the command
    width: channels of the first convolution
    hidden: units of the dense layer
    dropout: share of its activations dropped
    """

    labels = True
    batch_size, epochs, lr, decay = 128, 8, 2e-3, True

    def __init__(self, shape, *, classes=10, width=32, hidden=128, dropout=0.4, rng=None):
        super().__init__(shape, rng)
        self.classes = classes
        c, h, w = shape
        pool = partial(max_pool2d, kernel_size=2)
        pool.__name__ = "max_pool2d(2)"
        conv = lambda c_in, c_out: Conv2d(c_in, c_out, 3, 1, 1, bias=False, init=he_normal, rng=self.rng)
        self.net = Sequential(
            *(conv(c, width), BatchNorm2d(width), relu, pool),
            *(conv(width, 2 * width), BatchNorm2d(2 * width), relu, pool),
            Flatten(),
            *(Dense(2 * width * (h // 4) * (w // 4), hidden, init=he_normal, rng=self.rng), relu),
            Dropout(dropout, rng=self.rng),
            Dense(hidden, classes, rng=self.rng),
        )

    def forward(self, x):
        """Logits (N, classes)."""
        return self.net(x)

    def loss(self, x, y):
        return {"cross entropy": cross_entropy(self(x), y)}

    @no_grad()
    def probabilities(self, x):
        """softmax(f(x)) in evaluation mode: (N, classes)."""
        training, _ = self.training, self.eval()
        p = softmax(self(x), axis=1)
        self.train(training)
        return p

    @no_grad()
    def measure(self, x, y):
        logits = self(x)
        return {
            "accuracy": ((logits.argmax(axis=1) == y).sum(), "of images"),
            "cross entropy": (cross_entropy(logits, y, reduction="sum"), "nats per image"),
        }

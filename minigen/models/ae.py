"""Autoencoders: squeeze an image through a few numbers and draw it again.

min_{f, g}  E ‖x − g(f(x))‖²                     Hinton & Salakhutdinov 2006
"""

from .. import ops
from ..autograd import no_grad
from ..nn import Conv2d, Dense, Module
from ..nn.init import he_normal
from ..ops import relu, sigmoid
from .base import SingleObjective
from .nets import decoder, encoder


class AE(SingleObjective):
    """min E ‖x − g(f(x))‖², with f(x) a code of a few numbers. Unit: squared error per image, pixels in [0, 1].

    net: "dense" or "conv"
    code: numbers in the code
    width: channels at the image's end of the convolutional nets; they double inwards
    hidden: units of the dense nets
    upsample: of the conv net: "transpose" (transposed convolutions), or "unpool" (max-pooling on the way in; on the way
        out each value returns to the place its maximum came from, so these places pass beside the code)
    """

    batch_size, epochs, lr = 128, 20, 1e-3

    def __init__(self, shape, *, net="dense", code=32, width=32, hidden=512, upsample="transpose", rng=None):
        super().__init__(shape, rng)
        if upsample not in ("transpose", "unpool") or (upsample == "unpool" and net != "conv"):
            raise ValueError(f'AE: expected upsample "transpose", or "unpool" with --net conv; got {upsample!r}.')
        self.code, self.unpool = code, upsample == "unpool"
        if self.unpool:
            self.net = PoolingNet(shape, code, width, self.rng)
        else:
            self.f = encoder(net, shape, code, self.rng, hidden=hidden, width=width)
            self.g = decoder(net, code, shape, self.rng, hidden=hidden, width=width)

    def encode(self, x):
        """f(x): (N, code)."""
        return self.net.encode(x)[0] if self.unpool else self.f(x)

    def forward(self, x):
        """g(f(x)), pixels in [0, 1]."""
        return sigmoid(self.net(x) if self.unpool else self.g(self.f(x)))

    def loss(self, x):
        return {"error": squared_error(x, self(x)).mean()}

    @no_grad()
    def reconstruct(self, x):
        return self(x)

    @no_grad()
    def measure(self, x, y):
        return {"squared error": (squared_error(x, self(x)).sum(), "per image")}


def squared_error(x, reconstruction):
    """‖x − x̂‖² of each image: (N,)."""
    d = reconstruction - x
    return (d * d).sum(axis=(1, 2, 3))


class PoolingNet(Module):
    """Convolution and 2×2 max-pooling inwards; outwards max-unpooling by the same places, and convolution."""

    def __init__(self, shape, code, width, rng):
        c, h, w = shape
        if h % 4 or w % 4:
            raise ValueError(f"AE: upsample='unpool' halves twice and needs sides divisible by 4; got {h} x {w}.")
        self.inner = (2 * width, h // 4, w // 4)
        features = 2 * width * (h // 4) * (w // 4)
        conv = lambda c_in, c_out: Conv2d(c_in, c_out, 3, 1, 1, init=he_normal, rng=rng)
        self.down = [conv(c, width), conv(width, 2 * width)]
        self.to_code, self.from_code = Dense(features, code, rng=rng), Dense(code, features, rng=rng)
        self.up = [conv(2 * width, width), conv(width, c)]

    def encode(self, x):
        """(code, places of the maxima, one array a level)."""
        places = []
        for layer in self.down:
            x, where = ops.max_pool2d(relu(layer(x)), 2, return_indices=True)
            places.append(where)
        return self.to_code(ops.flatten(x, 1)), places

    def forward(self, x):
        code, places = self.encode(x)
        h = relu(self.from_code(code)).reshape(len(x), *self.inner)
        for i, (layer, where) in enumerate(zip(self.up, reversed(places))):
            h = layer(ops.max_unpool2d(h, where, 2))
            h = relu(h) if i == 0 else h
        return h

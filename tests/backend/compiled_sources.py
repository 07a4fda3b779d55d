"""What minigen gives to CUDA's compiler: its GPU code is run on a stand-in of CuPy that records instead of compiling.

What that is depends on the GPU: an old one has other constants, and fewer precisions.

So the sources and constants are those that the library asks for, and nobody has to keep a list. Nothing is computed:
arrays hold what memory holds. A kernel that no call below asks for fails a test of test_nvrtc.py, which names it.
"""

import contextlib
import inspect
import itertools
import re
from types import SimpleNamespace

import numpy as np
from backend import fake_kernels
from backend.fake_cupy import installed

from minigen import optim
from minigen.autograd import tensor
from minigen.backend import Generator, kernels, set_precision, use
from minigen.backend.gpu import conv, elementwise, norm, pool, rows
from minigen.backend.precision import possible
from minigen.data import Dataset, Loader

FLOATS = np.float32, np.float64
PAIR = (2, 2), (2, 2), (0, 0)


def calls(cupy):
    """Use every kernel, with every value of each of its constants."""
    use("cupy")
    for dtype, channels in itertools.product(FLOATS, (8, 3)):
        image, rows_, one = (cupy.zeros(s, dtype) for s in ((2, channels, 6, 6), (20000, channels), channels))
        for x in (image, rows_):
            norm.channel_sum(x)
            norm.batch_norm(x, one, one, 1e-5)
            norm.batch_norm_grad(x, x, one, one, one, one, 1e-5)
            norm.leaky_relu_bias_grad(x, x, 0.2)
        rows.total(rows_, None, False), rows.average(rows_, 1, True)
        for f in (rows.softmax, rows.log_softmax):
            f(rows_, 1)
        for f in (rows.softmax_grad, rows.log_softmax_grad):
            f(rows_, rows_, 1)
        rows.normalize(image, 1, 1e-5)
        rows.normalize_grad(image, image, image, 1, 1e-5)
    for dtype in FLOATS:
        image, half, at = (
            cupy.zeros((2, 4, 6, 6), dtype),
            cupy.zeros((2, 4, 3, 3), dtype),
            cupy.zeros((2, 4, 3, 3), int),
        )
        pool.max_pool2d(image, *PAIR, (1, 1), (3, 3))
        pool.unpool(half, at, (6, 6))
        pool.unpool(half, at, (6, 6), (*PAIR, (1, 1)))
        pool.gather_plane(image, at)
        pool.sum_pool2d(image, *PAIR, (3, 3))
        pool.sum_pool2d_x(half, *PAIR, (6, 6))
        chains(cupy.zeros((2, 4), dtype), cupy.zeros((2, 4), bool))
    for precision in possible(int(cupy.cuda.Device().compute_capability)):
        products(cupy, precision)
    rng = Generator(0)
    rng.normal((5,)), rng.uniform((5,)), rng.keep((5,), 0.5), rng.integers(0, 9, (5,))
    optimisers()
    loader = Loader(Dataset.from_pixels(np.zeros((4, 6, 6), np.uint8), np.arange(4), "abcd", "black"), 2)
    next(loader)


def chains(x, mask):
    """Every elementwise chain, with arrays and numbers by the names of its arguments."""
    numbers = {"slope": 0.2, "beta": 1.0, "alpha": 1.0, "scale": 2.0, "rate": 0.1, "unbias": 1.1}
    for f in vars(elementwise).values():
        if hasattr(f, "__wrapped__") and f.__module__ == elementwise.__name__ and f is not elementwise._compiled:
            f(*[mask if name == "mask" else numbers.get(name, x) for name in inspect.signature(f).parameters])
    elementwise.leaky_relu(x, 0.2)
    classes = x[:, 0].astype(int)
    elementwise.pick(x, classes), elementwise.place(x[:, 0], classes, 4)


def products(cupy, precision):
    """The layers of a DCGAN of 64×64 pixels, some of a small network, and one whose memory is not aligned."""
    before = set_precision(precision)
    convolution = (2, 2), (1, 1), (1, 1), 1
    for batch, C, O, size in ((32, 4, 64, 64), (32, 64, 128, 32), (128, 256, 512, 8), (4, 3, 8, 8), (128, 3, 64, 16)):
        x, w = cupy.empty((batch, size, size, C), "f4").transpose(0, 3, 1, 2), cupy.empty((O, C, 4, 4), "f4")
        g = cupy.empty((batch, size // 2, size // 2, O), "f4").transpose(0, 3, 1, 2)
        conv.conv2d(x, w, None, *convolution)
        conv.conv2d_x(g, w, (size, size), *convolution)
        conv.conv2d_w(x, g, (4, 4), *convolution)
    for m, k, n in ((128, 784, 400), (8, 5, 3)):
        a, b = cupy.empty((m, k), "f4"), cupy.empty((k, n), "f4")
        conv.matmul(a, b), conv.matmul(a, cupy.empty((n, k), "f4").T, cupy.empty(n, "f4"))
        conv.matmul(cupy.empty((k, m), "f4").T, b)
    set_precision(before)


def optimisers():
    """One step of each, and an average of the weights."""
    parameters = [tensor(np.ones(n, np.float32), requires_grad=True) for n in (5, 8)]
    gradients = [tensor(np.ones(n, np.float32)) for n in (5, 8)]
    optim.SGD(parameters, 0.1).step(gradients)
    optim.SGD(parameters, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1).step(gradients)
    optim.RMSprop(parameters, 0.1, momentum=0.9).step(gradients)
    optim.Adam(parameters, 0.1).step(gradients)
    optim.AdamW(parameters, 0.1).step(gradients)
    optim.EMA(parameters, 0.9).update()
    optim.clip_grad_norm(gradients, 1.0)


class Recorder:
    """In the place of RawModule and the emulator: what would be compiled, and which of its kernels were asked for."""

    def __init__(self):
        self.modules, self.elementwise = {}, {}

    def raw_module(self, code, options=()):
        names = self.modules.setdefault((code, options), set())

        def get_function(name):
            names.add(name)
            return Nothing()

        return SimpleNamespace(get_function=get_function)

    def module(self, source, options, architecture):
        return SimpleNamespace(launch=lambda name, *_: self.elementwise.setdefault(source, name))


class Nothing:
    """A kernel that does nothing, and takes every attribute."""

    def __call__(self, grid, block, args, shared_mem=0):
        pass


@contextlib.contextmanager
def recording(capability):
    """A stand-in of CuPy that compiles and launches nothing. Yields (cupy, recorder)."""
    recorder, real, gpu = Recorder(), fake_kernels.module, kernels.GPU
    with installed(capability=capability, products="emulated") as cupy:
        cupy.RawModule, cupy.ElementwiseKernel = recorder.raw_module, fake_kernels.ElementwiseKernel
        fake_kernels.module, kernels.GPU = recorder.module, gpu  # also where the stand-in has no emulator
        try:
            yield cupy, recorder
        finally:
            fake_kernels.module = real


def recorded(capability="90"):
    """(modules, elementwise): {(source, options): names of kernels}, {source: name of its kernel}."""
    with recording(capability) as (cupy, recorder):
        calls(cupy)
    return recorder.modules, recorder.elementwise


def file_of(source):
    """The name that stands in its first line."""
    return re.match(r'#line 1 "([\w.]+)"', source)[1]

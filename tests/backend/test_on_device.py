"""The code paths of the GPU, on the stand-in for CuPy: every op, every layer's forward and backward, whole models.

A hidden transfer (NumPy mixed with the device, an implicit conversion) raises there, and so fails here.
"""

import json
import re
import sys
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from backend import emulator

import minigen.ops
from minigen import models, nn, optim
from minigen.autograd import Leaf, Tensor, grad, tensor
from minigen.backend import Generator, namespace, to_numpy, use
from minigen.backend.kernels import CPU, GPU, PORTABLE, kernels
from minigen.data import Dataset, horizontal_flip, random_shift
from minigen.debug import debug
from minigen.loop import Training

sys.path.append(str(Path(__file__).parents[1] / "ops"))  # where the table of ops lies
from cases import CASES, Fixed


@pytest.fixture
def device(fake_cupy):
    """The stand-in, as the default device."""
    return use("cupy")


# Dropout's row draws its mask on the host; here the models at the end drop out on the device.
ROWS = [case for case in CASES if not case.name.startswith("dropout")]


def moved(x, xp):
    """Arrays of the host, also inside tuples, as arrays of `xp`; everything else as it is."""
    if isinstance(x, tuple):
        return tuple(moved(v, xp) for v in x)
    return xp.asarray(x) if isinstance(x, np.ndarray) else x


def called(case, xp, dtype=np.float32):
    """(result, leaves) of a row on the device of `xp`; the float inputs that are not Fixed are the leaves."""
    args = []
    for x in case.inputs:
        array = x.array if isinstance(x, Fixed) else x
        if isinstance(array, np.ndarray) and array.dtype.kind == "f":
            array = array.astype(dtype)
            args.append(xp.asarray(array) if isinstance(x, Fixed) else leaf(xp.asarray(array)))
        else:
            args.append(moved(array, xp))
    options = {k: moved(v, xp) for k, v in case.call.keywords.items()}
    return case.call.func(*args, **options), [a for a in args if isinstance(a, Tensor)]


def leaf(array):
    t = Tensor(array)
    t.node = Leaf(t)
    return t


def outputs(out):
    return [y.data if isinstance(y, Tensor) else y for y in (out if isinstance(out, tuple) else (out,))]


@pytest.mark.parametrize("case", ROWS, ids=lambda c: c.name)
def test_an_op_gives_on_the_device_what_it_gives_on_the_host(case, device):
    there, here = outputs(called(case, device)[0]), outputs(called(case, np)[0])
    for a, b in zip(there, here, strict=True):
        assert isinstance(a, device.ndarray)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(to_numpy(a), b, rtol=1e-4, atol=1e-5)


def gradients(case, xp, order):
    """Of the sum of squares of all outputs; for order 2, of the sum of squares of those gradients."""
    out, leaves = called(case, xp, np.float32 if order == 1 else np.float64)
    floats = [y for y in (out if isinstance(out, tuple) else (out,)) if y.dtype.kind == "f" and y.node]
    first = grad(sum((y * y).sum() for y in floats), leaves, create_graph=order == 2, allow_unused=True)
    if order == 1:
        return first
    total = sum((g * g).sum() for g in first if g is not None)
    return grad(total, leaves, allow_unused=True) if total.node else []


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", [c for c in ROWS if c.differentiable], ids=lambda c: c.name)
def test_a_derivative_on_the_device_is_that_on_the_host(case, order, device):
    for a, b in zip(gradients(case, device, order), gradients(case, np, order), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert isinstance(a.data, device.ndarray)
            assert a.dtype == b.dtype == (np.float32 if order == 1 else np.float64)
            # order 2 in float64: differences of large numbers, such as batch norm's, would drown in float32's rounding
            rtol = 1e-3 if order == 1 else 1e-8
            np.testing.assert_allclose(a.numpy(), b.data, rtol=rtol, atol=rtol * np.abs(b.data).max(initial=1e-3))


def test_arrays_get_the_kernels_of_their_device(device):
    assert kernels(device.zeros(2)) is (GPU if emulator.AVAILABLE else PORTABLE)
    assert kernels(np.zeros(2)) is CPU
    assert vars(GPU).keys() == vars(PORTABLE).keys()


def test_every_kernel_that_an_op_asks_for_is_portable():
    asked = set()
    for path in Path(minigen.ops.__file__).parent.glob("*.py"):
        asked |= set(re.findall(r"kernels\(\w+\)\.(\w+)", path.read_text()))
    assert {"conv2d", "batch_norm_grad", "masked"} <= asked
    assert asked - vars(PORTABLE).keys() == set()


# ------------------------------------------------------------------------------------------------ layers, optimisers


def network():
    rng = Generator(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False, rng=rng),  # batch norm would cancel a bias
        nn.BatchNorm2d(4),
        nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1, rng=rng),
        nn.Dropout(0.5, rng=rng),
        nn.Flatten(),
        nn.Dense(3 * 8 * 8, 5, rng=rng),
    )


def train(net, optimizer, steps=3):
    x = tensor(np.random.default_rng(0).standard_normal((6, 1, 8, 8)).astype(np.float32))
    for _ in range(steps):
        loss = (net(x) ** 2).mean()
        optimizer.step(grad(loss, net.parameters()))
    return loss


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: optim.RMSprop(p, 0.01, momentum=0.9),
        lambda p: optim.Adam(p, 0.01),
        lambda p: optim.AdamW(p, 0.01),
    ],
    ids=["sgd", "rmsprop", "adam", "adamw"],
)
def test_training_on_the_device_goes_as_on_the_host(make, fake_cupy):
    found = {}
    for name in ("numpy", "cupy"):
        use(name)
        net = network().train()
        net[3].p = 0.0  # the random numbers of the devices differ
        optimizer = make(net.parameters())
        loss = train(net, optimizer)
        assert namespace(loss.data) is use(name)
        assert all(namespace(p.data) is use(name) for p in net.parameters())
        found[name] = net.state_dict()
    for key, value in found["numpy"].items():
        np.testing.assert_allclose(found["cupy"][key], value, rtol=1e-3, atol=1e-4, err_msg=key)


def test_a_seed_gives_the_same_weights_on_both_devices(fake_cupy):
    use("numpy")
    here = network().state_dict()
    use("cupy")
    for key, value in network().state_dict().items():
        np.testing.assert_array_equal(value, here[key])


def test_a_checkpoint_of_one_device_is_loaded_on_the_other(fake_cupy):
    use("cupy")
    there = network()
    optimizer = optim.Adam(there.parameters())
    train(there, optimizer)
    use("numpy")
    here = network()
    here.load_state_dict(there.state_dict())
    optim.Adam(here.parameters()).load_state_dict(optimizer.state_dict())
    for a, b in zip(here.parameters(), there.parameters()):
        np.testing.assert_array_equal(a.data, b.numpy())


def test_clipping_and_averages_stay_on_the_device(device):
    net = network()
    average = optim.EMA(net.parameters(), 0.9)
    gradients, _ = optim.clip_grad_norm([p * 10 for p in net.parameters()], 1.0)
    assert all(isinstance(g, device.ndarray) for g in gradients)
    assert float(optim.clip_grad_norm(gradients, 1e9)[1]) == pytest.approx(1, rel=1e-3)
    average.update()
    with average.applied():
        assert all(isinstance(p.data, device.ndarray) for p in net.parameters())


def test_debug_works_on_the_device(device):
    x = tensor([1.0, 0.0], requires_grad=True)
    with np.errstate(divide="ignore"), debug(), pytest.raises(FloatingPointError, match=r"log.* -inf at 1 of 2 places"):
        (x * x).log()
    with debug():
        y = x * x
        x.data += 1
        with pytest.raises(RuntimeError, match="changed in place"):
            grad(y.sum(), x)


# ------------------------------------------------------------------------------------------------ whole models


def noise():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 16, 16), np.uint8)
    return Dataset.from_pixels(images, rng.integers(0, 10, 24), "0123456789", "noise")


MODELS_AND_NETS = [
    (name, options)
    for name, model in models.MODELS.items()
    for options in ([{"net": "dense"}, {"net": "conv"}] if "net" in signature(model).parameters else [{}])
]


@pytest.mark.parametrize(
    ("name", "options"), MODELS_AND_NETS, ids=lambda v: v if isinstance(v, str) else v.get("net", "")
)
def test_a_model_trains_on_the_device_and_goes_on_bit_for_bit_from_its_state(name, options, device):
    def make():
        model = models.MODELS[name]((1, 16, 16), rng=Generator(0), **options)
        return Training(model, noise(), batch_size=8, augment=random_shift(1))

    training = make()
    for _ in range(3):
        losses = training.step()
    assert losses
    for value in losses.values():
        assert isinstance(value, device.ndarray)
        assert np.isfinite(float(value))
    arrays, numbers = training.state()
    assert all(isinstance(a, np.ndarray) for a in arrays.values())
    other = make()
    other.restore(arrays, json.loads(json.dumps(numbers)))
    for a, b in zip(training.step().values(), other.step().values(), strict=True):
        assert float(a) == float(b)


@pytest.mark.parametrize("augment", [horizontal_flip, random_shift(2)], ids=["flip", "shift"])
def test_augmentations_on_the_device_are_those_on_the_host(augment, device):
    images = noise().pixels
    there = augment(device.asarray(images), Generator(0))
    use("numpy")
    np.testing.assert_array_equal(there.get(), augment(images, Generator(0)))

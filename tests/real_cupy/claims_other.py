"""On the real CuPy, on a GPU that does nothing: all that is neither an op nor a step. Run by test_real_cupy.py."""

import gc
import re
import traceback

import cupy
import numpy as np
import pytest
from real_cupy import inside
from training_cases import MODEL_CASES, images, make, training_of

from minigen import nn, optim, tensor
from minigen.autograd import grad
from minigen.backend import Generator, asarray, to_numpy, use
from minigen.backend.capturing import NotCapturable
from minigen.backend.gpu import memory
from minigen.backend.gpu.graph import Graph, new_pool
from minigen.logged import TrainingError
from minigen.loop import Training, on_host
from minigen.metrics import evaluate
from minigen.run import draw

MEMORY = 8 << 30  # bytes that the GPU has where a test says nothing else
OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, 0.1),
    "Momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "RMSprop": lambda p: optim.RMSprop(p, 0.1, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, 0.1),
    "AdamW": lambda p: optim.AdamW(p, 0.1),
}


@pytest.fixture(autouse=True)
def device():
    use("cupy")
    inside.log()
    yield
    inside.set_memory(MEMORY)
    assert not [line for line in inside.log() if line.startswith(("bad launch", "wrong stream", "missing"))]


def network(rng):
    return nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1, groups=2, rng=rng),
        nn.GroupNorm(2, 4),
        nn.SpectralNorm(nn.Conv2d(4, 4, 3, padding=1, rng=rng), rng=rng),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        nn.LayerNorm((4, 8, 8)),
        nn.Dropout(0.3, rng=rng),
        nn.Flatten(),
        nn.Dense(256, 3, rng=rng),
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_takes_steps_without_the_host_with_averages_and_clipping(name):
    net = network(Generator(0))
    optimizer, x = OPTIMIZERS[name](net.parameters()), tensor(np.ones((6, 4, 8, 8), np.float32))
    average = optim.EMA(net.parameters(), 0.9, [optimizer.flat])
    inside.log()
    for _ in range(2):
        gradients, _ = optim.clip_grad_norm(grad((net(x) ** 2).mean(), net.parameters()), 1.0)
        optimizer.step(gradients)
        average.update()
    assert not [line for line in inside.log() if line.startswith(("copy to the host", "wait"))]
    optimizer.load_state_dict(optimizer.state_dict())
    average.load_state_dict(average.state_dict())
    net.load_state_dict(net.state_dict())
    with average.applied():
        assert all(isinstance(p.data, cupy.ndarray) for p in net.eval().parameters())


def test_a_step_with_a_loss_scale_asks_the_host_nothing():
    net = nn.Dense(12, 3, rng=Generator(0))
    scale, optimizer = optim.LossScale(), optim.Adam(net.parameters())
    inside.log()
    loss = (net(tensor(np.ones((6, 12), np.float32))) ** 2).mean()
    gradients = scale.unscaled(grad(loss, net.parameters(), scale.cotangent(loss)))
    with scale.guarding(optimizer):
        optimizer.step(gradients)
    assert not [line for line in inside.log() if line.startswith(("copy to the host", "wait"))]
    scale.restore(scale.state())


def test_a_generator_draws_on_the_device_and_asks_the_host_nothing():
    rng = Generator(0)
    rng.normal((1,))  # makes its counter
    inside.log()
    drawn = {
        "normal": (rng.normal((3, 2)), (3, 2), np.float32),
        "normal of no dimension": (rng.normal(()), (), np.float32),
        "float64": (rng.normal((2,), np.float64), (2,), np.float64),
        "uniform": (rng.uniform((3,)), (3,), np.float32),
        "integers": (rng.integers(0, 10, (3,)), (3,), np.int64),
        "keep": (rng.keep((3,), 0.5), (3,), np.bool_),
    }
    assert not [line for line in inside.log() if line.startswith(("copy to the host", "wait"))]
    for name, (a, shape, dtype) in drawn.items():
        assert isinstance(a, cupy.ndarray), name
        assert (a.shape, a.dtype) == (shape, dtype), name
    rng.restore(rng.state())


@pytest.mark.parametrize("case", MODEL_CASES)
def test_a_model_draws_images_and_is_measured(case):
    training, data = training_of(case), images(16)
    training.step()
    with training.averaged() as model, np.errstate(all="ignore"):  # the values are what was in the memory
        pixels, measured = draw(model, 16, data), evaluate(model, data)
    assert pixels is None or (pixels.shape, pixels.dtype) == ((16, 12, 12, 1), np.uint8)
    assert all(isinstance(value, float) for value, unit in measured.values())


def test_losses_are_brought_to_the_host_together():
    training = training_of("vae dense")
    recent = [(i, training.step()) for i in range(4)]
    inside.log()
    on_host(recent)
    assert sum(line.startswith("copy to the host") for line in inside.log()) <= 2


def test_arrays_come_and_go_by_dlpack_and_as_they_were():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    t = tensor(x)
    taken = cupy.from_dlpack(t)
    assert taken.data.ptr == t.data.data.ptr

    class Foreign:
        """An array of another library, on this device."""

        __dlpack__ = staticmethod(taken.__dlpack__)
        __dlpack_device__ = staticmethod(taken.__dlpack_device__)

    again = asarray(Foreign())
    assert again.data.ptr == taken.data.ptr
    np.testing.assert_array_equal(to_numpy(again), x)
    assert repr(t).startswith("tensor([[0., 1., 2.]")


SAID = re.compile(r"step \d: the GPU's memory does not hold a step with a batch of 1024\. .*--batch-size (\d+)\.")
WORK = {
    "a copy to the host": lambda: (cupy.zeros(3) + 1).get(),
    "a copy from the host": lambda: cupy.asarray(np.ones(5)),
    "a look at a value": lambda: bool(cupy.zeros(1).sum()),
    "a mask as index": lambda: cupy.zeros(4)[cupy.zeros(4) > 0],
}


@pytest.mark.parametrize("name", WORK)
def test_no_graph_holds(name):
    with pytest.raises(NotCapturable):
        Graph(WORK[name], new_pool())


@pytest.mark.parametrize(("case", "left"), [("vae conv", 24 << 20), ("gan conv", 40 << 20)])
def test_a_step_that_the_memory_does_not_hold_names_a_batch_size_that_it_holds(case, left):
    data = images(1024, (1, 28, 28))

    def said_of(batch):
        """What seven steps raise, or None. Nothing of them is kept."""
        training, said = Training(make(case, (1, 28, 28)), data, batch_size=batch), None
        try:
            for _ in range(7):
                training.step()
        except TrainingError as error:
            said = str(error)
            traceback.clear_frames(error.__traceback__)
        del training
        gc.collect()
        return said

    gc.collect()
    inside.set_memory(MEMORY - memory.available() + left)
    found = SAID.fullmatch(said_of(1024))
    assert found
    assert said_of(int(found[1])) is None

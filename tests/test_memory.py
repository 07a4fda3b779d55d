"""A step that the memory does not hold: the message names a batch size, and with that it fits."""

import gc
import re
import traceback

import numpy as np
import pytest
from backend import fake_cupy_graph
from training_cases import MODEL_CASES, images, make

from minigen import backend
from minigen.backend.gpu import memory
from minigen.logged import TrainingError
from minigen.loop import Training
from minigen.memory import compute

DATA = images(256, (1, 12, 12))


@pytest.fixture
def small_gpu(fake_cupy, monkeypatch):
    """small_gpu(bytes): from now on so much is left on the stand-in."""
    backend.use("cupy")
    monkeypatch.setattr(fake_cupy_graph, "blas_in_capture", True)

    def shrink(left):
        taken = fake_cupy_graph.memory_size - memory.available()
        monkeypatch.setattr(fake_cupy_graph, "memory_size", taken + left)

    return shrink


def training_of(case, batch, **options):
    return Training(make(case), DATA, batch_size=batch, **options)


def advised(training):
    """The batch size that is named when one of seven steps fails; None where all go well. Nothing of it is kept."""
    said = None
    try:
        for _ in range(7):
            training.step()
    except TrainingError as error:
        said = str(error)
        traceback.clear_frames(error.__traceback__)
    gc.collect()
    if said is None:
        return None
    size = training.loader.batch_size
    found = re.search(
        rf"step \d: the GPU's memory does not hold a step with a batch of {size}\. .*--batch-size (\d+)\.$", said
    )
    assert found, said
    return int(found[1])


def needs(case, graph):
    """Bytes of a training step of 256 images."""
    training = training_of(case, 256, graph=graph)
    return memory.needed(lambda: [training.step() for _ in range(5)])


@pytest.mark.parametrize("case", ["gan conv", "wgan_gp conv", "vae conv", "ae conv", "classifier"])
@pytest.mark.parametrize("graph", [False, None], ids=["eager", "graph"])
def test_the_batch_size_that_the_message_names_fits_and_is_not_much_too_small(case, graph, small_gpu):
    whole = needs(case, graph=False)
    training = training_of(case, 256, graph=graph)
    small_gpu(whole // 3)
    fits = advised(training)
    del training
    assert advised(training_of(case, fits, graph=graph)) is None
    assert advised(training_of(case, 2 * fits + 8, graph=False)) is not None


def test_where_only_the_graph_does_not_fit_steps_are_ordinary_ones_and_nothing_is_lost(small_gpu):
    found = []
    for left in (None, needs("vae dense", graph=False) * 5 // 4):
        training = training_of("vae dense", 256)
        if left:
            small_gpu(left)
        for _ in range(6):
            training.step()
        found.append(training)
    assert found[0].graph_note is None
    assert "there is not enough memory for both at once" in found[1].graph_note
    (a, m), (b, n) = found[0].state(), found[1].state()
    assert m == n and all((a[name] == b[name]).all() for name in a)


def test_a_model_that_does_not_fit_at_all_is_told_so(small_gpu):
    training = training_of("gan conv", 64)
    small_gpu(20_000)
    with pytest.raises(TrainingError, match="does not hold this model, even with a batch of 8"):
        training.step()


def test_what_is_needed_is_the_most_that_is_held_at_a_time(fake_cupy):
    backend.use("cupy")

    def work():
        for _ in range(10):
            fake_cupy.zeros(1000, np.float32)
        a = fake_cupy.zeros(1000, np.float32)
        return a, fake_cupy.zeros(3000, np.float32)

    assert memory.needed(work) == 4096 + 12288  # pools hand out multiples of 512


def test_measuring_loses_no_memory(fake_cupy):
    """Neither of what was freed nor of what an error left behind; nor is a piece used that lies free elsewhere."""
    backend.use("cupy")
    kept = [fake_cupy.zeros(1000, np.float32) for _ in range(3)]
    del kept[1]
    left = memory.available()

    def failing():
        a = fake_cupy.zeros(1000, np.float32)
        raise MemoryError(f"{a.size}")

    assert memory.needed(lambda: fake_cupy.zeros(1000, np.float32)) == 4096
    with pytest.raises(MemoryError) as raised:
        memory.needed(failing)
    traceback.clear_frames(raised.tb)
    gc.collect()
    assert memory.available() == left


def test_on_the_cpu_a_smaller_batch_is_advised(monkeypatch):
    training = training_of("vae dense", 64)

    def no_memory(*args):
        raise MemoryError("Unable to allocate 3.2 GiB for an array")

    monkeypatch.setattr(training, "compute", no_memory)
    with pytest.raises(
        TrainingError, match=r"batch of 64 \(Unable to allocate 3.2 GiB .*\). Try a smaller --batch-size"
    ):
        training.step()


@pytest.mark.parametrize("case", MODEL_CASES)
def test_there_is_a_trial_for_every_model(case, fake_cupy):
    backend.use("cupy")
    training = training_of(case, 8)
    assert memory.needed(lambda: compute(training, 4)) > 0

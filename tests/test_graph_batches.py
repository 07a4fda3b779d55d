"""Where a captured step gets its batch from, and what is launched before its graph; on the stand-in for CuPy."""

import pytest
from backend import emulator, fake_kernels
from backend import fake_cupy_graph as fake_graph
from test_graph import DATA, same, steps, training_of
from training_cases import MODEL_CASES

from minigen.backend import use
from minigen.data import Loader


@pytest.fixture(autouse=True)
def device(fake_cupy, monkeypatch):
    monkeypatch.setattr(fake_graph, "blas_in_capture", True)
    return use("cupy")


def test_short_batches_at_the_end_of_an_epoch_have_a_graph_of_their_own():
    ordinary, replayed = (training_of("classifier", graph) for graph in (False, True))
    for training in (ordinary, replayed):
        options = {"pixel_range": training.model.pixel_range, "drop_last": False}
        training.loader = Loader(DATA, 10, 0, **options)  # 10, 10, 10, 2
    assert steps(ordinary, 14) == steps(replayed, 14)
    assert same(ordinary, replayed)
    assert len(replayed.captured.graphs) == 2


def test_a_batch_given_by_hand_is_copied_into_the_graph():
    """captured.step takes any arrays, before and after the capture; between steps whose batch is written in place."""
    ordinary, replayed = training_of("classifier", False), training_of("classifier")
    data = Loader(DATA, 10, 5, pixel_range=(0, 1))
    for i in range(8):
        if i % 3 == 1:
            assert steps(ordinary, 1) == steps(replayed, 1)
            continue
        x, y = next(data)
        x = x.copy() if i % 2 else x  # in row-major memory too
        expected, found = ordinary.do([0], (x, y)), replayed.captured.step(replayed, [0], (x, y))
        assert {n: float(v) for n, v in expected.items()} == {n: float(v) for n, v in found.items()}
    assert same(ordinary, replayed)
    assert len(replayed.captured.graphs) == 1


def test_batches_may_come_from_any_iterator():
    ordinary, replayed = training_of("vae dense", graph=False), training_of("vae dense")
    for training in (ordinary, replayed):
        training.loader = iter([next(loader) for loader in [Loader(DATA, 10, 5)] for _ in range(6)])
    assert steps(ordinary, 6) == steps(replayed, 6)
    assert len(replayed.captured.graphs) == 1


@pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
@pytest.mark.parametrize("case", MODEL_CASES)
def test_a_replayed_step_is_a_launch_for_its_images_one_for_its_labels_and_one_for_its_numbers(case, monkeypatch):
    """Whatever the number of optimisers and averages; the rest is the graph, and a copy of the losses by CuPy."""
    training = training_of(case, average=0.9)
    steps(training, 4 * max(o.every for o in training.objectives))
    monkeypatch.setattr(fake_graph.Graph, "launch", lambda graph: None)  # elementwise kernels count when they run
    before = fake_kernels.LAUNCHES.copy()
    training.step()
    labels = {"deal_labels": 1} if training.model.labels else {}
    assert dict(fake_kernels.LAUNCHES - before) == {"deal_images": 1, "store": 1} | labels

"""On the real CuPy, on a GPU that does nothing: every model trains as graphs. Run by test_real_cupy.py."""

import pytest
from real_cupy import inside
from training_cases import MODEL_CASES, images, make, training_of

from minigen import set_precision
from minigen.backend import use
from minigen.captured import Snapshot
from minigen.loop import Training

FORBIDDEN = tuple(when + what for when in ("", "captured ") for what in ("bad launch", "wrong stream", "missing"))
HOST = "copy to the host", "wait"


@pytest.fixture(autouse=True)
def device(monkeypatch):
    use("cupy")
    compared = Snapshot.difference

    def no_difference(a, b):  # the comparison is asked for; what it finds is what was in the memory
        compared(a, b)

    monkeypatch.setattr(Snapshot, "difference", no_difference)


def trained(case, **options):
    """(training, log) of a small model as graphs: the steps until all its objectives have been captured."""
    inside.log()
    training = training_of(case, graph=True, **options)
    for _ in range(2 * max(o.every for o in training.objectives)):
        training.step()
    return training, inside.log()


@pytest.mark.parametrize("case", MODEL_CASES)
def test_a_model_trains_as_graphs_that_launch_kernels_and_do_nothing_else(case):
    """In particular load none: what a first step compiles has to be all. (A kernel is loaded once in a process.)"""
    training, lines = trained(case)
    assert training.graph_note is None
    assert "capture" in lines
    assert {line.split(":")[0] for line in lines if line.startswith("captured")} == {"captured launch"}
    assert not [line for line in lines if line.startswith(FORBIDDEN)]


def test_a_wide_model_trains_as_graphs_whose_blocks_ask_for_more_shared_memory():
    shape = 3, 64, 64
    training = Training(make("gan conv", shape, width=64), images(16, shape), batch_size=8, graph=True)
    inside.log()
    for _ in range(3):
        training.step()
    lines = inside.log()
    assert any(line.startswith("shared memory on request") for line in lines)
    assert not [line for line in lines if line.startswith(FORBIDDEN)]


@pytest.mark.parametrize("case", MODEL_CASES)
def test_a_replayed_step_waits_for_nothing_and_copies_nothing_to_the_host(case):
    training, _ = trained(case)
    for _ in range(5):
        training.step()
    lines = inside.log()
    assert lines.count("replay") == 5
    assert "capture" not in lines
    assert not [line for line in lines if line.startswith(HOST)]


@pytest.mark.parametrize("case", MODEL_CASES)
def test_besides_its_graph_a_step_launches_three_kernels_and_one_for_labels(case):
    training, _ = trained(case, average=0.9)
    while training.loader.position == len(training.loader):  # an epoch begins with an order from the host
        training.step()
    inside.log()
    training.step()
    labels = ["launch: deal_labels"] * training.model.labels
    step = ["launch: deal_images", *labels, "launch: store", "replay", "launch: cupy_copy__float32_float32"]
    assert inside.log() == step


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_a_model_trains_as_graphs_in_another_precision_with_clipping(precision):
    set_precision(precision)
    try:
        training, lines = trained("gan conv", clip=1.0)
    finally:
        set_precision("float32")
    assert training.graph_note is None
    assert not [line for line in lines if line.startswith(FORBIDDEN)]


@pytest.mark.parametrize("case", MODEL_CASES)
def test_a_training_goes_on_from_its_state(case):
    training = training_of(case)
    training.step()
    arrays, numbers = training.state()
    again = training_of(case)
    again.restore(arrays, numbers)
    again.step()
    assert again.steps == 2

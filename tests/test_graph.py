"""Training steps as CUDA graphs, on the stand-in for CuPy: what is replayed is the ordinary step, to the bit."""

import gc
import json

import numpy as np
import pytest
from backend import emulator
from backend import fake_cupy_graph as fake_graph
from backend.fake_cupy import installed
from training_cases import MODEL_CASES, images, make

from minigen import Observer, Training, fit, optim
from minigen.backend import use
from minigen.data import horizontal_flip
from minigen.debug import debug
from minigen.metrics import evaluate
from minigen.optim import schedules
from minigen.run import draw

DATA = images()
every_case = pytest.mark.parametrize("case", MODEL_CASES)


@pytest.fixture(autouse=True)
def device(fake_cupy, monkeypatch):
    """The stand-in as the default device; products pass there, as they do with kernels of our own."""
    monkeypatch.setattr(fake_graph, "blas_in_capture", True)
    return use("cupy")


def training_of(case="vae dense", graph=True, **options):
    often = {"critic_steps": 2} if "wgan" in case else {}
    return Training(make(case, **often), DATA, **{"batch_size": 10, "graph": graph} | options)


def steps(training, n):
    """The losses of n steps, read after the last."""
    losses = [training.step() for _ in range(n)]
    return [{name: float(value) for name, value in terms.items()} for terms in losses]


def same(a, b):
    """Whether two trainings are in the same state, to the bit."""
    (x, m), (y, n) = a.state(), b.state()
    return x.keys() == y.keys() and m == n and all(v.tobytes() == w.tobytes() for v, w in zip(x.values(), y.values()))


# ------------------------------------------------------------------------------------------------ the same results


@every_case
def test_replayed_steps_are_the_ordinary_ones_to_the_bit_and_neither_copies_anything_to_or_from_the_host(case):
    """Weights, statistics, optimisers, average, random numbers, losses; with a schedule and clipping.

    The order of the images comes from the host, once an epoch: of 32 images, 10 a batch, steps 4, 7, 10 begin one.
    """
    found = []
    for graph in (False, True):
        training = training_of(case, graph, clip=1.0, average=0.9)
        training.decay_steps = 9
        losses = steps(training, 4)
        for step in range(5, 8):
            fake_graph.transfers.clear()
            last = training.step()
            assert dict(fake_graph.transfers) == ({"to device": 1} if step == 7 else {}), (graph, step)
            losses.append({name: float(value) for name, value in last.items()})
        found.append((losses, training))
    (expected, ordinary), (losses, replayed) = found
    assert losses == expected
    assert same(ordinary, replayed)
    assert len(replayed.captured.graphs) == len({o.every for o in replayed.objectives})


def test_augmented_batches_are_replayed_too():
    ordinary, replayed = (training_of("gan dense", graph, augment=horizontal_flip) for graph in (False, True))
    assert steps(ordinary, 5) == steps(replayed, 5)
    assert same(ordinary, replayed)


OPTIMISERS = {
    "sgd": lambda p, lr: optim.SGD(p, lr, weight_decay=0.1),
    "momentum": lambda p, lr: optim.SGD(p, lr, momentum=0.9, dampening=0.1),
    "nesterov": lambda p, lr: optim.Momentum(p, lr, nesterov=True),
    "rmsprop": lambda p, lr: optim.RMSprop(p, lr, momentum=0.5),
    "adam": lambda p, lr: optim.Adam(p, lr, weight_decay=0.1),
    "adamw": lambda p, lr: optim.AdamW(p, lr),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_follows_its_schedule_within_a_graph(name):
    def training(graph):
        model = make("ae dense")
        model.optimizer = OPTIMISERS[name]
        return Training(model, DATA, batch_size=10, graph=graph, lr=schedules.warmup(schedules.cosine(0.02, 9), 3))

    ordinary, replayed = training(False), training(True)
    assert steps(ordinary, 8) == steps(replayed, 8)
    assert same(ordinary, replayed)


@pytest.mark.parametrize("case", ["gan dense", "wgan_gp dense", "vae dense", "classifier"])
@pytest.mark.parametrize("captured", [False, True], ids=["before", "after"])
def test_a_state_restored_before_or_after_the_capture_goes_on_as_the_uninterrupted_run(case, captured):
    options = {"average": 0.9}
    whole, half = training_of(case, False, **options), training_of(case, **options)
    steps(half, 3)
    arrays, numbers = half.state()
    other = training_of(case, seed=7, **options)
    steps(other, 4 * captured)  # other weights, counters and random numbers: the graph must not have kept any
    other.restore(arrays, json.loads(json.dumps(numbers)))
    assert steps(whole, 7)[3:] == steps(other, 4)
    assert same(whole, other)


@pytest.mark.parametrize("case", ["gan conv", "vae conv"])
def test_drawing_averaging_and_measuring_between_steps_change_nothing_and_are_not_changed(case):
    def run(graph):
        training = training_of(case, graph, average=0.9)
        found = [steps(training, 3), draw(training.model, 4).tobytes()]
        with training.averaged() as model:
            found += [draw(model, 4).tobytes(), evaluate(model, DATA, batch_size=16)]
        return [*found, steps(training, 2)], training

    (expected, ordinary), (found, replayed) = run(False), run(True)
    assert expected == found
    assert same(ordinary, replayed)


def test_losses_that_were_returned_stay_what_they_were():
    training = training_of()
    losses = [training.step() for _ in range(5)]
    now = [{n: float(v) for n, v in terms.items()} for terms in losses]
    steps(training, 2)
    assert [{n: float(v) for n, v in terms.items()} for terms in losses] == now
    assert all(v.shape == () for terms in losses for v in terms.values())


def test_fit_reports_the_same_with_graphs_as_without():
    rows = [fit(make("gan dense"), DATA, batch_size=10, steps=9, log_every=4, graph=g).history for g in (False, True)]
    timeless = [[{k: v for k, v in row.items() if k not in ("seconds", "images/s")} for row in r] for r in rows]
    assert timeless[0] == timeless[1]


def test_an_option_that_changes_the_step_is_captured_anew():
    ordinary, replayed = training_of(graph=False), training_of()
    for clip in (None, 1e-3, None):
        ordinary.clip = replayed.clip = clip
        assert steps(ordinary, 4) == steps(replayed, 4)
    assert same(ordinary, replayed)
    assert len(replayed.captured.graphs) == 2


def test_another_batch_size_is_captured_anew():
    ordinary, replayed = training_of(graph=False), training_of()
    for size in (10, 7, 10):
        for training in (ordinary, replayed):
            training.loader = Training(make("vae dense"), DATA, batch_size=size).loader
        assert steps(ordinary, 4) == steps(replayed, 4)
    assert len(replayed.captured.graphs) == 2


# ------------------------------------------------------------------------------------------------ what it costs


def test_fit_reads_the_losses_in_one_copy_a_log():
    copies = []

    class Count(Observer):
        def log(self, training, row):
            copies.append(fake_graph.transfers["to host"])

    fit(make("gan dense"), DATA, batch_size=10, steps=40, log_every=10, observers=[Count()])
    assert np.diff(copies).tolist() == [1, 1, 1]


def test_a_replay_is_one_launch():
    training = training_of()
    steps(training, 4)
    before = fake_graph.Graph.launches
    steps(training, 3)
    assert fake_graph.Graph.launches == before + 3


def test_the_memory_of_graphs_is_given_back_with_the_training_and_at_once():
    training = training_of("wgan_gp dense")
    steps(training, 8)
    pool = training.captured.pool
    assert pool.total_bytes() > 0
    gc.disable()  # no cycle may keep it
    try:
        del training
        assert pool.total_bytes() == 0
    finally:
        gc.enable()


def test_graphs_of_one_training_share_their_memory():
    """They never run at the same time: the second needs little more than the first."""
    training = training_of("wgan_gp dense", lr=1e-4)
    held = []
    for _ in range(6):
        training.step()
        held.append(training.captured.pool.total_bytes() if training.captured.pool else 0)
    first, both = held[2], held[-1]  # captured in steps 3 (the critic alone) and 4 (both players)
    assert 0 < first < both < 2.5 * first


# ------------------------------------------------------------------------------------------------ when not


def test_debug_looks_at_ordinary_steps():
    training = training_of()
    steps(training, 4)
    before = fake_graph.Graph.launches
    with debug():
        steps(training, 2)
    assert fake_graph.Graph.launches == before
    ordinary = training_of(graph=False)
    assert steps(ordinary, 8)[6:] == steps(training, 2)


def test_without_graph_none_is_captured():
    training = training_of(graph=False)
    before = fake_graph.Graph.launches
    steps(training, 4)
    assert (fake_graph.Graph.launches, training.graph_note, training.captured) == (before, None, None)


@pytest.mark.parametrize("graph", [None, True, False])
def test_on_the_cpu_the_option_means_nothing(graph):
    use("numpy")
    assert steps(training_of(graph=graph), 3) == steps(training_of(graph=None), 3)


# ------------------------------------------------------------------------------------------------ with our own products


@pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
@pytest.mark.parametrize(
    ("case", "capability"),
    [
        ("vae dense", "90"),
        ("vae dense", "75"),
        pytest.param("gan conv", "90", marks=pytest.mark.slow),
        pytest.param("ae conv", "90", marks=pytest.mark.slow),
        pytest.param("gan conv", "75", marks=pytest.mark.slow),
    ],
)
def test_with_kernels_of_our_own_for_products_a_whole_step_is_captured(case, capability, monkeypatch):
    """As on a GPU, with tensor cores for them or without, by the emulated CUDA source; here cuBLAS is refused."""
    monkeypatch.setattr(fake_graph, "blas_in_capture", False)
    small = {"hidden": 8} if "dense" in case else {}
    found = []
    for graph in (False, True):
        with installed(capability=capability, products="emulated"):
            use("cupy")
            training = Training(make(case, **small), DATA, batch_size=4, graph=graph)
            found.append((steps(training, 4), training.state()))
    (losses, (arrays, numbers)), (replayed, (others, other_numbers)) = found
    assert losses == replayed
    assert numbers == other_numbers
    assert all(a.tobytes() == others[n].tobytes() for n, a in arrays.items())

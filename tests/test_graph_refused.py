"""Steps that no graph can repeat: they stay ordinary, the results are right, and a sentence says why."""

import gc

import numpy as np
import pytest
from backend import emulator
from backend import fake_cupy_graph as fake_graph
from training_cases import images, make

from minigen import Observer, Training, fit, tensor
from minigen.backend import Generator, namespace, use
from minigen.backend.capturing import NotCapturable
from minigen.backend.gpu import compile
from minigen.backend.gpu.graph import Graph, new_pool
from minigen.models import SingleObjective
from minigen.nn import Buffer, Conv2d, Dense, Dropout, Flatten, Sequential, SpectralNorm
from minigen.ops import avg_pool2d, group_norm, instance_norm, interpolate, pad, relu
from minigen.progress import Notes

DATA = images()


@pytest.fixture(autouse=True)
def device(fake_cupy, monkeypatch):
    monkeypatch.setattr(fake_graph, "blas_in_capture", True)
    return use("cupy")


class Plain(SingleObjective):
    """min E ‖f(x) − 1‖² with something done on the way by `extra`, a function (model, x, loss) → loss."""

    def __init__(self, extra, rng=None):
        super().__init__((1, 12, 12), rng)
        self.f, self.extra, self.count = Sequential(Flatten(), Dense(144, 3, rng=self.rng)), extra, 0
        self.seen = Buffer(tensor(np.zeros(3, np.float32)).data)

    def loss(self, x):
        y = self.f(x)
        return {"error": self.extra(self, y, ((y - 1.0) ** 2).mean())}


def host_draw(model, y, loss):
    return loss * float(model.rng.host.uniform(1, 2))


def split_generator(model, y, loss):
    return loss * model.rng.split().uniform(()).mean()


def item(model, y, loss):
    return loss * min(1.0, loss.item())


def branch(model, y, loss):
    return loss * 2.0 if loss > 3.0 else loss


def copy_from_host(model, y, loss):
    return loss * tensor(np.ones((2,), np.float32)).mean()


def rebinding(model, y, loss):
    model.seen.data = model.seen.data * 0.5 + y.data.mean(axis=0)
    return loss + (tensor(model.seen.data) ** 2).mean() * y.mean()


def counting(model, y, loss):
    model.count += 1
    return loss * (1.0 / model.count)


REASONS = {
    host_draw: "Generator.host draws random numbers on the host (test_graph_refused.py:",
    split_generator: "Generator.split draws random numbers on the host (test_graph_refused.py:",
    item: "operation not permitted when stream is capturing (test_graph_refused.py:",
    branch: "operation not permitted when stream is capturing (test_graph_refused.py:",
    copy_from_host: "an array is copied from the host to the GPU (test_graph_refused.py:",
    rebinding: "'seen' is replaced by a new array in each step; change it in place instead",
    counting: "an ordinary step does not repeat itself to the bit ('f.1.weight' differs)",
}


def training_of(extra, graph=None):
    return Training(Plain(extra, rng=Generator(1)), DATA, batch_size=10, graph=graph)


def steps(training, n):
    return [float(training.step()["loss/error"]) for _ in range(n)]


@pytest.mark.parametrize("extra", [e for e in REASONS if e is not counting], ids=lambda e: e.__name__)
def test_what_cannot_be_captured_is_named_and_trained_all_the_same(extra):
    expected, found = training_of(extra, graph=False), training_of(extra)
    assert steps(expected, 5) == steps(found, 5)
    assert found.graph_note.startswith("No CUDA graph is used, and each step starts its kernels one by one: ")
    assert REASONS[extra] in found.graph_note
    assert found.graph_note.endswith(".") and "\n" not in found.graph_note
    assert fake_graph.Graph.launches == 0


def test_a_step_that_counts_in_python_does_not_repeat_itself():
    """What Python keeps cannot be put back, so the model has counted on; but no graph uses a count of old."""
    training = training_of(counting)
    steps(training, 4)
    assert REASONS[counting] in training.graph_note


@pytest.mark.parametrize("extra", [host_draw, item, rebinding, counting], ids=lambda e: e.__name__)
def test_who_insists_on_graphs_gets_an_error(extra):
    training = training_of(extra, graph=True)
    steps(training, 1)
    with pytest.raises(NotCapturable) as raised:
        training.step()
    assert REASONS[extra] in str(raised.value)


def test_cublas_is_named(monkeypatch):
    monkeypatch.setattr(fake_graph, "blas_in_capture", False)
    training = training_of(lambda model, y, loss: loss)
    steps(training, 3)
    assert "a matrix product is left to cuBLAS, which CuPy does not capture" in training.graph_note


@pytest.mark.skipif(not emulator.AVAILABLE, reason="no g++")
def test_nothing_is_compiled_during_a_capture():
    """A single parameter needs no gathering; only the losses of a captured step do."""
    compile.kernel.cache_clear()
    model = Plain(lambda model, y, loss: loss, rng=Generator(1))
    model.f = Sequential(Flatten(), Dense(144, 3, bias=False, rng=model.rng))
    training = Training(model, DATA, batch_size=10, graph=True)
    assert len(set(steps(training, 4))) == 4
    assert fake_graph.Graph.launches > 0


def test_a_layer_is_named():
    class Noisy(Dropout):
        def forward(self, x):
            return x * float(self.rng.host.uniform(1, 2))

    model = Plain(lambda model, y, loss: loss, rng=Generator(1))
    model.f = Sequential(Flatten(), Dense(144, 3, rng=model.rng), Noisy(rng=model.rng))
    training = Training(model, DATA, batch_size=10)
    steps(training, 3)
    assert "in forward, in 2)" in training.graph_note


def test_a_wrong_replay_is_found_before_it_is_used(monkeypatch):
    """As if a kernel were missing in the graph: the last one, an optimiser's."""
    end = fake_graph.Stream.end_capture

    def without_the_last(stream):
        graph = end(stream)
        del graph._nodes[-3]  # the weights' update; after it come the loss's two
        return graph

    monkeypatch.setattr(fake_graph.Stream, "end_capture", without_the_last)
    expected, found = training_of(lambda m, y, loss: loss, graph=False), training_of(lambda m, y, loss: loss)
    assert steps(expected, 5) == steps(found, 5)
    assert "a replayed step does not end where an ordinary one does" in found.graph_note


def test_the_note_is_told_once(capsys):
    class Twice(Observer):
        def begin(self, training, total):
            self.notes = Notes()

        def log(self, training, row):
            self.notes.log(training, row)

    fit(Plain(item, rng=Generator(1)), DATA, batch_size=10, steps=8, log_every=2, observers=[Twice()])
    assert capsys.readouterr().out.count("No CUDA graph is used") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_after_an_error_in_a_capture_everything_goes_on(error):
    def extra(model, y, loss):
        model.count += 1
        if model.count == 2:
            raise error
        return loss

    training, expected = training_of(extra, graph=True), training_of(lambda m, y, loss: loss, graph=False)
    found = steps(training, 1)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else NotCapturable):
        training.step()
    assert fake_graph.current.stream is fake_graph.Stream.null
    assert not fake_graph.capturing()
    training.loader.restore(expected.loader.state())
    steps(training, 1)
    assert found == steps(expected, 1)
    assert len(training.captured.graphs) == 0 or not training.graph_note
    assert np.isfinite(steps(training, 3)).all()


@pytest.mark.parametrize("factor", [1.0, 1.2, 1.4, 1.6, 1.8, 5.0])
def test_where_memory_is_short_steps_stay_ordinary(factor, monkeypatch):
    """factor: of the memory that ordinary steps need; the graph needs as much again, and what is compared some more."""
    expected, found = training_of(lambda m, y, loss: loss, graph=False), training_of(lambda m, y, loss: loss)
    expected = steps(expected, 5)
    losses = steps(found, 1)
    needed = fake_graph.memory_size - fake_graph.memory_left()
    monkeypatch.setattr(fake_graph, "memory_size", int(factor * needed))
    assert losses + steps(found, 4) == expected
    if factor in (1, 5):
        assert (found.graph_note is None) == (factor == 5)


def test_a_capture_that_fails_leaves_the_graphs_alone_that_there_are():
    """Of the players of a WGAN-GP: the critic's steps are replayed when the capture of both is interrupted."""

    def training(graph):
        model = make("wgan_gp dense", critic_steps=2)
        return Training(model, DATA, batch_size=10, graph=graph)

    def run(training):
        return [{n: float(v) for n, v in training.step().items()} for _ in range(3)]

    ordinary, replayed = training(False), training(True)
    assert run(ordinary) == run(replayed)  # the critic's are captured in step 3; both players' would be in step 4
    before, loss = replayed.loader.state(), replayed.objectives[1].loss

    def interrupted(*batch):
        loss(*batch)
        raise KeyboardInterrupt

    replayed.objectives[1].loss = interrupted
    with pytest.raises(KeyboardInterrupt):
        replayed.step()
    replayed.objectives[1].loss = loss
    gc.collect()  # the failed graph is gone
    replayed.loader.restore(before)
    held = [namespace(p.data).ones_like(p.data) for p in replayed.model.parameters()]  # whatever memory is free
    assert run(ordinary) + run(ordinary) == run(replayed) + run(replayed)
    assert all(float(h.min()) == 1 for h in held)


# ------------------------------------------------------------------------------------------------ what can be captured

LAYERS = {
    "spectral norm": lambda rng: [SpectralNorm(Conv2d(1, 3, 3, padding=1, rng=rng), rng=rng), relu],
    "nearest": lambda rng: [Conv2d(1, 2, 3, 2, 1, rng=rng), lambda x: interpolate(x, scale_factor=2)],
    "bilinear": lambda rng: [Conv2d(1, 2, 3, 2, 1, rng=rng), lambda x: interpolate(x, size=(7, 9), mode="bilinear")],
    "average": lambda rng: [Conv2d(1, 2, 3, rng=rng), lambda x: avg_pool2d(x, 3, 2, 1, count_include_pad=False)],
    "reflect": lambda rng: [lambda x: pad(x, (2, 1, 1, 2), "reflect"), Conv2d(1, 2, 3, rng=rng)],
    "groups": lambda rng: [Conv2d(1, 4, 3, rng=rng), lambda x: group_norm(x, 2)],
    "instance": lambda rng: [Conv2d(1, 2, 3, rng=rng), lambda x: instance_norm(x)],
    "dropout": lambda rng: [Conv2d(1, 2, 3, rng=rng), Dropout(0.4, rng=rng)],
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_no_model_of_ours_has_can_be_captured_too(name):
    found = []
    for graph in (False, True):
        model = Plain(lambda model, y, loss: (y * y).mean(), rng=Generator(1))
        model.f = Sequential(*LAYERS[name](model.rng))
        training = Training(model, DATA, batch_size=4, graph=graph, average=0.9)
        found.append((steps(training, 5), training.state()))
    (losses, (arrays, numbers)), (other_losses, (other_arrays, other_numbers)) = found
    assert losses == other_losses
    assert numbers == other_numbers
    assert all(np.array_equal(a, other_arrays[n]) for n, a in arrays.items())


def test_a_generator_that_draws_first_within_a_capture_is_refused(device):
    """The array that holds its counter would be made anew, with the first number, at each replay."""
    rng, early = Generator(0), Generator(0)
    with pytest.raises(NotCapturable, match="a random generator draws for the first time"):
        Graph(lambda: rng.normal((3,)), new_pool())
    early.uniform((1,))
    graph = Graph(lambda: early.normal((3,)), new_pool())
    first, second = graph.replay().get(), graph.replay().get()
    assert not set(first.tolist()) & set(second.tolist())
    again = Generator(0)
    again.uniform((1,))
    assert first.tolist() + second.tolist() == again.normal((3,)).tolist() + again.normal((3,)).tolist()

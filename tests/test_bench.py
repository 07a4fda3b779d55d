"""The benchmark command, and that its workloads are the same nets and losses as PyTorch's."""

import json
import subprocess
import sys

import numpy as np
import pytest

from minigen import bench
from minigen.backend import Generator
from minigen.benchmarks import overhead, rounds
from minigen.benchmarks.workloads import WORKLOADS, training

BATCH = 4
NAMES = list(WORKLOADS)


def test_the_command_prints_a_row_and_writes_it_as_json(tmp_path):
    out = tmp_path / "rows.json"
    options = ["--no-torch", "--workloads", "mlpgan", "--batch", "4", "--rounds", "1", "--steps", "1"]
    command = [sys.executable, "-m", "minigen.bench", *options, "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "MLP GAN 64-128-784, batch 4" in done.stdout
    assert "OPENBLAS_CORETYPE" in done.stdout and "pip install torch" in done.stdout
    (row,) = json.loads(out.read_text())
    assert row["name"] == "mlpgan-4" and row["ms"]["minigen"] > 0 and row["ratio"] is None
    assert row["settings"]["minigen"]["threads"] >= 1


SCRIPT = """
import sys
print("ready", flush=True)
for line in sys.stdin:
    print(2.0 if sys.argv[1:] == ["mlpgan", "4"] else -1.0, flush=True)
"""


def test_a_script_can_be_a_contender(tmp_path, capsys):
    (tmp_path / "twice.py").write_text(SCRIPT)
    out = tmp_path / "rows.json"
    options = ["--no-torch", "--workloads", "mlpgan", "--batch", "4", "--rounds", "3", "--steps", "1"]
    bench.main([*options, "--against", str(tmp_path / "twice.py"), "--json", str(out)])
    assert "/twice" in capsys.readouterr().out
    (row,) = json.loads(out.read_text())
    assert row["ms"]["twice"] == 2.0
    assert row["ratios"]["twice"] == pytest.approx(row["ms"]["minigen"] / 2.0)


def test_a_contender_that_dies_is_named_with_what_it_said(tmp_path):
    (tmp_path / "broken.py").write_text("raise SystemExit('no such net')")
    options = ["--no-torch", "--workloads", "mlpgan", "--batch", "4", "--rounds", "1", "--steps", "1"]
    with pytest.raises(SystemExit, match=r"broken: its process ended early\.\nno such net"):
        bench.main([*options, "--against", str(tmp_path / "broken.py")])


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--batch", "1"], ["--against", "nowhere.py"]])
def test_wrong_options_are_refused_in_one_sentence(wrong):
    with pytest.raises(SystemExit, match=r"python -m minigen\.bench: .*(at least 2|no such file)\.$"):
        bench.main(["--no-torch", *wrong])


def test_a_ratio_compares_times_of_the_same_round():
    times = {"a": [1.0, 10.0, 2.0], "b": [2.0, 20.0, 1.0]}  # the machine was slow in the second round
    assert rounds.ratio(times, "a", "b") == 0.5


@pytest.mark.parametrize(
    ("coretype", "option", "held"),
    [(None, [], False), ("Haswell", [], True), ("SkylakeX", [], False), ("Haswell", ["--no-like-for-like"], False)],
)
def test_pytorch_is_held_to_avx2_where_openblas_is(monkeypatch, coretype, option, held):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    if coretype:
        monkeypatch.setenv("OPENBLAS_CORETYPE", coretype)
    assert bench.holds_torch(bench.parser().parse_args(option)) is held


def test_overhead_is_part_of_the_whole_time(monkeypatch):
    monkeypatch.setattr(overhead, "ROUNDS", 3)
    row = overhead.measure("x * y", overhead.OPS["x * y"])
    assert 0 < row["forward"]["all"] < row["forward_backward"]["all"]
    assert row["forward"]["overhead"] < row["forward"]["all"]


# ------------------------------------------------------------------------------------------------ against PyTorch


class Given:
    """A generator that draws the numbers it was given."""

    def __init__(self, **numbers):
        self.numbers = numbers

    def drawn(self, name, shape):
        assert shape == self.numbers[name].shape
        return self.numbers[name]

    def normal(self, shape):
        return self.drawn("normal", shape)

    def uniform(self, shape):
        return self.drawn("uniform", shape)


@pytest.fixture
def torch_workloads():
    pytest.importorskip("torch")
    from minigen.benchmarks import torch_workloads

    return torch_workloads


@pytest.mark.parametrize("name", NAMES)
def test_the_net_has_as_many_parameters_as_pytorchs(name, torch_workloads):
    theirs = sum(p.numel() for p in torch_workloads.WORKLOADS[name]().parameters())
    assert WORKLOADS[name](Generator(0)).num_parameters() == theirs


@pytest.mark.parametrize("name", NAMES)
def test_with_pytorchs_weights_two_steps_have_pytorchs_losses(name, torch_workloads):
    """The losses of the second step also depend on the gradients and on Adam. WGAN-GP: six, of which one updates G."""
    import torch

    torch.manual_seed(0)
    theirs, model = torch_workloads.WORKLOADS[name](), WORKLOADS[name](Generator(0))
    model.load_state_dict(theirs.state_dict())
    own = training(model, BATCH)
    for dropout in [*theirs.modules(), *(m for _, m in model.named_modules())]:
        if type(dropout).__name__ == "Dropout":
            dropout.p = 0.0
    x, _ = next(own.loader)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((BATCH, torch_workloads.NOISE[name]), np.float32)
    between = rng.random((BATCH, 1, 1, 1), np.float32)
    model.rng = Given(normal=noise, uniform=between)
    given = {"normal": lambda shape: torch.from_numpy(noise), "uniform": lambda shape: torch.from_numpy(between)}
    shaped = torch.from_numpy(x.copy()).reshape(BATCH, *torch_workloads.SHAPES[name])
    cycle = torch_workloads.cycle_of(theirs, shaped, torch_workloads.NOISE[name], **given)
    for i in range(len(cycle) + 1):
        expected = [loss.item() for loss in cycle[i % len(cycle)]()]
        terms = own.step()
        got = {}
        for term, value in terms.items():
            objective = term.split("/")[0]
            got[objective] = got.get(objective, 0) + float(value)
        # WGAN-GP: a score may be about 0, and with β₁ = 0 Adam steps by the sign of a gradient
        assert list(got.values()) == pytest.approx(expected, rel=1e-4, abs=1e-4 if name == "wgangp" else 0)


@pytest.mark.parametrize("name", ["mlpvae", "vae64"])
def test_a_loss_of_logits_is_that_of_pixels(name, torch_workloads):
    import torch

    model = torch_workloads.WORKLOADS[name](thin=8)
    x, z = torch.rand(BATCH, *torch_workloads.SHAPES[name]), torch.randn(BATCH, torch_workloads.NOISE[name])
    of_pixels = model(x, z).item()
    model.logits = True
    assert model(x, z).item() == pytest.approx(of_pixels, rel=1e-5)

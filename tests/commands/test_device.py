"""Which device the commands use: the faster one by trial, the one asked for, or that of the run they go on with."""

import json
import sys

import pytest
from backend.fake_cupy import installed
from command_cases import arguments, complaint

from minigen import backend, choose, sample, train
from minigen.models import VAE

LOSS = VAE.loss

FASTER = {"cupy": 0.001, "numpy": 0.004}  # seconds a step


@pytest.fixture
def on_gpu(fake_cupy, tmp_path, monkeypatch):
    """A run whose trial found the GPU (the stand-in) faster."""
    monkeypatch.setattr(choose, "seconds_a_step", lambda training, enough=1: FASTER[backend.default().__name__])
    train.main(arguments("vae", tmp_path / "run", "--steps", "3"))
    return tmp_path / "run"


def trained_on(folder):
    return json.loads((folder / "config.json").read_text())["backend"]


def test_auto_trains_where_a_trial_was_faster_and_says_so(fake_cupy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(choose, "seconds_a_step", lambda training, enough=1: FASTER[backend.default().__name__])
    train.main(arguments("vae", tmp_path / "run", "--steps", "3"))
    said = capsys.readouterr().out
    assert "--backend auto: a step takes 1 ms on the GPU, 4 ms on the CPU; so it is CuPy." in said
    assert "GPU (CuPy)" in said
    assert trained_on(tmp_path / "run") == "cupy"


def test_a_run_goes_on_where_it_was_trained(on_gpu, capsys):
    backend.use("numpy")
    capsys.readouterr()
    train.main(["--resume", str(on_gpu), "--steps", "5", "--quiet"])
    assert "GPU (CuPy)" in capsys.readouterr().out
    assert trained_on(on_gpu) == "cupy"


def test_a_run_of_the_gpu_can_be_moved_to_the_cpu_and_stays_there(on_gpu, capsys):
    train.main(["--resume", str(on_gpu), "--steps", "5", "--quiet", "--backend", "numpy"])
    assert "CPU (NumPy)" in capsys.readouterr().out
    assert trained_on(on_gpu) == "numpy"


def test_without_its_gpu_a_run_does_not_go_on_silently_elsewhere_but_draws(tmp_path, monkeypatch, capsys):
    with installed(), monkeypatch.context() as patch:
        patch.setattr(choose, "seconds_a_step", lambda training, enough=1: FASTER[backend.default().__name__])
        train.main(arguments("vae", tmp_path / "run", "--steps", "3"))
    backend.use("numpy")
    monkeypatch.setitem(sys.modules, "cupy", None)
    code, said = complaint(train, ["--resume", tmp_path / "run", "--steps", "5", "--quiet"], capsys)
    assert code == 1 and "python -m minigen.doctor" in said and "--backend numpy" in said
    sample.main([str(tmp_path / "run"), "-n", "4"])
    assert (tmp_path / "run" / "sample.png").exists()


def test_a_precision_is_kept_with_the_run(tmp_path, capsys):
    try:
        train.main(arguments("vae", tmp_path / "run", "--steps", "3", "--backend", "numpy", "--precision", "float16"))
        rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
        assert "loss/loss scale" in rows[0]
        backend.set_precision("float32")
        train.main(["--resume", str(tmp_path / "run"), "--steps", "5", "--quiet"])
        assert backend.set_precision("float32") == "float16"
    finally:
        backend.set_precision("float32")


@pytest.mark.parametrize("choice", ["cupy", "auto"])
def test_a_precision_that_the_gpu_has_not_is_one_sentence_and_leaves_no_folder(choice, tmp_path, capsys):
    argv = arguments("vae", tmp_path / "run", "--steps", "3", "--backend", choice, "--precision", "tf32")
    with installed(capability="75"):
        code, said = complaint(train, argv, capsys)
    assert code == 1
    assert "python -m minigen.train: tf32 needs compute capability 8.0 or newer; this GPU has 7.5, and with it" in said
    assert "--backend numpy" in said
    assert not (tmp_path / "run").exists()


def test_a_step_that_the_memory_does_not_hold_is_one_sentence(fake_cupy, tmp_path, monkeypatch, capsys):
    def full(x):
        raise fake_cupy.cuda.memory.OutOfMemoryError("Out of memory allocating 1,024 bytes")

    monkeypatch.setattr(VAE, "loss", lambda self, x: full(x) if len(x) > 6 else LOSS(self, x))
    argv = arguments("vae", tmp_path / "run", "--steps", "3", "--backend", "cupy", "--no-graph")
    code, said = complaint(train, argv, capsys)
    assert code == 1
    assert "step 1: the GPU's memory does not hold" in said


def test_that_the_first_step_on_a_gpu_takes_its_time_is_told(fake_cupy, tmp_path, capsys):
    for name in ("numpy", "cupy"):
        train.main(arguments("vae", tmp_path / name, "--steps", "1", "--backend", name))
        assert ("kernels are compiled" in capsys.readouterr().out) == (name == "cupy")
        train.main(["--resume", str(tmp_path / name), "--steps", "2", "--quiet"])
        assert ("kernels are compiled" in capsys.readouterr().out) == (name == "cupy")

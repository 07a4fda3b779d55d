"""`python -m minigen.train`, as typed: what a run leaves behind, and that a seed repeats it."""

import json

import numpy as np
import pytest
from command_cases import TINY, arguments, files_in

from minigen import train
from minigen.models import MODELS
from minigen.run import load_checkpoint


def test_every_model_has_a_small_case_here():
    assert TINY.keys() == MODELS.keys()


@pytest.mark.parametrize("model", TINY)
def test_a_run_leaves_its_files_and_no_others(runs, model):
    samples = [name for name in files_in(runs[model]) if name.startswith("samples/")]
    others = ["checkpoint.npz", "config.json", "losses.png", "metrics.csv", "result.json"]
    if model in ("vae", "ae"):
        others.insert(4, "reconstructions.png")
    assert files_in(runs[model]) == [*others, *samples]
    assert bool(samples) == (model != "classifier")


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("vae", ["ELBO", "reconstruction", "KL"]),
        ("ae", ["squared error"]),
        ("classifier", ["accuracy", "cross entropy"]),
    ],
)
def test_the_result_on_test_data_is_kept_with_its_unit(runs, model, names):
    result = json.loads((runs[model] / "result.json").read_text())
    assert list(result) == names
    assert all(np.isfinite(r["value"]) and r["unit"] for r in result.values())


def test_the_configuration_holds_what_was_asked_for(runs):
    config = json.loads((runs["gan"] / "config.json").read_text())
    assert (config["model"], config["data"], config["steps"], config["seed"]) == ("gan", "pics", 6, 0)
    assert (config["options"]["width"], config["options"]["latent"]) == (4, 6)


def test_a_classifier_takes_its_classes_from_the_data(runs):
    arrays, _ = load_checkpoint(runs["classifier"] / "checkpoint.npz")
    biases = [v for name, v in arrays.items() if name.startswith("model/") and name.endswith(".bias")]
    assert biases[-1].shape == (3,)


def test_without_out_runs_are_numbered(tmp_path, workplace, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        train.main(["ae", "--data", str(workplace / "pics"), "--steps", "1", "--quiet", *TINY["ae"]])
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["ae-pics", "ae-pics-2"]


@pytest.mark.parametrize("model", TINY)
def test_a_resumed_command_ends_where_the_uninterrupted_one_does(runs, model, tmp_path):
    train.main(
        arguments(model, tmp_path / "half", "--steps", "4")
    )  # of 3 batches an epoch: in the middle of the second
    train.main(["--resume", str(tmp_path / "half"), "--steps", "6", "--quiet"])
    arrays, numbers = load_checkpoint(tmp_path / "half" / "checkpoint.npz")
    expected, expected_numbers = load_checkpoint(runs[model] / "checkpoint.npz")
    assert numbers == expected_numbers
    for name, value in expected.items():
        assert arrays[name].tobytes() == value.tobytes(), name


def test_a_run_without_the_progress_bar_prints_none_and_with_it_names_the_losses(tmp_path, capsys):
    train.main(arguments("ae", tmp_path / "quiet", "--steps", "2"))
    assert "img" not in capsys.readouterr().err
    train.main([a for a in arguments("ae", tmp_path / "loud", "--steps", "2") if a != "--quiet"])
    said = capsys.readouterr().err
    assert "img/s" in said
    assert "loss/error=" in said


def test_the_same_seed_repeats_and_another_does_not(runs, tmp_path):
    train.main(arguments("gan", tmp_path / "again", "--steps", "6"))
    train.main(arguments("gan", tmp_path / "other", "--steps", "6", "--seed", "1"))
    first, again, other = (
        load_checkpoint(folder / "checkpoint.npz")[0]
        for folder in (runs["gan"], tmp_path / "again", tmp_path / "other")
    )
    assert all(again[k].tobytes() == v.tobytes() for k, v in first.items())
    assert not np.array_equal(other["model/G.0.weight"], first["model/G.0.weight"])
    assert (runs["gan"] / "samples/0000006.png").read_bytes() == (tmp_path / "again/samples/0000006.png").read_bytes()


def test_mirroring_and_clipping_are_taken_up(tmp_path):
    train.main(arguments("ae", tmp_path / "run", "--steps", "2", "--flip", "--clip", "0.5", "--average", "0.9"))
    arrays, _ = load_checkpoint(tmp_path / "run" / "checkpoint.npz")
    assert "average/0" in arrays
    with open(tmp_path / "run" / "metrics.csv") as file:
        assert "loss/gradient norm" in file.readline()

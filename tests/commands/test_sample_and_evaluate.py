"""`python -m minigen.sample` and `python -m minigen.evaluate`, as typed."""

import json

import numpy as np
import pytest
from command_cases import arguments, complaint, files_in
from PIL import Image

from minigen import evaluate, sample, train

# ------------------------------------------------------------------------------------------------ sample


def test_sample_draws_as_many_as_asked_for_into_a_grid(runs, tmp_path, capsys):
    sample.main([str(runs["gan"]), "-n", "300", "--columns", "20", "--out", str(tmp_path / "grid.png")])
    assert capsys.readouterr().out == f"wrote {tmp_path / 'grid.png'}\n"
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (2 * (20 * 14 + 2), 2 * (15 * 14 + 2))


def test_sample_writes_bytes_for_npy_the_same_for_the_same_seed(runs, tmp_path):
    for name, argv in (("a", []), ("b", []), ("c", ["--seed", "1"]), ("d", ["-n", "40"])):
        sample.main([str(runs["vae"]), "-n", "300", "--out", str(tmp_path / f"{name}.npy"), *argv])
    a, b, c, d = (np.load(tmp_path / f"{name}.npy") for name in "abcd")
    assert a.shape == (300, 12, 12, 1)
    assert a.dtype == np.uint8
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert np.array_equal(a[:40], d)
    assert len(np.unique(a, axis=0)) == 300


def test_seeds_next_to_each_other_share_no_images(runs, tmp_path):
    for seed in "01":
        sample.main([str(runs["gan"]), "-n", "300", "--seed", seed, "--out", str(tmp_path / f"{seed}.npy")])
    a, b = (np.load(tmp_path / f"{seed}.npy").reshape(300, -1) for seed in "01")
    assert not {row.tobytes() for row in a} & {row.tobytes() for row in b}


def test_sample_writes_into_the_run_by_default_and_changes_nothing_else(copy_of):
    folder = copy_of("gan")
    before = {name: (folder / name).read_bytes() for name in files_in(folder)}
    sample.main([str(folder), "-n", "4"])
    assert files_in(folder) == sorted([*before, "sample.png"])
    assert all((folder / name).read_bytes() == content for name, content in before.items())


@pytest.mark.parametrize("n", [1, 10, 16])
def test_sample_shows_reconstructions_of_an_autoencoder(runs, tmp_path, n):
    sample.main([str(runs["ae"]), "-n", str(n), "--out", str(tmp_path / "grid.png")])
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size[0] > 100


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["-n", "0"], 2, "-n: expected a whole number of at least 1; got '0'."),
        (["--columns", "0"], 2, "--columns: expected a whole number of at least 1; got '0'."),
        (["--out", "file/grid.png"], 1, "file/grid.png: cannot be written"),
        (["--out", "grid.xyz"], 1, "unknown file extension: .xyz"),
    ],
)
def test_sample_refuses_what_it_cannot_do(runs, argv, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pics").symlink_to(runs["gan"].parents[1] / "pics")
    (tmp_path / "file").write_text("")
    got, said = complaint(sample, [runs["gan"], *argv], capsys)
    assert (got, message in said) == (code, True), said
    assert files_in(tmp_path) == ["file"]


def test_a_classifier_draws_nothing(runs, capsys):
    code, said = complaint(sample, [runs["classifier"]], capsys)
    assert code == 1
    assert "the model 'classifier' draws no images" in said


# ------------------------------------------------------------------------------------------------ evaluate


def test_evaluate_repeats_what_was_measured_after_training(runs, capsys):
    evaluate.main([str(runs["ae"])])
    said = capsys.readouterr().out
    value = json.loads((runs["ae"] / "result.json").read_text())["squared error"]["value"]
    assert said == f"test squared error: {value:.5g} per image\n"


def test_a_classifier_judges_the_images_of_a_gan(runs, capsys):
    evaluate.main([str(runs["gan"]), "--judge", str(runs["classifier"]), "-n", "300", "--threshold", "0"])
    said = capsys.readouterr().out
    assert "judge: 100.0% of 300 images have a class probability of at least 0.0" in said
    assert all(f"class {k}" in said for k in range(3))
    assert "of 1.099 nats" in said  # ln 3


@pytest.mark.parametrize(
    ("run", "argv", "code", "message"),
    [
        ("gan", ["--judge", "vae"], 1, "expected the run of a classifier; got 'vae'."),
        ("gan", ["--judge", "nothing"], 1, "nothing: not the folder of a run"),
        ("ae", ["--judge", "classifier"], 1, "the model 'ae' draws no images to judge."),
        ("gan", ["--judge", "classifier", "-n", "0"], 2, "-n: expected a whole number of at least 1; got '0'."),
        ("gan", ["--threshold", "2"], 2, "--threshold: expected a number in [0, 1]; got '2'."),
    ],
)
def test_evaluate_refuses_what_it_cannot_do(runs, run, argv, code, message, capsys):
    argv = [runs.get(a, a) for a in argv]
    got, said = complaint(evaluate, [runs[run], *argv], capsys)
    assert (got, message in said) == (code, True), said


def test_a_judge_of_other_images_is_refused(runs, capsys, tmp_path):
    train.main(arguments("classifier", tmp_path / "large", "--steps", "1", "--size", "16"))
    code, said = complaint(evaluate, [runs["gan"], "--judge", tmp_path / "large"], capsys)
    assert code == 1
    assert "judges images of shape (1, 16, 16), not (1, 12, 12)." in said

"""The commands train, sample and evaluate, as typed: what they leave behind, and what they say when it is wrong."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_cases import images

from minigen import evaluate, sample, train
from minigen.models import MODELS
from minigen.options import model_options
from minigen.run import load_checkpoint

ROOT = Path(train.__file__).parents[1]
TINY = {
    "gan": ["--width", "4", "--latent", "6"],
    "wgan_gp": ["--net", "dense", "--hidden", "16", "--critic-steps", "2"],
    "vae": ["--hidden", "16", "--latent", "4"],
    "ae": ["--hidden", "16", "--code", "4"],
    "classifier": ["--width", "4", "--hidden", "8"],
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with images of three classes in pics/train and pics/test."""
    folder = tmp_path_factory.mktemp("work")
    for split, n in (("train", 30), ("test", 9)):
        data = images(n, seed=n)
        for i, (pixels, label) in enumerate(zip(data.pixels, data.labels)):
            path = folder / "pics" / split / data.classes[label] / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[..., 0]).save(path)
    return folder


@pytest.fixture(autouse=True)
def in_workplace(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("MINIGEN_CACHE", str(workplace / "cache"))
    monkeypatch.delenv("MINIGEN_DATA", raising=False)


def arguments(model, out, *more):
    return [model, "--data", "pics", "--batch-size", "8", "--quiet", "--out", str(out), *TINY[model], *more]


def complaint(command, argv, capsys):
    """(exit status, what is said on standard error) of a command that must fail, without a traceback."""
    with pytest.raises(SystemExit) as caught:
        command.main([str(a) for a in argv])
    code = caught.value.code
    said = capsys.readouterr().err + (
        f"{code}\n" if isinstance(code, str) else ""
    )  # Python prints it, and exits with 1
    assert "Traceback" not in said
    return (1 if isinstance(code, str) else code), said


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def runs(workplace):
    """{model: its finished run of 6 steps}."""
    before, cache = os.getcwd(), os.environ.get("MINIGEN_CACHE")
    os.chdir(workplace)
    os.environ["MINIGEN_CACHE"] = str(workplace / "cache")
    try:
        for model in TINY:
            train.main(arguments(model, f"done/{model}", "--steps", "6"))
    finally:
        os.chdir(before)
        os.environ.pop("MINIGEN_CACHE")
        if cache is not None:
            os.environ["MINIGEN_CACHE"] = cache
    return {model: workplace / "done" / model for model in TINY}


# ------------------------------------------------------------------------------------------------ train


def test_every_model_has_a_small_case_here():
    assert TINY.keys() == MODELS.keys()


@pytest.mark.parametrize("model", TINY)
def test_a_run_leaves_its_files_and_no_others(runs, model):
    samples = [name for name in files_in(runs[model]) if name.startswith("samples/")]
    others = ["checkpoint.npz", "config.json", "losses.png", "metrics.csv", "result.json"]
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


# ------------------------------------------------------------------------------------------------ help


def test_help_without_a_model_names_all_models(capsys):
    with pytest.raises(SystemExit) as caught:
        train.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(model in text for model in MODELS)
    assert "python -m minigen.train gan --data mnist" in text


def test_no_arguments_at_all_show_the_help_and_fail(capsys):
    with pytest.raises(SystemExit) as caught:
        train.main([])
    assert caught.value.code == 2
    assert "--batch-size" in capsys.readouterr().out


@pytest.mark.parametrize("model", MODELS)
def test_the_help_of_a_model_explains_each_option_of_its_own_with_its_default(model, capsys):
    with pytest.raises(SystemExit) as caught:
        train.main([model, "--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert model_options(MODELS[model])
    for name, default, words in model_options(MODELS[model]):
        assert words, f"the docstring of {model} says nothing of {name}"
        assert f"--{name.replace('_', '-')} {name.upper()} {' '.join(words.split())} (default: {default})" in text
    assert f"--batch-size BATCH_SIZE images a step (default: {MODELS[model].batch_size})" in text


def test_help_goes_on_where_the_docstring_continues_its_line(capsys):
    with pytest.raises(SystemExit):
        train.main(["ae", "--help"])
    assert "these places pass beside the code) (default: transpose)" in " ".join(capsys.readouterr().out.split())


# ------------------------------------------------------------------------------------------------ bad input of train


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["gna"], 1, "train gna: no model 'gna'. Did you mean 'gan'? Known: "),
        (["gan", "--batch-size", "0"], 2, "--batch-size: expected a whole number of at least 1; got '0'."),
        (["gan", "--batch-size", "2.5"], 2, "--batch-size: expected a whole number of at least 1; got '2.5'."),
        (["gan", "--lr", "-1"], 2, "--lr: expected a number above 0; got '-1'."),
        (["gan", "--lr", "nan"], 2, "--lr: expected a number above 0; got 'nan'."),
        (["gan", "--lr", "fast"], 2, "--lr: expected a number above 0; got 'fast'."),
        (["gan", "--steps", "0"], 2, "--steps: expected a whole number of at least 1; got '0'."),
        (["gan", "--epochs", "0"], 2, "--epochs: expected a number above 0; got '0'."),
        (["gan", "--steps", "1", "--epochs", "1"], 2, "--epochs: not allowed with argument --steps"),
        (["gan", "--size", "0"], 2, "--size: expected a whole number of at least 4; got '0'."),
        (["gan", "--size", "5000"], 1, "expected size, in pixels, between 4 and 4096; got 5000."),
        (["gan", "--size", "6"], 1, "expected images of at least 8 x 8 pixels; got shape (1, 6, 6). Use --net dense."),
        (["gan", "--channels", "2"], 2, "--channels: invalid choice: "),
        (["gan", "--seed", "-1"], 2, "--seed: expected a whole number of at least 0; got '-1'."),
        (["gan", "--clip", "0"], 2, "--clip: expected a number above 0; got '0'."),
        (["gan", "--average", "1"], 2, "--average: expected a number in [0, 1); got '1'."),
        (["gan", "--latent", "0"], 2, "--latent: expected a whole number of at least 1; got '0'."),
        (["gan", "--dropout", "2"], 1, "Dropout: expected a probability p in [0, 1]; got 2.0."),
        (["gan", "--code", "3"], 2, "unrecognized arguments: --code 3"),
        (["gan", "--net", "deep"], 1, 'net: expected "dense" or "conv"; got \'deep\'.'),
        (["wgan_gp", "--critic-steps", "0"], 2, "--critic-steps: expected a whole number of at least 1; got '0'."),
        (["vae", "--likelihood", "poisson"], 1, 'expected likelihood "bernoulli" or "gaussian"; got \'poisson\'.'),
        (["ae", "--upsample", "unpool"], 1, 'expected upsample "transpose", or "unpool" with --net conv'),
        (["gan", "--data", "mnits"], 1, "load('mnits'): no data set of that name, and no such file or folder. Did you mean"),
    ],
)  # fmt: skip
def test_a_bad_value_gives_one_sentence_and_leaves_no_folder(argv, code, message, capsys, tmp_path):
    data = [] if "--data" in argv else ["--data", "pics"]
    got, said = complaint(train, [*argv, *data, "--out", tmp_path / "new"], capsys)
    assert (got, message in said) == (code, True), said
    assert not (tmp_path / "new").exists()


def test_a_folder_in_use_is_refused_and_left_alone(runs, capsys):
    before = (runs["ae"] / "checkpoint.npz").read_bytes()
    code, said = complaint(train, arguments("ae", runs["ae"]), capsys)
    assert code == 1
    assert "exists and is not empty. Choose another, or go on with --resume" in said
    assert (runs["ae"] / "checkpoint.npz").read_bytes() == before


def test_asking_for_cupy_without_it_says_what_to_install(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # importing it fails, as where it is not installed
    code, said = complaint(train, [*arguments("ae", tmp_path / "new"), "--backend", "cupy"], capsys)
    assert code == 1
    assert 'CUDA 12.x: pip install "minigen[cuda12]"' in said
    assert "--backend numpy" in said
    assert not (tmp_path / "new").exists()


def test_a_loss_that_explodes_gives_advice(capsys, tmp_path):
    with np.errstate(all="ignore"):
        code, said = complaint(train, arguments("ae", tmp_path / "new", "--lr", "1e38", "--steps", "5"), capsys)
    assert code == 1
    assert "Try a smaller learning rate" in said


def test_a_full_disk_while_training_gives_one_sentence(capsys, tmp_path, monkeypatch):
    def no_space(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", no_space)
    code, said = complaint(train, arguments("ae", tmp_path / "new", "--steps", "2"), capsys)
    assert code == 1
    assert "checkpoint.npz: could not be written (No space left on device)." in said
    assert "checkpoint.npz" not in files_in(tmp_path / "new")
    assert not [name for name in files_in(tmp_path / "new") if Path(name).name.startswith(".")]


# ------------------------------------------------------------------------------------------------ bad input of --resume


@pytest.fixture
def copy_of(runs, tmp_path):
    """copy_of(model): a run that a test may damage."""

    def copy(model):
        folder = tmp_path / "copy"
        folder.mkdir()
        for name in ("checkpoint.npz", "config.json", "metrics.csv"):
            (folder / name).write_bytes((runs[model] / name).read_bytes())
        return folder

    return copy


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    config |= changes
    (folder / "config.json").write_text(json.dumps(config))


def test_resuming_nothing_is_refused(capsys, tmp_path):
    code, said = complaint(train, ["--resume", tmp_path / "nothing"], capsys)
    assert code == 1
    assert "nothing: not the folder of a run (config.json cannot be read: No such file or directory)." in said
    assert not (tmp_path / "nothing").exists()


def test_resuming_a_finished_run_asks_for_more_steps(runs, capsys):
    code, said = complaint(train, ["--resume", runs["ae"]], capsys)
    assert code == 1
    assert "already trained for 6 steps. Pass more --steps or --epochs to go on." in said


def test_resuming_with_what_cannot_be_changed_is_refused(runs, capsys):
    code, said = complaint(train, ["ae", "--resume", runs["ae"], "--lr", "1", "--steps", "9"], capsys)
    assert code == 2
    assert "takes only --epochs, --steps, --backend, --debug and --quiet; got MODEL, --lr." in said


@pytest.mark.parametrize("command", [train, sample, evaluate])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "checkpoint.npz").unlink(), "there is no checkpoint"),
        (lambda f: os.truncate(f / "checkpoint.npz", 5000), "not a checkpoint of minigen, or damaged"),
        (lambda f: (f / "config.json").write_text("{"), "not readable as JSON"),
        (
            lambda f: (f / "config.json").write_text('{"model": "ae"}'),
            "not the configuration of a run; it lacks options",
        ),
        (lambda f: change_config(f, model="gna"), "no model 'gna'. Did you mean 'gan'?"),
        (
            lambda f: change_config(f, model="vae", options={}),
            "do not fit together (VAE.load_state_dict: encoder.1.weight",
        ),
        (
            lambda f: change_config(f, options={"depth": 3}),
            "do not fit together (AE.__init__() got an unexpected keyword",
        ),
        (lambda f: change_config(f, data="gone"), "load('gone'): no data set of that name"),
    ],
)
def test_a_damaged_run_gives_one_sentence(command, damage, message, copy_of, capsys):
    folder = copy_of("ae")
    damage(folder)
    argv = ["--resume", folder, "--steps", "9", "--quiet"] if command is train else [folder]
    code, said = complaint(command, argv, capsys)
    assert (code, message in said) == (1, True), said


# ------------------------------------------------------------------------------------------------ signals


def start(*argv):
    """The command as a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "minigen.train", *argv],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def steps_in(folder):
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def test_ctrl_c_saves_everything_and_resume_goes_on(tmp_path):
    folder = tmp_path / "run"
    process = start(*arguments("ae", folder, "--steps", "1000000"))
    wait_for(lambda: len(steps_in(folder)) >= 2, process)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert process.returncode == 0
    assert error == ""
    _, numbers = load_checkpoint(folder / "checkpoint.npz")
    steps = numbers["steps"]
    assert f"Stopped at step {steps} of 1000000. Go on: python -m minigen.train --resume {folder}" in out
    assert steps_in(folder)[-1] == steps
    assert {"losses.png", f"samples/{steps:07d}.png"} <= set(files_in(folder))
    assert not [name for name in files_in(folder) if Path(name).name.startswith(".")]
    train.main(["--resume", str(folder), "--steps", str(steps + 3), "--quiet"])
    assert load_checkpoint(folder / "checkpoint.npz")[1]["steps"] == steps + 3
    assert steps_in(folder)[-2:] == [steps, steps + 3]


def test_kill_leaves_the_previous_checkpoint_and_resume_forgets_later_metrics(tmp_path):
    folder = tmp_path / "run"
    train.main(arguments("ae", folder, "--steps", "4"))
    process = start("--resume", str(folder), "--steps", "1000000", "--quiet")
    wait_for(lambda: len(steps_in(folder)) >= 4, process)
    process.kill()
    process.communicate(timeout=30)
    assert load_checkpoint(folder / "checkpoint.npz")[1]["steps"] == 4
    assert steps_in(folder)[-1] > 50
    train.main(["--resume", str(folder), "--steps", "7", "--quiet"])
    assert steps_in(folder) == [4, 7]


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

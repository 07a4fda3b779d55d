"""The options of `python -m minigen.train`: help that explains each, and one sentence for each value that is wrong."""

import sys
from pathlib import Path

import numpy as np
import pytest
from command_cases import arguments, complaint, files_in

from minigen import train
from minigen.models import MODELS
from minigen.options import model_options

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
        shown = "" if default is None else f" (default: {default})"
        assert f"--{name.replace('_', '-')} {name.upper()} {' '.join(words.split())}{shown}" in text
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
        (["gan", "--data", "mnits"], 1, "load('mnits'): no data set of that name, and no such file or folder."),
    ],
)
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
    assert "python -m minigen.doctor" in said
    assert "--backend numpy" in said
    assert not (tmp_path / "new").exists()


def test_a_loss_that_explodes_gives_advice(capsys, tmp_path):
    with np.errstate(all="ignore"):
        code, said = complaint(train, arguments("ae", tmp_path / "new", "--lr", "1e38", "--steps", "5"), capsys)
    assert code == 1
    assert "Try a smaller learning rate" in said


def test_debug_names_the_op_and_the_layer_of_the_first_number_that_is_not_finite(capsys, tmp_path):
    argv = [*arguments("ae", tmp_path / "new", "--lr", "1e38", "--steps", "5"), "--debug"]
    with np.errstate(all="ignore"):
        code, said = complaint(train, argv, capsys)
    assert code == 1
    assert "Dense" in said
    assert "linear" in said


def test_a_full_disk_while_training_gives_one_sentence(capsys, tmp_path, monkeypatch):
    def no_space(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", no_space)
    code, said = complaint(train, arguments("ae", tmp_path / "new", "--steps", "2"), capsys)
    assert code == 1
    assert "checkpoint.npz: could not be written (No space left on device)." in said
    assert "checkpoint.npz" not in files_in(tmp_path / "new")
    assert not [name for name in files_in(tmp_path / "new") if Path(name).name.startswith(".")]


@pytest.mark.parametrize(("option", "expected"), [([], None), (["--graph"], True), (["--no-graph"], False)], ids=str)
def test_graphs_can_be_switched_off_or_insisted_on_in_a_new_run_and_a_resumed_one(
    option, expected, tmp_path, monkeypatch
):
    chosen = []
    monkeypatch.setattr(
        train.Training, "use_graph", lambda self, graph: setattr(self, "captured", chosen.append(graph))
    )
    train.main([*arguments("ae", tmp_path / "new", "--steps", "1"), *option])
    assert chosen[-1] is expected
    train.main(["--resume", str(tmp_path / "new"), "--steps", "2", *option])
    assert chosen[-1] is expected

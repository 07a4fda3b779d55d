"""`--resume`: what it refuses, and that it goes on after Ctrl-C and after a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_cases import arguments, complaint, files_in

from minigen import evaluate, sample, train
from minigen.run import load_checkpoint

ROOT = Path(train.__file__).parents[1]

# ------------------------------------------------------------------------------------------------ bad input of --resume


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
    assert "takes only --epochs, --steps, --backend, --graph, --debug and --quiet; got MODEL, --lr." in said


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

"""Run folders: every file is whole or absent, readable again, and what is wrong with a damaged one is said."""

import errno
import json
import os
import pickle
import stat

import numpy as np
import pytest
from PIL import Image
from training_cases import images, make

from minigen import Training, fit
from minigen.backend import use
from minigen.run import (
    RunError,
    RunFolder,
    draw,
    load_checkpoint,
    load_config,
    save_checkpoint,
    save_json,
    written_whole,
)

DATA = images()
CONFIG = {"model": "gan", "data": "bars", "seed": 0, "lr": 2e-4, "size": None, "options": {"width": 6}}


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def run(folder, steps=4, case="gan conv", training=None, log_every=2, **options):
    observer = RunFolder(folder, CONFIG, images(12, seed=1), samples=2, **options)
    training = training or Training(make(case), DATA, batch_size=10)
    return fit(training.model, None, steps=steps, training=training, log_every=log_every, observers=[observer])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(folder, training) of a run of four steps."""
    folder = tmp_path_factory.mktemp("runs") / "gan"
    return folder, run(folder)


# ------------------------------------------------------------------------------------------------ what is there


def test_a_run_leaves_exactly_its_files(finished):
    folder, _ = finished
    assert files_in(folder) == [
        *("checkpoint.npz", "config.json", "losses.png", "metrics.csv"),
        *("samples/0000000.png", "samples/0000002.png", "samples/0000004.png"),
    ]


def test_files_have_the_permissions_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        run(tmp_path / "run", steps=1)
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    for path in (tmp_path / "run").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o750 if path.is_dir() else 0o640), path


def test_metrics_have_a_row_each_log_and_a_column_each_loss(finished):
    lines = (finished[0] / "metrics.csv").read_text().splitlines()
    assert lines[0] == "step,epoch,seconds,images/s,D/real,D/fake,G/score"
    assert [line.split(",")[0] for line in lines[1:]] == ["2", "4"]
    row = dict(zip(lines[0].split(","), lines[2].split(",")))
    for name, value in finished[1].history[-1].items():
        assert float(row[name]) == pytest.approx(value, rel=1e-5), name


def test_a_loss_that_is_not_in_every_row_leaves_a_gap(tmp_path):
    run(tmp_path / "run", steps=3, case="wgan_gp dense", log_every=1)  # G is updated on each second step
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert lines[0].split(",")[4:] == ["D/wasserstein", "D/penalty", "G/score"]
    assert [bool(line.split(",")[6]) for line in lines[1:]] == [False, True, False]


def test_the_sample_grid_opens_and_has_the_size_of_64_images(finished):
    with Image.open(finished[0] / "samples" / "0000004.png") as picture:
        side = 8 * (12 + 2) + 2
        assert picture.size == (5 * side, 5 * side)  # 114 pixels five times are nearest to 600
        assert picture.mode == "L"


def test_the_loss_plot_opens(finished):
    with Image.open(finished[0] / "losses.png") as picture:
        assert picture.size == (960, 540)


def test_the_configuration_is_read_as_it_was_written(finished):
    assert load_config(finished[0]) == CONFIG


def test_the_checkpoint_holds_the_state_to_the_bit(finished):
    folder, training = finished
    arrays, numbers = load_checkpoint(folder / "checkpoint.npz")
    expected, expected_numbers = training.state()
    assert numbers == expected_numbers
    assert arrays.keys() == expected.keys()
    for name, value in expected.items():
        assert (arrays[name].dtype, arrays[name].tobytes()) == (value.dtype, value.tobytes()), name


def test_drawing_samples_uses_up_nothing_of_the_runs_randomness(tmp_path):
    watched = run(tmp_path / "run", steps=4)
    alone = fit(make("gan conv"), DATA, batch_size=10, steps=4)
    (a, m), (b, n) = watched.state(), alone.state()
    assert m == n
    assert all(np.array_equal(v, b[k]) for k, v in a.items())


def test_checkpoints_are_written_between_as_often_as_asked(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(RunFolder, "save", lambda self, training: saved.append(training.steps))
    run(tmp_path / "run", steps=6, save_every=0.0)
    assert saved == [2, 4, 6, 6]


def test_why_no_graph_is_used_is_kept_with_the_run_once_and_again_when_it_goes_on(tmp_path, fake_cupy):
    use("cupy")  # products are cuBLAS's here, which no graph holds
    folder = tmp_path / "run"
    training = run(folder, steps=6)
    run(folder, steps=8, training=training)
    first, second = (folder / "notes.txt").read_text().splitlines()
    reason = "No CUDA graph is used, and each step starts its kernels one by one: a matrix product is left to cuBLAS"
    assert first.startswith(f"step 2: {reason}")
    assert second.startswith(f"step 8: {reason}")


def test_going_on_drops_the_rows_after_the_checkpoint_and_counts_the_seconds_on(tmp_path):
    """A killed run has metrics that are younger than its checkpoint."""
    folder = tmp_path / "run"
    half = run(folder, steps=4)
    arrays, numbers = load_checkpoint(folder / "checkpoint.npz")
    run(folder, steps=8, training=half)
    save_checkpoint(folder / "checkpoint.npz", arrays, numbers)
    again = Training(make("gan conv"), DATA, batch_size=10)
    again.restore(*load_checkpoint(folder / "checkpoint.npz"))
    run(folder, steps=6, training=again)
    lines = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()[1:]]
    assert [line[0] for line in lines] == ["2", "4", "6"]
    seconds = [float(line[2]) for line in lines]
    assert seconds == sorted(seconds)


# ------------------------------------------------------------------------------------------------ disks


def no_space(*args, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("broken", ["numpy.savez", "os.replace", "os.fsync"])
def test_a_full_disk_gives_one_sentence_and_keeps_the_previous_file(tmp_path, monkeypatch, broken):
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, {"a": np.arange(3)}, {"steps": 1})
    monkeypatch.setattr(broken, no_space)
    with pytest.raises(
        RunError, match=r"could not be written \(No space left on device\). The previous checkpoint.npz"
    ):
        save_checkpoint(path, {"a": np.arange(4)}, {"steps": 2})
    monkeypatch.undo()
    assert load_checkpoint(path)[1] == {"steps": 1}
    assert files_in(tmp_path) == ["checkpoint.npz"]


def test_nothing_is_left_of_a_file_that_could_not_be_finished(tmp_path):
    with pytest.raises(KeyboardInterrupt), written_whole(tmp_path / "a.txt") as name:
        with open(name, "w") as file:
            file.write("half")
        raise KeyboardInterrupt
    assert files_in(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/run/config.json: cannot be written \(Not a directory\)"):
        save_json(tmp_path / "file" / "run" / "config.json", {})


# ------------------------------------------------------------------------------------------------ damaged files


def checkpoint_bytes(tmp_path):
    save_checkpoint(tmp_path / "good.npz", {"a": np.zeros(1000)}, {"steps": 1})
    return (tmp_path / "good.npz").read_bytes()


def test_a_checkpoint_with_pickled_objects_is_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "checkpoint.npz"
    np.savez(path, a=np.array([Trap()], dtype=object), __json__=np.zeros(1, np.uint8))
    with pytest.raises(RunError, match="not a checkpoint of minigen, or damaged"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(RunError, match="not a checkpoint of minigen, or damaged"):
        load_checkpoint(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(tmp_path, share):
    whole, path = checkpoint_bytes(tmp_path), tmp_path / "checkpoint.npz"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(RunError, match=r"checkpoint.npz: not a checkpoint of minigen, or damaged"):
        load_checkpoint(path)


def test_a_flipped_bit_in_a_checkpoint_is_noticed(tmp_path):
    content, path = bytearray(checkpoint_bytes(tmp_path)), tmp_path / "checkpoint.npz"
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match="damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("save", [lambda p: np.savez(p, a=np.zeros(3)), lambda p: np.save(p.open("wb"), np.zeros(3))])
def test_another_numpy_file_is_no_checkpoint(tmp_path, save):
    save(tmp_path / "checkpoint.npz")
    with pytest.raises(RunError, match="not a checkpoint of minigen"):
        load_checkpoint(tmp_path / "checkpoint.npz")


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(RunError, match=r"there is no checkpoint. Did the run save one\?"):
        load_checkpoint(tmp_path / "checkpoint.npz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not the folder of a run"),
        ("{", "not readable as JSON"),
        ("[]", "it lacks model, data"),
        ('{"model": "gan"}', "not the configuration of a run; it lacks data"),
    ],
)
def test_a_configuration_that_is_none_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match=message):
        load_config(tmp_path, ("model", "data"))


def test_damaged_metrics_are_named(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,loss\n1,abc\n")
    with pytest.raises(RunError, match=r"metrics.csv: not readable .* Move it away"):
        RunFolder(tmp_path, CONFIG).read_metrics()


# ------------------------------------------------------------------------------------------------ drawing


def test_draw_gives_the_same_images_for_a_seed_however_many_are_asked_for():
    model = make("gan conv", categories=0)  # categories are drawn after all the normal numbers
    assert np.array_equal(draw(model, 300)[:40], draw(model, 40))
    assert not np.array_equal(draw(model, 4, seed=1), draw(model, 4))


def test_draw_shows_reconstructions_of_a_model_that_draws_nothing_new():
    test = images(12)
    pixels = draw(make("ae dense"), 16, test, columns=8)
    assert pixels.shape == (16, 12, 12, 1)
    assert np.array_equal(pixels[:8], test.pixels[:8])


def test_draw_leaves_the_mode_as_it_was():
    model = make("gan conv")
    draw(model, 2)
    assert model.training
    draw(model.eval(), 2)
    assert not model.training


def test_a_model_with_nothing_to_show_draws_none():
    assert draw(make("classifier"), 4, images(8)) is None


def test_json_is_whole_and_ends_in_a_line_break(tmp_path):
    save_json(tmp_path / "deep" / "a.json", {"x": 1.5})
    text = (tmp_path / "deep" / "a.json").read_text()
    assert json.loads(text) == {"x": 1.5}
    assert text.endswith("}\n")

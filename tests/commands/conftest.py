"""A folder with images, and a finished run of every model in it, made once for all tests of commands."""

import pytest
from command_cases import TINY, arguments
from PIL import Image
from training_cases import images

from minigen import train


@pytest.fixture(scope="session")
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


@pytest.fixture
def in_a_folder(in_workplace, tmp_path, monkeypatch):
    """In an empty folder instead."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def runs(workplace):
    """{model: its finished run of 6 steps}."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        patch.setenv("MINIGEN_CACHE", str(workplace / "cache"))
        for model in TINY:
            train.main(arguments(model, f"done/{model}", "--steps", "6"))
    return {model: workplace / "done" / model for model in TINY}


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

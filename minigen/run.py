"""The folder of a run: configuration, metrics, pictures, checkpoint. Each file is written whole or not at all.

config.json       what was asked for: model, options, data, length, seed
metrics.csv       a row every few steps: step, epoch, seconds, images/s, the mean of each loss
samples/*.png     images drawn over time, always from the same noise
losses.png        the losses over the steps
reconstructions.png   rows of test images, below each row its reconstructions, where the model makes them
checkpoint.npz    weights, optimisers, averages, random numbers, data order: everything to go on exactly
notes.txt         where there is one: what was not as it could be, each line with the step at which it was noticed
result.json       what was measured on the test data at the end
"""

import csv
import json
import os
import tempfile
import time
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .backend import Generator, asarray, to_numpy
from .loop import Observer
from .models.base import generate
from .pictures import loss_plot, pixels_of, save_grid, with_reconstructions


class RunError(RuntimeError):
    """A run folder that cannot be written or read; the message says what to do."""


@contextmanager
def written_whole(path):
    """Yields a path to write to, in the same folder; it takes the place of `path` if all goes well."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}).") from error
    try:
        yield name
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except OSError as error:
        kept = f" The previous {path.name} is intact." if path.exists() else ""
        raise RunError(f"{path}: could not be written ({error.strerror or error}).{kept}") from error
    finally:
        Path(name).unlink(missing_ok=True)


def _umask():
    """The permissions that new files lack; asking for it means setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def save_json(path, value):
    with written_whole(path) as name:
        Path(name).write_text(json.dumps(value, indent=2) + "\n")


def save_checkpoint(path, arrays, numbers):
    """Arrays by name, and `numbers` (anything JSON can hold), in one .npz file."""
    with written_whole(path) as name:
        np.savez(name, __json__=np.frombuffer(json.dumps(numbers).encode(), np.uint8), **arrays)


def load_checkpoint(path):
    """(arrays, numbers) of `save_checkpoint`. Pickled objects are refused. Raises RunError for an unreadable file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, json.loads(arrays.pop("__json__").tobytes())
    except FileNotFoundError:
        raise RunError(f"{path}: there is no checkpoint. Did the run save one? Check the folder's name.") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"{path}: not a checkpoint of minigen, or damaged ({error}).") from error


def load_config(folder, names=()):
    """The configuration of the run in `folder`. Raises RunError where there is none, or it lacks one of `names`."""
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text())
    except OSError as error:
        raise RunError(f"{folder}: not the folder of a run ({path.name} cannot be read: {error.strerror}).") from error
    except ValueError as error:
        raise RunError(f"{path}: not readable as JSON ({error}).") from error
    missing = [name for name in names if not isinstance(config, dict) or name not in config]
    if missing:
        raise RunError(f"{path}: not the configuration of a run; it lacks {', '.join(missing)}.")
    return config


class RunFolder(Observer):
    """Writes the folder while `fit` runs. samples: how many grids over the whole run; test: images to reconstruct."""

    def __init__(self, folder, config, test=None, *, samples=10, save_every=60.0):
        self.folder, self.config, self.test, self.samples = Path(folder), config, test, samples
        self.save_every, self.saved = save_every, time.perf_counter()

    def begin(self, training, total):
        save_json(self.folder / "config.json", self.config)
        self.total = total
        self.rows = [r for r in self.read_metrics() if r["step"] <= training.steps]
        self.noted = None
        self.seconds_before = self.rows[-1]["seconds"] if self.rows else 0
        self.sample_every = max(1, total // self.samples)
        self.next_sample = training.steps + self.sample_every if training.steps else 0
        if self.next_sample == 0:
            self.sample(training)

    def log(self, training, row):
        self.rows.append({**row, "seconds": row["seconds"] + self.seconds_before})
        self.write_metrics()
        self.note(training)
        if training.steps >= self.next_sample and training.steps < self.total:
            self.sample(training)
        if time.perf_counter() - self.saved > self.save_every:
            self.save(training)

    def end(self, training, interrupted):
        self.save(training)
        self.sample(training)
        with training.averaged() as model:
            pairs = None if self.test is None else reconstructions(model, self.test, 64)
        if pairs is not None:
            with written_whole(self.folder / "reconstructions.png") as name:
                save_grid(pairs, name, columns=8)
        if self.rows:
            with written_whole(self.folder / "losses.png") as name:
                loss_plot(self.rows, name, title=f"{self.config['model']} on {self.config['data']}")

    def save(self, training):
        """The checkpoint."""
        save_checkpoint(self.folder / "checkpoint.npz", *training.state())
        self.saved = time.perf_counter()

    def sample(self, training):
        """One grid, from the same noise each time; nothing of the run's own randomness is used up."""
        self.next_sample = training.steps + self.sample_every
        with training.averaged() as model:
            images = draw(model, 64, self.test)
        if images is not None:
            with written_whole(self.folder / "samples" / f"{training.steps:07d}.png") as name:
                save_grid(images, name)

    def note(self, training):
        """Why no CUDA graph is used, where it is said for the first time in this run or since it was resumed."""
        if training.graph_note not in (None, self.noted):
            self.noted, path = training.graph_note, self.folder / "notes.txt"
            earlier = path.read_text("utf-8") if path.exists() else ""
            with written_whole(path) as name:
                Path(name).write_text(f"{earlier}step {training.steps}: {self.noted}\n", "utf-8")

    def read_metrics(self):
        path = self.folder / "metrics.csv"
        if not path.exists():
            return []
        try:
            with open(path, newline="") as file:
                return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{path}: not readable ({error}). Move it away to go on without it.") from error

    def write_metrics(self):
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with written_whole(self.folder / "metrics.csv") as name, open(name, "w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            for row in self.rows:
                writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def draw(model, n, test=None, seed=0, columns=8):
    """n images of the model as bytes (n, H, W, C); None where it has none to show.

    Of a model that draws nothing new: n/2 images of `test` and their reconstructions, for a grid of `columns`: a row
    of the ones, below it a row of the others, and so on.
    """
    training = model.training
    model.eval()
    try:
        if model.sample(1, Generator(seed)) is not None:
            rng = Generator(seed)
            images = generate(lambda k: model.sample(k, rng), n)
            return pixels_of(to_numpy(images.data), model.pixel_range)
    finally:
        model.train(training)
    return None if test is None else reconstructions(model, test, n, columns)


def reconstructions(model, test, n, columns=8):
    """n/2 images of `test`, each with its reconstruction, as `draw` arranges them; None where the model makes none."""
    training = model.training
    model.eval()
    try:
        low, high = model.pixel_range
        pixels = test.pixels[: max(1, n // 2)]
        x = asarray(pixels.astype(np.float32) * ((high - low) / 255) + low).transpose(0, 3, 1, 2)
        y = model.reconstruct(x)
    finally:
        model.train(training)
    return None if y is None else with_reconstructions(pixels, pixels_of(to_numpy(y.data), (low, high)), columns)

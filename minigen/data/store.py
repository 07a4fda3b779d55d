"""Where data lie: the folders that are searched, the cache, and writes that are whole or not at all.

MINIGEN_DATA    folder with data sets of the user's own; searched first
MINIGEN_CACHE   folder for what minigen makes and downloads; else XDG_CACHE_HOME/minigen, else ~/.cache/minigen
"""

import hashlib
import os
import tempfile
import warnings
import zipfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from .dataset import Dataset


def cache_dir():
    """The folder for what can be made or downloaded again; it need not exist yet."""
    if folder := os.environ.get("MINIGEN_CACHE"):
        return Path(folder).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "minigen"


def data_dirs(root=None):
    """The folders in which data sets are looked for, in order; `root`, where given, is the only one."""
    if root is not None:
        return [Path(root).expanduser()]
    own = os.environ.get("MINIGEN_DATA")
    return [*([Path(own).expanduser()] if own else []), cache_dir()]


def find(names, root=None):
    """The first existing path among `names` (relative, in order of preference) in the data folders, or None."""
    candidates = (folder / name for folder in data_dirs(root) for name in names)
    return next((path for path in candidates if path.exists()), None)


@contextmanager
def atomic(path):
    """Write to the binary file that this yields; `path` appears when all went well, and never half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.replace(name, path)  # atomic within one file system
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def cached(kind, key, make):
    """The Dataset that `make()` returns, kept in the cache folder under `kind` and a digest of `key`.

    key: anything whose repr names all that the result depends on. A cache file that cannot be read is made
    again (zip checksums tell); a cache folder that cannot be written costs a warning, not the data.
    """
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    path = cache_dir() / kind / f"{digest}.npz"
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return Dataset.from_pixels(
                    arrays["pixels"], arrays["labels"], arrays["classes"].tolist(), str(arrays["name"])
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            pass  # damaged: written again below
    dataset = make()
    try:
        with atomic(path) as file:
            np.savez(
                file,
                pixels=dataset.pixels,
                labels=dataset.labels,
                classes=np.array(dataset.classes),
                name=np.array(dataset.name),
            )
    except OSError as error:
        warnings.warn(
            f"{dataset.name} could not be cached in {path.parent} ({error.strerror or error}), so it is made anew "
            f"each time. Set MINIGEN_CACHE to a folder that can be written.",
            stacklevel=3,
        )
    return dataset

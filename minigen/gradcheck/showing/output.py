"""The files that the command writes: each whole or not at all."""

import os
import re
import tempfile
from pathlib import Path


class UsageError(ValueError):
    """The command line asks for what cannot be done; one sentence."""


def can_be_written(option, path, folder=False):
    """Raise UsageError, before any work is done, where `path` cannot be written.

    folder: whether it is a folder to write into, which may be missing; the one in which it lies may not.
    """
    parent = path.absolute().parent
    if not parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {parent}. Make it first: mkdir -p {parent}")
    if folder and path.exists() and not path.is_dir():
        raise UsageError(f"{option} {path}: is a file. Name a folder; it is made where it is missing.")
    if not folder and path.is_dir():
        raise UsageError(f"{option} {path}: is a folder. Name a file in it: {path / 'gradcheck.html'}")
    inside = path if folder and path.exists() else parent
    try:
        tempfile.TemporaryFile(dir=inside).close()
    except OSError as error:
        raise UsageError(
            f"{option} {path}: nothing can be written into the folder {inside} ({error.strerror}). Choose another."
        ) from error


def write_pictures(folder, verdicts, pictures):
    """Write the PNG bytes of each Verdict (None: no picture), named after its target, into `folder`."""
    taken = set()
    for verdict, png in zip(verdicts, pictures):
        if png is None:
            continue
        name = plain = re.sub(r"[^\w.-]+", "-", verdict.target.name).strip("-.") or "target"
        while name in taken:  # two files may define the same
            name = f"{plain}-{len(taken)}"
        taken.add(name)
        folder.mkdir(exist_ok=True)
        write(folder / f"{name}.png", png)


def write(path, content):
    """Write bytes or text, and say so. Raises OSError that names the file; what was there before is then intact."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())
            os.chmod(name, 0o644)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    print(f"wrote {path}")

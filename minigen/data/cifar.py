"""CIFAR-10 in its authors' binary version, which needs no pickle (https://www.cs.toronto.edu/~kriz/cifar.html).

A file is a sequence of records of 3073 bytes: the label, then 32×32 red, 32×32 green, 32×32 blue, row by row.
"""

import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from .dataset import DataError, Dataset
from .folder import load_images
from .store import data_dirs, find

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD = 1 + 3 * 32 * 32
FILES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
MAX_BYTES = RECORD * 1_000_000  # of one file


def load_cifar10(split, size=None, channels=None, root=None):
    """CIFAR-10: its binary version, or folders of images as `cifar10-jpeg`, whichever is found first."""
    path = find(["cifar-10-batches-bin", "cifar-10-binary.tar.gz"], root)
    if path is not None:
        return read_cifar(path, split).resized(size, channels)
    path = find([f"cifar10-jpeg/{split}.tar.gz", f"cifar10-jpeg/{split}.tar", f"cifar10-jpeg/{split}"], root)
    if path is not None:
        return load_images(path, split, size, channels, name=f"cifar10 ({split}, JPEG)")
    folders = " or ".join(str(folder) for folder in data_dirs(root))
    raise DataError(
        f"load('cifar10'): found neither cifar-10-binary.tar.gz, cifar-10-batches-bin/ nor cifar10-jpeg/ in "
        f"{folders}. Get the binary version from https://www.cs.toronto.edu/~kriz/cifar.html and put it there, "
        f"or set MINIGEN_DATA."
    )


def read_cifar(path, split):
    """The Dataset in `path`: the folder cifar-10-batches-bin, or its .tar.gz, read without unpacking it."""
    path = Path(path)
    contents = _from_folder(path, FILES[split]) if path.is_dir() else _from_tar(path, FILES[split])
    records = np.concatenate([_records(contents[name], f"{path}: {name}") for name in FILES[split]])
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Dataset.from_pixels(pixels, records[:, 0], CLASSES, f"cifar10 ({split})")


def _from_folder(folder, names):
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder}: expected CIFAR-10's binary files; {missing[0]} is missing. Unpack it again.")
    return {name: (folder / name).read_bytes() for name in names}


def _from_tar(path, names):
    contents = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name in names and member.isfile() and member.size <= MAX_BYTES:
                    contents[name] = tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: unreadable tar file ({error}). Fetch it again.") from error
    missing = [name for name in names if name not in contents]
    if missing:
        raise DataError(f"{path}: expected CIFAR-10's binary files; {missing[0]} is missing. Is it the binary version?")
    return contents


def _records(content, name):
    """(n, 3073) uint8 from the bytes of one file."""
    if not content or len(content) % RECORD:
        raise DataError(f"{name}: expected records of {RECORD} bytes; got {len(content)} bytes. Is it truncated?")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise DataError(f"{name}: expected labels 0 .. 9; got {records[:, 0].max()}. Is it CIFAR-100?")
    return records

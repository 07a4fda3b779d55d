"""Folders and tar files of PNG and JPEG images; the class of an image is the folder it lies in.

Tar members are read in memory, one after the other; nothing is unpacked to disk.
"""

import tarfile
import warnings
import zlib
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np

from .dataset import DataError, Dataset, check_geometry, fit_image
from .store import cached

SUFFIXES = {".png", ".jpg", ".jpeg"}
SPLITS = {"train", "test", "val", "valid", "validation"}
MAX_PIXELS = 64_000_000  # of one image; more is a decompression bomb or a mistake
MAX_BYTES = 256 << 20  # of one image file


def load_images(path, split="train", size=None, channels=None, *, name=None):
    """The Dataset of all images in `path`, a folder or a tar file (.tar, .tar.gz, .tgz, ...), ordered by name.

    split:    where the images lie in folders train/ and test/, the one to take; otherwise all are "train".
    size:     images are resized and centre-cropped to size×size; None: they must all have the same size.
    channels: 1 (grey) or 3 (colour); None: colour if any image is.
    Decoded images are kept in the cache folder until a file changes (by size or time).
    """
    path = Path(path).expanduser()
    check_geometry(f"load({str(path)!r})", size, channels)
    if not path.exists():
        raise DataError(f"load({str(path)!r}): no such file or folder.")
    files = [path / name for name in _names_in(path)] if path.is_dir() else [path]
    stats = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    name = name or f"{path.name} ({split})"
    return cached("images", (1, stats, split, size, channels, name), lambda: _read(path, split, size, channels, name))


def _read(path, split, size, channels, name):
    """The Dataset, decoded."""
    with _opened(path) as (names, read):
        class_of = classify(names, split, path)
        decoded = [(file, _decode(read(file), f"{path}: {file}", size, channels)) for file in class_of]
    decoded.sort(key=lambda entry: entry[0])  # a tar's own order is arbitrary
    depth = max(image.shape[2] for _, image in decoded)  # grey and colour may be mixed when channels is None
    shape = decoded[0][1].shape[:2]
    pixels = np.empty((len(decoded), *shape, depth), np.uint8)
    for i, (file, image) in enumerate(decoded):
        if image.shape[:2] != shape:
            raise DataError(
                f"{path}: expected images of one size; got {shape} ({decoded[0][0]}) and {image.shape[:2]} ({file}). "
                f"Pass size= to resize and crop them."
            )
        pixels[i] = image
    classes = sorted(set(class_of.values()))
    labels = [classes.index(class_of[file]) for file, _ in decoded]
    return Dataset.from_pixels(pixels, labels, classes, name)


@contextmanager
def _opened(path):
    """(names of the image files in `path`, read(name) → bytes)."""
    if path.is_dir():
        yield _names_in(path), lambda name: (path / name).read_bytes()
        return
    try:
        with tarfile.open(path) as tar:
            members = {member.name: member for member in tar if member.isfile() and _is_image(member.name)}
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(512) != bytes(512):  # tarfile takes a cut or a damaged header for the end
                raise tarfile.ReadError(f"no end marker after {len(tar.getmembers())} members")
            for member in members.values():
                if member.size > MAX_BYTES:
                    raise DataError(f"{path}: {member.name}: image file of {member.size} bytes; at most {MAX_BYTES}.")
            yield list(members), lambda name: tar.extractfile(members[name]).read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path}: unreadable tar file ({error}). Fetch it again.") from error


def _names_in(folder):
    names = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return sorted(name for name in names if _is_image(name))


def _is_image(name):
    """By suffix; hidden files, such as the `._name` that macOS puts into archives, are none."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") and part != "." for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def classify(names, split, path):
    """{name: class} of the images `names` that belong to `split`.

    Folders that all images share are passed over; then may come train/, test/; then the folder of the class.
    """
    parts = {name: PurePosixPath(name).parts for name in names}
    if not parts:
        raise DataError(f"{path}: expected PNG or JPEG images; found none. Is it the right folder?")

    def folders(depth):  # the names at this depth, None for an image that lies here itself
        return {p[depth] if len(p) > depth + 1 else None for p in parts.values()}

    depth = 0
    while len(here := folders(depth)) == 1 and not here & (SPLITS | {None}):
        depth += 1
    if here <= SPLITS:
        if split not in here:
            raise DataError(f"{path}: no images for split {split!r}; found {', '.join(sorted(here))}.")
        parts = {name: p for name, p in parts.items() if p[depth] == split}
        depth += 1
        while len(here := folders(depth)) == 1 and None not in here:
            depth += 1
    elif split != "train":
        raise DataError(
            f"{path}: no images for split {split!r}: they do not lie in folders train/ and {split}/. "
            f'Load "train" and hold some out with Dataset.split.'
        )
    if here == {None}:  # one class: the folder that holds the images
        only = next(iter(parts.values()))[depth - 1] if depth else path.name.split(".")[0]
        return dict.fromkeys(parts, only)
    if None in here:
        stray = next(name for name, p in parts.items() if len(p) == depth + 1)
        raise DataError(f"{path}: expected every image in the folder of its class; {stray} lies beside them.")
    return {name: p[depth] for name, p in parts.items()}


def _decode(content, name, size, channels):
    """uint8 (H, W, C) from the bytes of a PNG or JPEG file. The header is read, and judged, before the pixels."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is the stricter one
            image = Image.open(BytesIO(content), formats=("PNG", "JPEG"))
        width, height = image.size
        if width * height <= MAX_PIXELS:
            if size is not None:
                image.draft(None, (2 * size, 2 * size))  # lets a big JPEG be decoded at a fraction of its size
            return fit_image(ImageOps.exif_transpose(image), size, channels)
    except Exception as error:  # damaged files make Pillow raise nearly anything
        raise DataError(f"{name}: unreadable image ({error}). Delete it or fetch it again.") from error
    raise DataError(f"{name}: expected at most {MAX_PIXELS} pixels; the header says {width}x{height}.")

"""IDX files (MNIST, Fashion-MNIST): big-endian header, then bytes. Format: http://yann.lecun.com/exdb/mnist.

offset  0   2 zero bytes, type (8 = unsigned byte), number of dimensions n
        4   n sizes, 4 bytes each
        4 + 4n   the data, last dimension fastest
"""

import hashlib
import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from .dataset import DataError, Dataset
from .download import download
from .store import cache_dir, data_dirs, find

MAX_BYTES = 1 << 32  # more than this is a damaged header, not a data set
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class Source:
    """A published data set in IDX files: where it is served, its class names, and how its files are recognised.

    sha256: sums of the decompressed contents, which hold for any wrapper: checked for local files too.
    md5:    sums of the published gzip files, where contents sums are not published: checked on download.
    """

    folder: str
    mirrors: tuple[str, ...]
    classes: tuple[str, ...]
    sha256: dict[str, str]
    md5: dict[str, str]


MNIST = Source(
    folder="mnist",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    ),
    classes=tuple("0123456789"),
    sha256={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    md5={},
)
FASHION_MNIST = Source(
    folder="fashion_mnist",
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    ),
    classes=("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag")
    + ("ankle boot",),
    sha256={},
    md5={  # published in the project's README
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)


def load_idx(source, split, root=None):
    """The Dataset of a published Source: from the data folders, or downloaded into the cache folder."""
    images, labels = FILES[split]
    images = parse(*_contents(source, images, root), 3)
    labels = parse(*_contents(source, labels, root), 1)
    if len(images) != len(labels):
        raise DataError(
            f"{source.folder} {split}: expected one label per image; got {len(images)} images and {len(labels)} "
            f"labels. Are the two files from the same split?"
        )
    return Dataset.from_pixels(images, labels, source.classes, f"{source.folder} ({split})")


def read_idx(path, dimensions=None):
    """The uint8 array in an IDX file, gzipped or not. Raises DataError for anything that is not exactly one."""
    with open(path, "rb") as file:
        return parse(file.read(), path, dimensions)


def parse(content, name, dimensions=None):
    """The uint8 array in the bytes of an IDX file, gzipped or not; `name` is for the error messages.

    The header is read first, and never more than it promises is decompressed.
    """
    header = _prefix(content, 4, name)
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] != 8 or not 1 <= header[3] <= 4:
        raise DataError(f"{name}: expected an IDX file of bytes, which begins 00 00 08; got {header.hex(' ')}.")
    if dimensions is not None and header[3] != dimensions:
        raise DataError(
            f"{name}: expected an IDX file of {dimensions} dimensions; got {header[3]}. "
            f"Are the image and label files exchanged?"
        )
    start = 4 + 4 * header[3]
    header = _prefix(content, start, name)
    if len(header) < start:
        raise DataError(f"{name}: expected an IDX header of {start} bytes; got {len(header)}. Is it truncated?")
    shape = struct.unpack(f">{(start - 4) // 4}I", header[4:])
    size = math.prod(shape)
    if not 0 < size <= MAX_BYTES:
        raise DataError(f"{name}: expected 1 byte to 4 GiB of data; got a header for {shape}. Is it damaged?")
    data = _prefix(content, start + size + 1, name)
    if len(data) != start + size:
        more = "more" if len(data) > start + size else f"{len(data) - start}"
        raise DataError(f"{name}: expected {size} bytes for shape {shape}; got {more}. Fetch the file again.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _prefix(content, size, name):
    """The first `size` bytes (or all there are) of `content`, decompressed if it is gzipped."""
    if content[:2] != b"\x1f\x8b":
        return content[:size]
    stream = zlib.decompressobj(wbits=31)
    try:
        data = stream.decompress(content, size)
    except zlib.error as error:
        raise DataError(f"{name}: damaged gzip file ({error}). Delete it and fetch it again.") from error
    if len(data) < size and not stream.eof:  # the checksum at the end, too, must have been there to be checked
        raise DataError(f"{name}: truncated gzip file; it ends after {len(data)} bytes of contents. Fetch it again.")
    return data


def _contents(source, stem, root):
    """The raw bytes of one file of `source`, verified; downloaded when it is nowhere."""
    names = [f"{source.folder}/{stem}.gz", f"{source.folder}/{stem}"]
    if source.sha256 or root is not None:  # every IDX set uses the same names: without sums, the folder must tell
        names += [f"{stem}.gz", stem]
    path = find(names, root)
    if path is None:
        path = cache_dir() / source.folder / f"{stem}.gz"
        by_hand = (
            f"Without a network: put {stem}.gz from any copy of {source.folder} into "
            f"{data_dirs(root)[0] / source.folder}, or set MINIGEN_DATA to the folder above the one that has it."
        )
        urls = [f"{mirror}/{stem}.gz" for mirror in source.mirrors]
        download(urls, path, lambda content: _verify_download(source, stem, content), by_hand)
    content = path.read_bytes()
    _verify_contents(source, stem, content, path)
    return content, path


def _verify_download(source, stem, content):
    """Raise DataError unless the gzip file is the published one, by its contents or by its own sum."""
    _verify_contents(source, stem, content, stem)
    expected, got = source.md5.get(stem), hashlib.md5(content, usedforsecurity=False).hexdigest()
    if expected not in (None, got):
        raise DataError(f"{stem}: expected MD5 {expected}; got {got}. Not the published file.")


def _verify_contents(source, stem, content, name):
    """Raise DataError unless the decompressed contents are the published ones (any readable IDX without a sum)."""
    expected = source.sha256.get(stem)
    if expected is None:
        return
    got = hashlib.sha256(_prefix(content, MAX_BYTES, name)).hexdigest()
    if got != expected:
        raise DataError(
            f"{name}: expected the contents of {source.folder}'s {stem}, SHA-256 {expected}; got {got}. "
            f"Is it another data set, or damaged? Move it away and it is fetched again."
        )

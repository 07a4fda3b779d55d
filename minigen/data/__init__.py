"""Data sets, and the loader that deals them out in batches.

    glyphs         built in, the default: digits and capital letters in many faces, randomly distorted
    digits         the ten digits of glyphs
    mnist          IDX files, found or downloaded
    fashion_mnist  IDX files, found or downloaded
    cifar10        CIFAR-10's binary version or image folders, found
    a path         a folder or tar file of PNG and JPEG images

They are looked for in MINIGEN_DATA, then in the cache folder (see `store`).
"""

import difflib
from pathlib import Path

from .augment import horizontal_flip, random_shift
from .dataset import DataError, Dataset, check_geometry
from .loader import Loader

__all__ = ["DataError", "Dataset", "Loader", "datasets", "horizontal_flip", "load", "random_shift"]


def load(name="glyphs", split="train", size=None, channels=None, root=None):
    """The Dataset called `name`, or of the images in the folder or tar file `name`.

    split:    "train" or "test".
    size:     square images of this many pixels; None: as they are (glyphs: 28).
    channels: 1 grey, 3 colour; None: as they are.
    root:     the folder to search, instead of MINIGEN_DATA and the cache folder.
    Raises DataError, one sentence that says what to do.

    >>> load("glyphs", "test").shape
    (1, 28, 28)
    """
    check_geometry(f"load({str(name)!r})", size, channels)
    if name in _LOADERS:
        if split not in ("train", "test"):
            raise DataError(f'load({name!r}): expected split "train" or "test"; got {split!r}.')
        return _LOADERS[name](split, size, channels, root)
    if Path(name).expanduser().exists():
        from .folder import load_images

        return load_images(name, split, size, channels)
    close = difflib.get_close_matches(str(name), datasets(), 1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    raise DataError(
        f"load({str(name)!r}): no data set of that name, and no such file or folder.{guess} "
        f"Known: {', '.join(datasets())}, or the path of a folder or tar file of images."
    )


def datasets():
    """The names that `load` knows."""
    return list(_LOADERS)


# Each source is imported when it is first asked for: `import minigen` must stay light.


def _glyphs(split, size, channels, root):
    from .glyphs import load_glyphs

    return load_glyphs(split=split, size=size or 28).resized(channels=channels)


def _digits(split, size, channels, root):
    from .glyphs import DIGITS, load_glyphs

    return load_glyphs(DIGITS, split, size or 28).resized(channels=channels)


def _mnist(split, size, channels, root):
    from .idx import MNIST, load_idx

    return load_idx(MNIST, split, root).resized(size, channels)


def _fashion_mnist(split, size, channels, root):
    from .idx import FASHION_MNIST, load_idx

    return load_idx(FASHION_MNIST, split, root).resized(size, channels)


def _cifar10(split, size, channels, root):
    from .cifar import load_cifar10

    return load_cifar10(split, size, channels, root)


_LOADERS = {
    "glyphs": _glyphs,
    "digits": _digits,
    "mnist": _mnist,
    "fashion_mnist": _fashion_mnist,
    "cifar10": _cifar10,
}

"""A labelled set of images in memory, and the few things that are done to one as a whole."""

from dataclasses import dataclass, replace

import numpy as np


class DataError(ValueError):
    """A data set that cannot be had, or is not what it should be; the message names the file and the likely fix."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their labels, on the host, as bytes.

    images:  uint8, shape (N, C, H, W), C = 1 (grey) or 3 (red, green, blue); in memory channels-last (N, H, W, C).
    labels:  int64, shape (N,), values in 0 .. len(classes) - 1.
    classes: the name of each label.
    name:    where the images come from, for titles and logs.
    Raises DataError where shapes, types or label values do not fit together.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str

    def __post_init__(self):
        x, y = self.images, self.labels
        if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1] not in (1, 3):
            raise DataError(
                f"Dataset({self.name!r}): expected images uint8 of shape (N, C, H, W) with C = 1 or 3; "
                f"got {x.dtype} {x.shape}. Make one with Dataset.from_pixels, which takes (N, H, W, C)."
            )
        if y.dtype != np.int64 or y.shape != x.shape[:1]:
            raise DataError(
                f"Dataset({self.name!r}): expected one int64 label per image; got {y.dtype} {y.shape} labels "
                f"for {len(x)} images. Do images and labels come from the same split?"
            )
        if len(y) and not 0 <= y.min() <= y.max() < len(self.classes):
            raise DataError(
                f"Dataset({self.name!r}): expected labels in 0 .. {len(self.classes) - 1}; "
                f"got {y.min()} .. {y.max()}. Is a class name missing?"
            )

    @classmethod
    def from_pixels(cls, pixels, labels, classes, name):
        """A data set from uint8 `pixels` (N, H, W) or (N, H, W, C) and integer `labels` (N,)."""
        pixels = np.ascontiguousarray(pixels)
        if pixels.ndim == 3:
            pixels = pixels[..., None]
        images = pixels.transpose(0, 3, 1, 2)  # logical (N, C, H, W) over channels-last memory
        return cls(images, np.asarray(labels, np.int64), tuple(classes), name)

    @property
    def pixels(self):
        """The same bytes as (N, H, W, C), contiguous: a view."""
        return self.images.transpose(0, 2, 3, 1)

    @property
    def shape(self):
        """(C, H, W) of one image."""
        return self.images.shape[1:]

    def __len__(self):
        return len(self.images)

    def __repr__(self):
        c, h, w = self.shape
        return f"Dataset({self.name!r}: {len(self)} images, {c}x{h}x{w}, {len(self.classes)} classes)"

    def subset(self, indices):
        """The images at `indices` (a slice, indices or a mask), in that order."""
        pixels = np.ascontiguousarray(self.pixels[indices])
        return replace(self, images=pixels.transpose(0, 3, 1, 2), labels=self.labels[indices])

    def split(self, n, seed=0):
        """(the others, n images drawn at random): for holding out a validation set; each in its old order."""
        if not 0 < n < len(self):
            raise DataError(f"Dataset.split({n}): expected n between 1 and {len(self) - 1}; got {n}.")
        held_out = np.zeros(len(self), bool)
        held_out[np.random.default_rng(seed).choice(len(self), n, replace=False)] = True
        return self.subset(~held_out), self.subset(held_out)

    def resized(self, size=None, channels=None):
        """The data set with square images of `size` pixels and 1 or 3 `channels`; None keeps what is there.

        Resized so that the shorter side fits, then centre-cropped; colour becomes grey by luminance
        (ITU-R 601), grey becomes colour by repetition.
        """
        check_geometry("Dataset.resized", size, channels)
        c, h, w = self.shape
        size_now = (h, w) if size is None else (size, size)
        channels = channels or c
        if (channels, *size_now) == self.shape:
            return self
        from PIL import Image

        pixels = np.empty((len(self), *size_now, channels), np.uint8)
        for old, new in zip(self.pixels, pixels):
            image = Image.fromarray(old[..., 0] if c == 1 else old)
            new[...] = fit_image(image, size, channels)
        return Dataset.from_pixels(pixels, self.labels, self.classes, self.name)


def fit_image(image, size, channels):
    """The Pillow `image` as uint8 (size, size, channels); None keeps its size, or its number of channels.

    The shorter side is resized to `size` (bicubic, antialiased), then the centre is cropped. Transparent
    parts become black; 16-bit grey loses its lower byte (Pillow's own conversion would clip it to white).
    """
    from PIL import Image, ImageOps

    if image.mode in ("I", "I;16", "I;16B"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
        image = image.convert("RGB")
    if channels is None:
        channels = 1 if image.mode in ("L", "1") else 3
    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return pixels[..., None] if channels == 1 else pixels


def check_geometry(caller, size, channels):
    """Refuse a size or number of channels that no image can have, before any work is done."""
    if size is not None and not (isinstance(size, int) and 4 <= size <= 4096):
        raise DataError(f"{caller}: expected size, in pixels, between 4 and 4096; got {size!r}.")
    if channels not in (None, 1, 3):
        raise DataError(f"{caller}: expected channels 1 (grey) or 3 (colour); got {channels!r}.")

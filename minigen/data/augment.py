"""Augmentations: functions (uint8 images (B, H, W, C), rng) → new images of the same shape.

All random numbers come from `rng`, the loader's own Generator, and are drawn on the host: a resumed run, on
either device, sees the same images.
"""

import numpy as np

from ..backend import asarray, namespace


def horizontal_flip(images, rng):
    """Every image mirrored, or not, with equal chance."""
    out = images.copy()
    chosen = asarray(np.flatnonzero(rng.host.random(len(images)) < 0.5))
    originals = images.take(chosen, axis=0)
    mirrored = namespace(images).empty_like(originals)
    for channel in range(images.shape[3]):  # one plane at a time: copying 3-byte pixels backwards is 4 times slower
        mirrored[..., channel] = originals[:, :, ::-1, channel]
    out[chosen] = mirrored
    return out


def random_shift(pixels=2):
    """An augmentation that moves every image by up to `pixels` each way; its edge pixels fill the gap."""

    def shift(images, rng):
        n, h, w, c = images.shape
        xp = namespace(images)
        padded = xp.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
        i, y, x, _ = padded.strides
        places = 2 * pixels + 1
        # windows[i, dy, dx] is image i seen from (dy, dx): a view, so that choosing one copies whole rows
        windows = xp.lib.stride_tricks.as_strided(
            padded, (n, places, places, h, w, c), (i, y, x, y, x, padded.itemsize)
        )
        dy, dx = (asarray(step) for step in rng.host.integers(0, places, (2, n)))
        return windows[xp.arange(n), dy, dx]

    return shift

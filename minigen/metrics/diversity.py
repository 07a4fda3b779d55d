"""Do generated images differ from each other as much as real ones do?"""

import numpy as np


def nearest_distance(images):
    """The mean over images (N, ...) of the Euclidean distance to the nearest other one."""
    x = np.asarray(images, np.float32).reshape(len(images), -1)
    squares = (x * x).sum(axis=1)
    d2 = squares[:, None] + squares - 2 * (x @ x.T)
    np.fill_diagonal(d2, np.inf)
    return float(np.sqrt(np.maximum(d2.min(axis=1), 0)).mean())


def diversity(images, reference):
    """`nearest_distance` of images over that of as many reference images, both (N, C, H, W) on one scale.

    About 1 for good images; far below 1 where a generator repeats itself (mode collapse), which a classifier's
    confidence does not see; above 1 for noisy ones.
    """
    n = min(len(images), len(reference))
    return nearest_distance(images[:n]) / nearest_distance(reference[:n])

"""A classifier as the judge of generated images."""

from dataclasses import dataclass

import numpy as np

from ..backend import asarray, to_numpy


@dataclass
class Verdict:
    """What a classifier says of generated images.

    confident: share with a class probability of at least `threshold`.  classes: share of each class among these.
    """

    confident: float
    classes: np.ndarray
    threshold: float

    @property
    def entropy(self):
        """Of the classes, nats; ln(number of classes) where all are drawn equally often."""
        p = self.classes[self.classes > 0]
        return float((p * np.log(1 / p)).sum())


def judge(classifier, images, threshold=0.9, batch_size=200):
    """The Verdict of a trained Classifier on images (N, C, H, W), a NumPy array with pixels in its `pixel_range`."""
    pieces = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
    p = np.concatenate([to_numpy(classifier.probabilities(asarray(x)).data) for x in pieces])
    sure = p.max(axis=1) >= threshold
    counts = np.bincount(p.argmax(axis=1)[sure], minlength=p.shape[1])
    return Verdict(float(sure.mean()), counts / max(1, counts.sum()), threshold)

"""Batches: shuffled, on the device, augmented on request, and resumable at any batch to the bit."""

import numpy as np

from ..backend import Generator, asarray, namespace
from ..backend.kernels import kernels
from .dataset import DataError

FLOAT = np.dtype(np.float32)


class Loader:
    """Deals out a Dataset in batches (x, y), for ever, or one epoch at a time.

    x: float32 (B, C, H, W) over channels-last memory, in `pixel_range`; y: int64 (B,). Both on the default device,
    where the whole data set lies as bytes.

    rng:       the loader's own Generator, or a seed for one; nothing else may draw from it.
    augment:   None, or a function (uint8 images (B, H, W, C), rng) → the same shape, see `augment`.
               Its random numbers must come from `rng`, or a resumed run differs.
    drop_last: leave out the images that do not fill a batch (others each epoch, when shuffled).

    >>> loader = Loader(dataset, 64, rng=0, pixel_range=(-1, 1))            # doctest: +SKIP
    >>> for x, y in loader.epoch(): ...                                     # doctest: +SKIP
    >>> x, y = next(loader)                                                 # doctest: +SKIP
    >>> loader.next(into=(x, y))                                            # doctest: +SKIP
    """

    def __init__(self, dataset, batch_size, rng=0, *, pixel_range=(0, 1), shuffle=True, augment=None, drop_last=True):
        if not isinstance(batch_size, int) or not 1 <= batch_size <= len(dataset):
            raise DataError(
                f"Loader: expected batch_size between 1 and {len(dataset)}, the number of images; got {batch_size!r}."
            )
        low, high = pixel_range
        if not low < high:
            raise DataError(f"Loader: expected pixel_range (low, high) with low < high; got {pixel_range}.")
        self.pixels = asarray(dataset.pixels)  # uint8 (N, H, W, C)
        self.labels = asarray(dataset.labels)
        self.batch_size, self.shuffle, self.augment, self.drop_last = batch_size, shuffle, augment, drop_last
        self.scale, self.low = np.float32((high - low) / 255), np.float32(low)
        self.rng = rng if isinstance(rng, Generator) else Generator(rng)
        self._begin_epoch()

    def __len__(self):
        """Batches in an epoch."""
        n = len(self.labels)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self):
        return self

    def __next__(self):
        return self.next()

    def next(self, labels=True, into=None):
        """The next batch, (x, y), or (x,) without labels; a new epoch begins when the last one is through.

        into: the arrays in which it is returned, as `coming` describes them; None: new ones.
        """
        if self.position == len(self):
            self._begin_epoch()
        first = self.position * self.batch_size
        arrays = self._empty(min(self.batch_size, len(self.labels) - first), labels) if into is None else into
        x, *y = arrays
        self.position += 1
        pixels, order, start = self.pixels, self.order, first
        if self.augment is not None:
            chosen = order[first : first + len(x)]
            pixels, order, start = self.augment(pixels.take(chosen, axis=0), self.rng), None, 0
        deal = kernels(x)
        deal.deal_images(pixels, order, start, self.scale, self.low, x)
        for numbers in y:
            deal.deal_labels(self.labels, self.order, first, numbers)
        return arrays

    def coming(self, labels=True):
        """((shape, dtype), ...) of the arrays of the next batch; images lie channels-last in memory."""
        _, h, w, c = self.pixels.shape
        n = min(self.batch_size, len(self.labels) - self.position % len(self) * self.batch_size)
        x, y = ((n, c, h, w), FLOAT), ((n,), self.labels.dtype)
        return (x, y) if labels else (x,)

    def _empty(self, n, labels):
        """New arrays for n images, and their labels."""
        xp = namespace(self.pixels)
        x = xp.empty((n, *self.pixels.shape[1:]), FLOAT).transpose(0, 3, 1, 2)
        return (x, xp.empty(n, self.labels.dtype)) if labels else (x,)

    def epoch(self):
        """The batches that are left of this epoch, or those of a new one when none are left."""
        yield next(self)
        while self.position < len(self):
            yield next(self)

    def state(self):
        """Where the loader stands, as a small dict that JSON can hold: the order is drawn again, not stored."""
        return {"epoch": self.epoch_state, "now": self.rng.state(), "position": self.position}

    def restore(self, state):
        """Go on from a `state()`: the next batches are bit for bit those that followed it."""
        if not 0 <= state["position"] <= len(self):
            raise DataError(
                f"Loader.restore: expected a position within the {len(self)} batches of an epoch; "
                f"got {state['position']}. Are the data set and the batch size the same?"
            )
        self.rng.restore(state["epoch"])
        self._begin_epoch()
        self.rng.restore(state["now"])
        self.position = state["position"]

    def _begin_epoch(self):
        self.epoch_state = self.rng.state()
        n = len(self.labels)
        self.order = asarray(self.rng.host.permutation(n) if self.shuffle else np.arange(n))
        self.position = 0

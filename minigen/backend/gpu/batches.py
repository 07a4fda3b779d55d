"""Batches on the GPU: launches `batches.cu`, one launch for the images, one for the labels.

Names, arguments and results are those of `backend/batches`; to the bit, so that a seed gives the same data on both.
"""

import numpy as np

from .. import batches as portable
from .compile import ceil_div, kernel

THREADS = 256
MOST = 64  # blocks of one image


def deal_images(pixels, order, first, scale, low, out):
    _, h, w, c = pixels.shape
    size = h * w * c
    dense = pixels.flags.c_contiguous and out.strides == (4 * size, 4, 4 * w * c, 4 * c)  # channels-last
    if not dense or (pixels.dtype, out.dtype) != (np.uint8, np.float32):
        portable.deal_images(pixels, order, first, scale, low, out)
        return
    wide = size % 4 == 0 and pixels.data.ptr % 4 == 0 and out.data.ptr % 16 == 0
    blocks = min(ceil_div(size // 4 if wide else size, THREADS), MOST)
    numbers = np.int64(first), np.int32(size), np.float32(scale), np.float32(low), np.int32(wide)
    kernel("batches.cu", "deal_images")((len(out), blocks), (THREADS,), (out, pixels, order, *numbers))


def deal_labels(labels, order, first, out):
    blocks = ceil_div(len(out), THREADS)
    numbers = np.int64(first), np.int32(len(out))
    kernel("batches.cu", "deal_labels")((blocks,), (THREADS,), (out, labels, order, *numbers))

"""Batches of a data set that lies on the device as bytes: for NumPy, and for CuPy what gpu/batches.cu does not serve.

first: the batch is that of the places first, first + 1, ... of `order`, an int64 vector of indices.
"""


def deal_images(pixels, order, first, scale, low, out):
    """out[i] = pixels[order[first + i]] · scale + low, rounded to float32 after the product and after the sum.

    pixels: uint8 (N, H, W, C).  order: None for 0, 1, 2, ...  out: float32 (B, C, H, W), written in place.
    """
    last, out = first + len(out), out.transpose(0, 2, 3, 1)
    out[...] = pixels[first:last] if order is None else pixels.take(order[first:last], axis=0)
    out *= scale  # faster than a product with a cast within
    if low:
        out += low


def deal_labels(labels, order, first, out):
    """out[i] = labels[order[first + i]].  labels, out: int64 vectors; out is written in place."""
    labels.take(order[first : first + len(out)], out=out)

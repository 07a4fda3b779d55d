"""Grids of images and plots of losses, as PNG files. matplotlib and Pillow are imported when a picture is made."""

import math

import numpy as np


def pixels_of(images, pixel_range=(0, 1)):
    """Images (N, C, H, W) with values in `pixel_range` → bytes (N, H, W, C)."""
    low, high = pixel_range
    scaled = (np.asarray(images).transpose(0, 2, 3, 1) - low) * (255 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def grid(pixels, columns=None, gap=2, shade=90):
    """Bytes (N, H, W, C) → one picture (H′, W′, C): `columns` to a row (√N by default), separated by a grey line."""
    n, h, w, c = pixels.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    picture = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, c), shade, np.uint8)
    for i, image in enumerate(pixels):
        top, left = (i // columns) * (h + gap) + gap, (i % columns) * (w + gap) + gap
        picture[top : top + h, left : left + w] = image
    return picture


def save_grid(pixels, path, columns=None, scale=None):
    """Save bytes (N, H, W, C) as a grid; small images are enlarged without smoothing, to about 600 pixels in all."""
    from PIL import Image

    picture = grid(pixels, columns)
    scale = scale or max(1, round(600 / picture.shape[1]))
    picture = picture.repeat(scale, 0).repeat(scale, 1)
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(path)


def with_reconstructions(x, y, columns=8):
    """Rows of `columns` images of x alternate with rows of the y that belong to them; black ones fill the last rows."""
    rows = -(-len(x) // columns)
    empty = np.zeros((rows * columns - len(x), *x.shape[1:]), x.dtype)
    pairs = np.stack([np.concatenate([v, empty]).reshape(rows, columns, *x.shape[1:]) for v in (x, y)], axis=1)
    return pairs.reshape(-1, *x.shape[1:])


def loss_plot(rows, path, title=""):
    """The losses of metric rows over the steps."""
    from matplotlib.figure import Figure

    names = [k for k in dict.fromkeys(k for row in rows for k in row) if "/" in k and k != "images/s"]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name in names:
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points), label=name, linewidth=1.2, marker="." if len(points) < 20 else None)
    axes.set(xlabel="step", ylabel="loss (nats, or the unit of the term)", title=title)
    axes.grid(alpha=0.3)
    if names:
        axes.legend()
    figure.savefig(path, dpi=120)

"""The built-in data set: characters in many faces, randomly slanted, stretched, bent and inked. Needs no network.

Every image is one pass through one sampling grid. Output pixel p (centre 0, half the image = 1) looks up the
character's signed distance field (see `glyph_faces`) at

    q = A⁻¹ (p − t) + u(p),        ink(p) = clip(½ + s·(d(q) + w(p)) / softness, 0, 1)

A: rotation, shear and scale;  t: where the character sits;  u: a smooth random displacement (elastic distortion,
Simard et al. 2003);  d: signed distance;  w: a smooth random change of stroke weight;  s: pixels per unit of d.
Because A is known before drawing, characters are made to fit: no stroke is ever cut by the border.

Randomness is drawn in blocks of fixed size, each from its own seed, in numbers that do not depend on the image
size. So an image is the same whatever the number of images, threads or pixels asked for.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .dataset import DataError, Dataset, check_geometry
from .glyph_faces import FACES, REACH, SIDE, fields
from .store import cached

DIGITS = "0123456789"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
COUNTS = {"train": 60_000, "test": 10_000}  # as in MNIST
VERSION = 1  # part of the cache key: raise it whenever the images change

BLOCK = 250  # images that share a seed: at 28×28 a temporary of a block (784 kB) stays in the cache
KNOTS = 7  # control points a side of the smooth random fields, about 5 pixels apart at 28×28


def load_glyphs(characters=DIGITS + LETTERS, split="train", size=28, count=None, seed=0):
    """`generate`, through the cache: a data set of `count` images (60,000 train, 10,000 test when None)."""
    count = COUNTS[split] if count is None else count
    key = (VERSION, characters, split, size, count, seed, FACES)
    return cached("glyphs", key, lambda: generate(count, characters, split=split, size=size, seed=seed))


def generate(count, characters=DIGITS + LETTERS, *, split="train", size=28, seed=0, threads=None):
    """`count` grey images of `size`×`size` pixels, white ink on black, centred by mass as in MNIST.

    characters: the classes, one printable character each.
    split:      "train" and "test" draw from disjoint seeds.
    seed:       same seed, same images; exact on one machine (other processors may round single grey levels
                differently).
    """
    check_geometry("glyphs", size, None)
    if not isinstance(count, int) or count < 1:
        raise DataError(f"glyphs: expected a positive number of images; got {count!r}.")
    if split not in COUNTS:
        raise DataError(f'glyphs: expected split "train" or "test"; got {split!r}.')
    if not characters or len(set(characters)) < len(characters):
        raise DataError(f"glyphs: expected distinct characters; got {characters!r}.")
    faces, splines = fields(characters), _splines(size)

    def block(i):
        rng = np.random.default_rng([seed, list(COUNTS).index(split), i])
        labels, recipe = _draw(rng, len(characters), faces)
        return _render(recipe, faces.distance, splines, size), labels

    blocks = range(-(-count // BLOCK))
    with ThreadPoolExecutor(threads or min(os.cpu_count() or 1, 8)) as pool:
        images, labels = zip(*pool.map(block, blocks))
    name = f"glyphs ({len(characters)} characters, {split})"
    return Dataset.from_pixels(np.concatenate(images)[:count], np.concatenate(labels)[:count], characters, name)


def _draw(rng, classes, faces):
    """One block's (labels, recipe): everything random about its images; lengths in half images."""
    n = BLOCK
    labels = rng.integers(classes, size=n)
    index = labels * len(FACES) + rng.integers(len(FACES), size=n)

    angle = np.deg2rad(rng.normal(0, 6, n).clip(-14, 14))
    shear = rng.normal(0, 0.15, n).clip(-0.35, 0.35)
    stretch = np.exp(rng.normal(0, 0.1, n).clip(-0.2, 0.2))  # width over height, squared
    # Column j of the map is where the axis j of the character goes: rotation · shear · stretch, then the size.
    x_axis = np.stack([np.cos(angle), np.sin(angle)], 1) * stretch[:, None]
    y_axis = np.stack([-np.sin(angle) + shear * np.cos(angle), np.cos(angle) + shear * np.sin(angle)], 1)
    affine = np.stack([x_axis, y_axis / stretch[:, None]], 2)  # (n, 2, 2)
    corners = faces.hull[index] @ affine.transpose(0, 2, 1)  # (n, DIRECTIONS, 2)
    longer = np.ptp(corners, axis=1).max(1)  # of the two sides of the bounding box
    side = rng.uniform(1.22, 1.42, n)  # MNIST: 20 of 28 pixels = 1.43
    scale = np.sqrt(np.linalg.det(affine)) * side / longer  # half images per unit of the field

    # Stroke widths in MNIST are about 1.6 to 4 of 28 pixels. Serif faces must be thickened until the hairlines
    # hold; bold ones may be thinned until theirs would break.
    pixel = 2 / 28 / scale  # one MNIST pixel in units of the field
    wanted = rng.uniform(1.6, 3.4, n) * pixel
    weight = (wanted - faces.thickness[index]) / 2
    weight = np.maximum(weight, (1.2 * pixel - faces.hairline[index]) / 2)

    fit = side / (longer + 2 * weight * longer * scale / side)  # the added weight counts as part of the size
    affine *= fit[:, None, None]
    corners *= fit[:, None, None]
    scale *= fit * longer / side

    # Smooth random fields: displacement (x, y) and stroke weight, as control points of cubic splines.
    knots = rng.standard_normal((n, 3, KNOTS, KNOTS), dtype=np.float32).clip(-2, 2)
    bend = rng.uniform(0.04, 0.11, n)
    knots[:, :2] *= bend[:, None, None, None]
    knots[:, 2] *= (0.3 * pixel)[:, None, None]
    knots[:, 2] += weight[:, None, None]

    # Centre of mass to the middle, give or take; then inside the border, two MNIST pixels for the fade and the
    # varying weight, and the largest bend (a spline stays between its control points).
    shift = rng.normal(0, 0.03, (n, 2)) - (affine @ faces.centre[index][..., None])[..., 0]
    reach = 1 - 4 / 28 - ((weight + 2 * bend) * scale)[:, None]
    shift = shift.clip(-reach - corners.min(1), reach - corners.max(1))

    softness = rng.uniform(1.0, 1.7, n)  # pixels over which ink fades
    inverse = np.linalg.inv(affine)
    return labels, (index, inverse.astype(np.float32), shift, scale, knots, softness)


def _render(recipe, distance, splines, size):
    """uint8 (BLOCK, size, size): the recipe's characters, sampled bilinearly from their distance fields."""
    index, inverse, shift, scale, knots, softness = recipe
    unit = REACH / 2
    # einsum rather than @: BLAS may round differently with another number of threads, and then seeds lie
    rows = np.einsum("nfab,ay->fnyb", knots, splines)
    u, v, weight = np.einsum("fnyb,bx->fnyx", rows, splines)

    # q = A⁻¹ p − A⁻¹ t + u(p), in cells of the field
    p = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    offset = (inverse @ shift[..., None].astype(np.float32))[..., 0]
    for q, axis in ((u, 0), (v, 1)):
        q += inverse[:, axis, 0, None, None] * p[None, None, :]
        q += (inverse[:, axis, 1, None] * p - offset[:, axis, None])[:, :, None]
        q *= unit
        q += SIDE / 2 - 0.5
        np.clip(q, 0, SIDE - 1.001, out=q)
    column, row = u.astype(np.int32), v.astype(np.int32)
    u -= column
    v -= row
    cell = row
    cell *= SIDE
    cell += column
    cell += (index * SIDE * SIDE).astype(np.int32)[:, None, None]

    flat = distance.reshape(-1)
    top, bottom = flat.take(cell), flat.take(cell + SIDE)
    top += u * (flat.take(cell + 1) - top)
    bottom += u * (flat.take(cell + (SIDE + 1)) - bottom)
    bottom -= top
    bottom *= v
    top += bottom  # d(q)

    top += weight
    top *= (255 * scale * (size / 2) / softness).astype(np.float32)[:, None, None]
    top += 127.5 + 0.5  # the ramp's middle, and rounding
    return np.clip(top, 0, 255, out=top).astype(np.uint8)


def _splines(size):
    """(KNOTS, size) float32: uniform cubic B-splines, one row a knot, across the image."""
    x = (np.arange(size) + 0.5) / size * (KNOTS - 3)  # KNOTS − 3 spans cover the image
    t = np.abs(x[None, :] + 1 - np.arange(KNOTS)[:, None])  # distance to each knot, in spans
    spline = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.where(t < 2, (2 - t) ** 3 / 6, 0))
    return spline.astype(np.float32)

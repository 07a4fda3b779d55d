"""Characters of many type faces as signed distance fields: the raw material of `glyphs`.

A signed distance field stores, at every point, how far the outline is: positive inside the stroke, negative
outside. Thresholding it at another level makes the stroke bolder or finer by a known amount, and a ramp one
pixel wide around the level is antialiasing at any magnification (Green, "Improved alpha-tested magnification",
SIGGRAPH 2007).
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np

SIDE = 96  # of a field, in cells
REACH = 64  # cells from end to end of a character's longer side; the rest is margin
RANGE = 10  # cells; distances are exact up to here, and cut off beyond
DIRECTIONS = 32  # in which the extent of a character is recorded

# Of the fonts that come with matplotlib, those whose letters and digits are plain. Left out: display cuts (they
# repeat the text cuts), symbol fonts, cmmi10, whose digits have old-style heights, and the bold cuts of STIX,
# whose stems are so much heavier than their hairlines that at 28×28 either clog or vanish.
FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralItalic"),
    *("cmr10", "cmb10", "cmss10", "cmtt10", "cmti10"),
)


@dataclass(frozen=True, eq=False)
class Fields:
    """One entry per (character, face), character-major; lengths in units of half a character's longer side.

    distance:  (K, SIDE, SIDE) float32, signed distance to the outline; row 0 is the top.
    thickness: (K,) typical width of the strokes;  hairline: (K,) width of the finest ones.
    centre:    (K, 2) centre of mass (x, y) of the ink, from the middle of the field.
    hull:      (K, DIRECTIONS, 2) outermost points (x, y), enough to bound the character under any affine map.
    """

    distance: np.ndarray
    thickness: np.ndarray
    hairline: np.ndarray
    centre: np.ndarray
    hull: np.ndarray


@lru_cache(maxsize=4)
def fields(characters):
    """The Fields of every one of `characters` in every face: about a second for 36 characters."""
    jobs = list(product(characters, FACES))
    with ThreadPoolExecutor(2) as pool:  # NumPy and Pillow release the interpreter lock
        measured = list(pool.map(lambda job: _measure(_signed_distance(_render(*job))), jobs))
    return Fields(*(np.stack(column).astype(np.float32) for column in zip(*measured)))


def _render(character, face):
    """Ink (2·SIDE, 2·SIDE) bool: the character centred, its longer side 2·REACH pixels."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    path = str(Path(matplotlib.get_data_path(), "fonts", "ttf", f"{face}.ttf"))
    left, top, right, bottom = ImageFont.truetype(path, 400).getbbox(character)
    font = ImageFont.truetype(path, 400 * 2 * REACH / max(right - left, bottom - top))
    left, top, right, bottom = font.getbbox(character)
    canvas = Image.new("L", (2 * SIDE, 2 * SIDE))
    ImageDraw.Draw(canvas).text((SIDE - (left + right) / 2, SIDE - (top + bottom) / 2), character, 255, font)
    return np.asarray(canvas) > 127


def _signed_distance(ink):
    """(SIDE, SIDE) signed distance in cells, from ink at twice the resolution: averaging smooths the steps."""
    distance = _distance_to(~ink) - _distance_to(ink)
    return distance.reshape(SIDE, 2, SIDE, 2).mean((1, 3)) / 2


def _distance_to(mask):
    """Distance in pixels from each pixel's centre to the edge of the nearest pixel of `mask`; 0 inside.

    Squared distances separate: d²(i, j) = min_a [a² + min_b (b² where mask(i−a, j−b))]. Only |a|, |b| ≤ 2·RANGE
    are searched. Small integers keep this several times faster than floating point.
    """
    reach = 2 * RANGE
    squared = np.where(mask, 0, 2 * (reach + 1) ** 2).astype(np.int16)
    for axis in (0, 1):
        padded = np.pad(squared, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        n = squared.shape[axis]
        for shift in range(-reach, reach + 1):
            window = padded[reach + shift : reach + shift + n] if axis == 0 else padded[:, reach + shift :][:, :n]
            np.minimum(squared, window + np.int16(shift * shift), out=squared)
    return np.maximum(np.sqrt(np.minimum(squared, reach**2), dtype=np.float32) - 0.5, 0)


def _measure(distance):
    """(distance, thickness, hairline, centre, hull) of one field, in units of half the longer side."""
    unit = REACH / 2
    inside = distance > 0
    # Area ≈ length · thickness and perimeter ≈ 2 · length; the band |d| < 1 is two cells wide.
    thickness = 2 * inside.sum() / ((np.abs(distance) < 1).sum() / 2)
    # On the middle line of a stroke the gradient vanishes, and the distance is half the width.
    dy, dx = np.gradient(distance)
    middle = inside & (np.hypot(dx, dy) < 0.4)
    hairline = 2 * np.quantile(distance[middle], 0.1) if middle.any() else thickness
    y, x = np.nonzero(inside)
    points = (np.stack([x, y], 1) + 0.5 - SIDE / 2) / unit
    angle = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)
    outermost = (points @ np.stack([np.cos(angle), np.sin(angle)])).argmax(0)
    return distance / unit, thickness / unit, hairline / unit, points.mean(0), points[outermost]

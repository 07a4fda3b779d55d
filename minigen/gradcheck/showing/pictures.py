"""What a wrong gradient looks like: numeric, analytic and their difference, side by side.

matplotlib is imported when a picture is made.
"""

import io
import math

import numpy as np

MAP = "RdBu_r"  # diverging: blue below 0, white at 0, red above
MOST_CAPTIONS = 36  # of the images in one panel; with more they would be too small to read


def picture(verdict):
    """PNG bytes of the worst input of a Verdict that is wrong; None where its derivative was not mapped."""
    report = verdict.report
    if not report.maps:
        return None
    error = lambda name: np.nan_to_num(abs(np.subtract(*report.maps[name])), nan=np.inf).max(initial=0)
    name = report.worst.name if report.worst and report.worst.name in report.maps else max(report.maps, key=error)
    title = f"{verdict.target.name}: {report.diagnosis.kind}; the {report.what} derivative with respect to {name}"
    return error_map(title, *report.maps[name])


def error_map(title, numeric, analytic):
    """PNG bytes of `panels`."""
    out = io.BytesIO()
    panels(title, numeric, analytic).savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def panels(title, numeric, analytic):
    """A Figure of three panels for one input: `numeric`, `analytic` and the error, analytic − numeric.

    numeric, analytic: arrays of one shape, the derivative with respect to that input by either way.
    The first two share a scale centred on 0, the error has its own. The worst element is marked. What is not finite
    is crossed. Shapes: scalars and vectors are bars; (H, W) an image; anything larger a grid of images over the last
    two axes, captioned with the leading indices, (N, C, H, W) with a row for each n.
    """
    from matplotlib.figure import Figure

    numeric, analytic = (np.asarray(a, np.float64) for a in (numeric, analytic))
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is crossed, as it should be
        error = analytic - numeric
    worst = int(np.argmax(np.where(np.isfinite(error), abs(error), np.inf)))
    at = list(np.unravel_index(worst, error.shape))
    values = f"numeric {numeric.flat[worst]:.5g}, VJP {analytic.flat[worst]:.5g}"
    bars = sum(n > 1 for n in error.shape) < 2
    fold = Fold(error.shape)
    above = bars or fold.width > 2.2 * fold.height  # panels one above the other, or side by side
    figure = Figure(figsize=_bars_size(error.size) if bars else fold.figure_size(above), layout="constrained")
    figure.suptitle(f"{title}\nworst at {[int(i) for i in at]}: {values}" if at else f"{title}\n{values}", fontsize=11)
    all_axes = figure.subplots(*((3, 1) if above else (1, 3)))
    common = max(_largest(numeric), _largest(analytic)) or 1.0
    for axes, name, array, scale in zip(
        all_axes,
        ("numeric", "analytic (VJP)", "error: analytic − numeric"),
        (numeric, analytic, error),
        (common, common, _largest(error) or 1.0),
    ):
        axes.set_title(name, fontsize=10, pad=16 if fold.captions() else 6)
        if bars:
            _bars(axes, array.ravel(), scale, worst)
        else:
            image = _image(axes, fold, array, scale, worst)
            figure.colorbar(image, ax=axes, aspect=12 if above else 25, format="%.3g")
    return figure


class Fold:
    """How an array of any shape is laid out on a plane: tiles of its last two axes, in a grid, with gaps.

    Axes of length 1 take no room. rows, columns: of tiles.  h, w: of a tile.  height, width: of all.
    """

    def __init__(self, shape):
        self.kept = [i for i, n in enumerate(shape) if n > 1]
        sizes = [shape[i] for i in self.kept]
        self.h, self.w = ([1, 1] + sizes)[-2:]
        self.lead = sizes[:-2]
        self.tiles = math.prod(self.lead)
        if len(self.lead) < 2:
            self.columns = min(self.tiles, math.ceil(math.sqrt(self.tiles * self.h / self.w)))  # nearly a square
        else:
            self.columns = self.lead[-1]
        self.rows = math.ceil(self.tiles / self.columns)
        self.gap = 0 if self.tiles == 1 else 1 if max(self.h, self.w) < 12 else 2
        self.height = self.rows * (self.h + self.gap) - self.gap
        self.width = self.columns * (self.w + self.gap) - self.gap

    def figure_size(self, above):
        """(width, height) in inches of three such planes, `above` one another or side by side."""
        ratio = self.height / self.width
        return (9.5, 1.3 + 3 * (0.7 + 7.5 * ratio)) if above else (12.5, 1.3 + min(3.1 * ratio, 9))

    def corner(self, tile):
        """(top, left) of a tile."""
        return tile // self.columns * (self.h + self.gap), tile % self.columns * (self.w + self.gap)

    def place(self, number):
        """(row, column) on the plane of the element with this number in the flat array."""
        tile, inside = divmod(number, self.h * self.w)
        top, left = self.corner(tile)
        return top + inside // self.w, left + inside % self.w

    def __call__(self, array):
        """The plane: a masked array, masked in the gaps."""
        plane = np.ma.array(np.zeros((self.height, self.width)), mask=True)
        for i, tile in enumerate(array.reshape(self.tiles, self.h, self.w)):
            top, left = self.corner(i)
            plane[top : top + self.h, left : left + self.w] = tile
        return plane

    def captions(self):
        """[(tile, its leading indices)]; nothing where there is one tile, or so many that none could be read."""
        if not 1 < self.tiles <= MOST_CAPTIONS:
            return []
        return [(i, ", ".join(map(str, np.unravel_index(i, self.lead)))) for i in range(self.tiles)]


def _largest(array):
    finite = abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def _bars_size(n):
    """(width, height) in inches of three panels of n bars."""
    return min(5 + 0.1 * n, 10), 6.5


def _bars(axes, values, scale, worst):
    places = np.arange(len(values))
    finite = np.isfinite(values)
    colours = ["#b2182b" if v > 0 else "#2166ac" for v in values]
    axes.bar(places, np.where(finite, values, 0), color=colours, width=0.8 if len(values) <= 100 else 1.0)
    axes.plot(places[~finite], 0 * places[~finite], "kx", markersize=9)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.axvspan(worst - 0.5, worst + 0.5, color="gold", alpha=0.35, zorder=0)
    axes.set(ylim=(-1.08 * scale, 1.08 * scale), xlim=(-0.6, len(values) - 0.4))
    _whole_ticks(axes.xaxis, len(values))


def _image(axes, fold, array, scale, worst):
    from matplotlib.patches import Rectangle

    image = axes.imshow(fold(array), cmap=MAP, vmin=-scale, vmax=scale, interpolation="nearest")
    axes.autoscale(False)  # nothing that is drawn on it makes it larger
    axes.set_facecolor("0.82")  # of the gaps
    crossed = [fold.place(i) for i in np.flatnonzero(~np.isfinite(array))]
    if crossed:
        axes.plot([c for _, c in crossed], [r for r, _ in crossed], "kx", markersize=6)
    row, column = fold.place(worst)
    for colour, linewidth in (("black", 3.2), ("gold", 1.6)):
        frame = {"fill": False, "edgecolor": colour, "linewidth": linewidth, "clip_on": False}
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **frame))
    for tile, caption in fold.captions():
        top, left = fold.corner(tile)
        axes.text(left - 0.5, top - 0.55, caption, fontsize=7, va="bottom", ha="left", color="0.25")
    if fold.tiles > 1:
        axes.set(xticks=[], yticks=[])
        for side in axes.spines.values():
            side.set_visible(False)
    else:
        _whole_ticks(axes.xaxis, fold.w)
        _whole_ticks(axes.yaxis, fold.h)
    return image


def _whole_ticks(axis, n):
    from matplotlib.ticker import FixedLocator, MaxNLocator

    axis.set_major_locator(FixedLocator(range(n)) if n <= 12 else MaxNLocator(integer=True))

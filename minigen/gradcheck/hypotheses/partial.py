"""Right in one part, wrong in another."""

import math

import numpy as np

from ..report import Diagnosis
from .words import name_of_factor

UNLIKELY = 200  # ways to choose the wrong elements, for what they have in common to mean anything
SHARE = 0.1  # of the elements must be right, where they have nothing in common that can be named


def partly_wrong(e):
    wrong = e.wrong()
    count, total = int(wrong.sum()), len(wrong)
    rows = e.wrong_entries().any(axis=1)
    if 0 < count < total:
        where = pattern(e, wrong)
        if where is None:
            if total - count < SHARE * total:  # chance, or zeros that are right whatever the VJP does
                return None
            where = f"at {first_of(e, wrong)} and {count - 1} more"
        text = f"the VJP for {e.name} is right at {total - count} of {total} elements, and wrong {where}"
    elif e.jacobian and not rows.all() and len(e.outs) == 1 and e.outs[0].ndim:
        right = [int(i) for i in np.argwhere(~rows.reshape(e.outs[0].shape))[0]]
        text = f"the VJP for {e.name} is right for {int((~rows).sum())} of {rows.size} outputs, such as {right}"
    else:
        return None
    N, A = e.N[:, wrong], e.A[:, wrong]
    c = float((A * N).sum() / (N * N).sum()) if N.any() else math.nan
    if 0 < count < total and e.same(c * N, A):
        text += f"; there it gives {name_of_factor(c, e) if c else '0'}" + (" times the derivative" if c else "")
    return Diagnosis(
        "partly wrong", f"{text}.", "Look at the case that these have in common: a branch, a mask, a border."
    )


def first_of(e, wrong):
    return [int(i) for i in np.unravel_index(e.places[np.flatnonzero(wrong)[0]], e.x.shape)]


def pattern(e, wrong):
    """What the wrong elements have in common, in words: the value of x, an index along an axis; None: nothing."""
    if wrong.sum() == 1:
        return f"at {first_of(e, wrong)}"
    if math.comb(len(wrong), int(wrong.sum())) < UNLIKELY:  # any few elements have something in common
        return None
    x = e.x.reshape(-1)[e.places]
    others = [(f"{n} − {e.name}", o.reshape(-1)[e.places] - x) for n, o in e.others.items() if o.shape == e.x.shape]
    for name, q in [(e.name, x), (f"|{e.name}|", abs(x)), *others]:
        for sign, low, high in (("<", q[wrong], q[~wrong]), (">", q[~wrong], q[wrong])):
            if low.max() < high.min():
                border = 0.0 if low.max() <= 0 <= high.min() else (low.max() + high.min()) / 2
                return f"exactly where {name} {sign} {border:.4g}"
    if e.whole:
        grid = wrong.reshape(e.x.shape)
        for axis, n in enumerate(e.x.shape):
            line = grid.any(axis=tuple(a for a in range(grid.ndim) if a != axis))
            if not line.all() and grid.sum() == line.sum() * (grid.size // n):
                many = 2 * line.sum() > n
                index = ", ".join(map(str, np.flatnonzero(~line if many else line)))
                return f"{'everywhere but' if many else 'exactly'} at index {index} of axis {axis}"
        inner = grid[(..., *[slice(1, -1)] * min(2, grid.ndim))]
        if grid.ndim >= 2 and not inner.any() and inner.size:
            return "only on the border"

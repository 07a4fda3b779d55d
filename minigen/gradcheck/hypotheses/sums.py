"""Contributions that are lost, or summed where they should not be, and terms that were forgotten."""

import math

import numpy as np

from ..report import Diagnosis
from .words import axes_text, companions, name_of_factor, subsets


def lost_contributions(e):
    """Some entries of the Jacobian are 0 in A, in columns where others are right."""
    wrong = e.wrong_entries()
    lost = wrong & (abs(e.A) <= e.noise * e.scale)
    kept = (abs(e.A) > e.noise * e.scale) & ~wrong
    if not e.jacobian or not lost.any() or (wrong & ~lost).any() or not kept[:, lost.any(axis=0)].any(axis=0).all():
        return None
    if len(e.outs) > 1:
        owner = np.repeat(np.arange(len(e.outs)), [o.size for o in e.outs])
        for k in range(len(e.outs)):
            if np.array_equal(np.unique(owner[lost.any(axis=1)]), [k]) and not kept[owner == k].any():
                return Diagnosis(
                    "missing term",
                    f"the VJP for {e.name} leaves out what comes through output {k} of {len(e.outs)}.",
                    "With several outputs g is a tuple: add the contributions of all that are not None.",
                )
    counts = (abs(e.N) > e.noise * e.scale).sum(axis=0)
    if len(set(counts[counts > 0].tolist())) > 1:
        return Diagnosis(
            "overlap assigned",
            f"where several outputs use the same element of {e.name}, only one of their contributions is kept.",
            "Add instead of assigning: dx[window] += ..., np.add.at or scatter_add, not dx[index] = ...",
        )
    return Diagnosis(
        "missing sum",
        f"{counts.max()} outputs use each element of {e.name}, but the VJP counts {which_outputs(e, kept)}.",
        "Sum g over the axis along which the input was broadcast or repeated: g.sum(axis=...), not g[0].",
    )


def which_outputs(e, kept):
    """`only those with index 0 along axis 0`, where the outputs that are counted can be described so."""
    rows, shape = kept.any(axis=1), e.outs[0].shape
    if len(e.outs) == 1:
        indices = np.unravel_index(np.flatnonzero(rows), shape)
        for axis, index in enumerate(indices):
            found = sorted({int(i) for i in index})
            if len(found) < shape[axis] and len(found) * (rows.size // shape[axis]) == rows.sum():
                return f"only those with index {', '.join(map(str, found))} along axis {axis} of the result"
    return f"only {int(kept.sum(axis=0).max())} of them"


def extra_sum(e):
    if e.whole:
        N = e.of_x(e.N)
        for axes in subsets([a for a, n in enumerate(e.x.shape) if n > 1]):
            over = tuple(a + 1 for a in axes)
            for what, total in (("sum", N.sum(over, keepdims=True)), ("mean", N.mean(over, keepdims=True))):
                if e.explains(np.broadcast_to(total, N.shape).reshape(e.N.shape)):
                    return Diagnosis(
                        "extra sum",
                        f"the VJP for {e.name} gives the derivative's {what} over {axes_text(axes)}, the same for all.",
                        "Keep that axis: the cotangent belongs to each element by itself.",
                    )
    if e.jacobian and len(e.outs) == 1:
        shape = e.outs[0].shape
        N = e.N.reshape(*shape, -1)
        for axes in subsets([a for a, n in enumerate(shape) if n > 1]):
            if e.explains(np.broadcast_to(N.sum(axes, keepdims=True), N.shape).reshape(e.N.shape)):
                return Diagnosis(
                    "extra sum",
                    f"the VJP for {e.name} sums the cotangent g over {axes_text(axes)} of the result before using it.",
                    "Keep that axis of g: each element of the result has a derivative of its own.",
                )


def missing_term(e):
    """N − A is q times one number for each line along some axes: the derivative of a mean, sum or norm over them."""
    if not e.whole or e.x.size < 3:
        return None
    used = abs(e.N) > e.noise * e.scale
    c = float((e.N - e.A)[used].mean()) if used.any() else 0.0
    if e.jacobian and e.same(e.N - e.A, c * used):
        return Diagnosis(
            "missing term",
            f"what is missing (numeric − VJP) is {name_of_factor(c, e)} · g, with one number for all.",
            "Look for a constant or linear term of the derivative that was forgotten.",
        )
    D = e.of_x(e.N - e.A)
    same_shape = [(n, q.reshape(1, *e.x.shape)) for n, q in companions(e, rows=False)]
    exponentials = [(f"exp({n})", np.exp(q)) for n, q in same_shape if "1" not in n and abs(q).max() < 50]
    for name, q in [("", np.ones((1, *e.x.shape))), *same_shape, *exponentials]:
        for axes in sorted(subsets([a for a, n in enumerate(e.x.shape) if n > 1]), key=len, reverse=True):
            over = tuple(a + 1 for a in axes)
            if math.prod(e.x.shape[a] for a in axes) < 3:
                continue
            norm = (q * q).sum(over, keepdims=True)
            if not norm.all():
                continue
            line = (D * q).sum(over, keepdims=True) / norm
            if e.same(line * q, D):
                return Diagnosis(
                    "missing term",
                    f"what is missing (numeric − VJP) is {f'{name} times ' if name else ''}one number for all elements "
                    f"of {e.name} along {axes_text(axes)}: a mean, sum or norm over them was not differentiated.",
                    f"Differentiate that statistic too: its term is the same along {axes_text(axes)}"
                    f"{f', times {name}' if name else ''}.",
                )

"""The right numbers at the wrong places."""

import itertools

import numpy as np

from ..report import Diagnosis
from .words import axes_text, subsets


def transposed(e):
    if not e.whole or e.x.ndim < 2:
        return None
    N = e.of_x(e.N)
    for axes in itertools.permutations(range(e.x.ndim)):
        moved = N.transpose(0, *(a + 1 for a in axes))
        if list(axes) != sorted(axes) and e.explains(moved.reshape(e.N.shape)):
            reshaped = "" if moved.shape == N.shape else ", and reshaped"
            return Diagnosis(
                "transposed",
                f"the VJP for {e.name} gives the derivative with its axes in the order {axes}{reshaped}.",
                "Transpose it back: gᵀ·x instead of xᵀ·g, or swap the subscripts. Unequal sizes show it.",
            )


def flipped(e):
    if not e.whole:
        return None
    for axes in subsets([a for a, n in enumerate(e.x.shape) if n > 1]):
        if e.explains(np.flip(e.of_x(e.N), [a + 1 for a in axes]).reshape(e.N.shape)):
            return Diagnosis(
                "flipped",
                f"the VJP for {e.name} gives the derivative flipped along {axes_text(axes)}.",
                "Reverse it back: convolution and cross-correlation differ by such a flip.",
            )


def other_input_moved(e):
    """The derivative would be right if another input were flipped or transposed: as of conv2d with flipped weights."""
    if e.numeric_at is None or not e.jacobian:
        return None
    for name, y in list(e.others.items())[:2]:
        long = [a for a, n in enumerate(y.shape) if n > 1]
        candidates = [("flipped", axes, np.flip(y, axes)) for axes in subsets(long[-2:])]
        for a, b in itertools.combinations(long, 2):
            if y.shape[a] == y.shape[b]:
                candidates.append(("transposed", (a, b), np.swapaxes(y, a, b)))
        for kind, axes, moved in candidates:
            if e.explains(e.numeric_at({name: np.ascontiguousarray(moved)})):
                return Diagnosis(
                    kind,
                    f"the VJP for {e.name} gives what would be right if {name} were {kind} along {axes_text(axes)}.",
                    f"Reverse that in the VJP for {e.name}: use {name} as the forward function does.",
                )


def shifted(e):
    if not e.whole or e.x.ndim == 0:
        return None
    N, A = e.of_x(e.N), e.of_x(e.A)
    last = range(max(0, e.x.ndim - 2), e.x.ndim)
    offsets = [{a: s} for a in range(e.x.ndim) for s in (1, -1, 2, -2)]
    offsets += [dict(zip(last, s)) for s in itertools.product((1, -1), repeat=2)] if len(last) == 2 else []
    for offset in offsets:
        if any(e.x.shape[a] < 2 + abs(s) for a, s in offset.items()):
            continue
        inside = [slice(None)] * N.ndim
        for a, s in offset.items():
            inside[a + 1] = slice(s, None) if s > 0 else slice(None, s)
        inside = tuple(inside)
        moved = np.roll(N, list(offset.values()), [a + 1 for a in offset])
        if e.same(moved[inside], A[inside]) and not e.same(N[inside], A[inside]):
            by = " and ".join(f"{s:+d} along axis {a}" for a, s in offset.items())
            return Diagnosis(
                "shifted",
                f"the VJP for {e.name} gives the derivative shifted by {by}.",
                "Look for an index that is off by one: a padding, an output_padding, a slice that begins at 1.",
            )


def permuted(e):
    if not e.whole or e.x.size < 3:
        return None
    N, A = (e.cotangent @ e.N, e.cotangent @ e.A) if e.jacobian else (e.N, e.A)
    if e.same(np.sort(N), np.sort(A)):
        return Diagnosis(
            "permuted",
            f"the VJP for {e.name} gives the right numbers in another order.",
            "Undo the order of the forward function: the inverse permutation (argsort of the indices), not the same.",
        )


def swapped_inputs(e):
    if e.evidence_of is None:
        return None
    for name, y in e.others.items():
        if y.shape == e.x.shape and e.whole:
            other = e.evidence_of(name)
            if other.N.shape == e.A.shape and e.explains(other.N):
                return Diagnosis(
                    "swapped inputs",
                    f"the VJP for {e.name} gives the derivative for {name}.",
                    "Swap the two VJPs, or what they are multiplied with.",
                )

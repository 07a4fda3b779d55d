"""The right numbers at the wrong places."""

import itertools

import numpy as np

from ..report import Diagnosis
from .words import axes_text, subsets


def not_transposed(e):
    """The Jacobian itself where its transpose belongs: of a square one, J·g has the right shape too."""
    if not (e.jacobian and e.whole and e.N.shape[0] == e.N.shape[1] and e.explains(e.N.T)):
        return None
    moves = abs(e.N) > e.noise * e.scale
    if (moves.sum(axis=0) == 1).all() and (moves.sum(axis=1) == 1).all():
        return Diagnosis(
            "permuted",
            f"the VJP for {e.name} moves the elements of g on, as the function moves those of {e.name}, not back.",
            "Undo the order of the forward function: the inverse permutation (argsort of the indices), not the same.",
        )
    return Diagnosis(
        "transposed",
        f"the VJP for {e.name} gives J·g instead of Jᵀ·g: the function's own map, not its transpose.",
        "Apply the transpose: sums run over the outputs, in reverse; a rotation turns back.",
    )


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


def cotangent_moved(e):
    """The derivative would be right if g were flipped or shifted: the same as of the rows of the Jacobian."""
    if not e.jacobian or len(e.outs) != 1:
        return None
    shape = e.outs[0].shape
    N, A = e.N.reshape(*shape, -1), e.A.reshape(*shape, -1)
    for axes in subsets([a for a, n in enumerate(shape) if n > 1]):
        if e.same(np.flip(N, axes), A):
            return _moved_g("flipped", e, f"flipped along {axes_text(axes)}")
    for offset in offsets(shape):
        inside = within(offset, N.ndim)
        moved = np.roll(N, list(offset.values()), list(offset))
        if e.same(moved[inside], A[inside]) and not e.same(N[inside], A[inside]):
            return _moved_g("shifted", e, f"shifted by {offset_text(offset)}")


def _moved_g(kind, e, how):
    text = f"the VJP for {e.name} gives what would be right if the cotangent g were {how}."
    return Diagnosis(kind, text, "Look for an index that is off by one, or a slice in reverse, where the VJP reads g.")


def offsets(shape):
    """[{axis: shift}] by one or two along each axis, and by one along both of the last two."""
    last = range(max(0, len(shape) - 2), len(shape))
    found = [{a: s} for a in range(len(shape)) for s in (1, -1, 2, -2)]
    found += [dict(zip(last, s)) for s in itertools.product((1, -1), repeat=2)] if len(last) == 2 else []
    return [o for o in found if all(shape[a] > 2 * abs(s) for a, s in o.items())]


def within(offset, ndim):
    """The slices to where a shift has brought something in."""
    inside = [slice(None)] * ndim
    for a, s in offset.items():
        inside[a] = slice(s, None) if s > 0 else slice(None, s)
    return tuple(inside)


def offset_text(offset):
    return " and ".join(f"{s:+d} along axis {a}" for a, s in offset.items())


def other_input_moved(e):
    """The derivative would be right if another input were flipped or transposed: as of conv2d with flipped weights."""
    if e.numeric_at is None or not e.jacobian or not e.x.size:
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
    for offset in offsets(e.x.shape):
        inside = (slice(None), *within(offset, e.x.ndim))
        moved = np.roll(N, list(offset.values()), [a + 1 for a in offset])
        if e.same(moved[inside], A[inside]) and not e.same(N[inside], A[inside]):
            return Diagnosis(
                "shifted",
                f"the VJP for {e.name} gives the derivative shifted by {offset_text(offset)}.",
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

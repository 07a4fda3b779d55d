"""The hypotheses: what a wrong derivative looks like. Each takes the Evidence, and answers with a finding or None.

N is the numeric, A the analytic derivative. A hypothesis fits where the derivative that it predicts is A: it must
explain 98 % of the difference between N and A, in every entry of the Jacobian.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np


class Finding(NamedTuple):
    kind: str
    text: str
    advice: str


def no_gradient(e):
    if not e.A.any() and e.N.any():
        return Finding(
            "no gradient",
            f"the result depends on {e.name}, but its VJP gives 0, or no gradient reaches it.",
            "Give the op a VJP for it; and do not cut it with detach(), .data or no_grad().",
        )


def forgotten_cotangent(e):
    if e.analytic_of is None:
        return None
    v = e.cotangent
    w = np.random.default_rng(1).standard_normal(v.shape)
    one, other, both = (e.analytic_of(u) for u in (v, w, v + w))
    if abs(both - one - other).max(initial=0) <= 1e3 * e.noise * abs(both).max(initial=0):
        return None
    text = f"the VJP for {e.name} is not linear in g: the gradients for g and h do not add up to that for g + h"
    if np.array_equal(one, other):
        text = f"the VJP for {e.name} does not use the cotangent g: two of them give the same gradient"
        ones = np.ones_like(v)
        if e.jacobian and e.same(e.analytic_of(ones)[e.places], ones @ e.N):
            text += " (for g = 1 it is right)"
    return Finding("forgotten cotangent", f"{text}.", "Multiply by g: a VJP returns g · ∂out/∂x, summed over out.")


def wrong_fast_path(e):
    if e.analytic_of is None:
        return None
    try:
        recorded = e.analytic_of(e.cotangent, create_graph=True)[e.places]
    except Exception:  # then this is not the difference between the two
        return None
    right = e.cotangent @ e.N if e.jacobian else e.N[0]
    if e.same(recorded, right):
        return Finding(
            "wrong fast path",
            f"with create_graph=True, where the VJP for {e.name} receives Tensors, it is right, for arrays wrong.",
            "Compare the kernel that arrays take with the formula that Tensors take.",
        )


def constant_factor(e):
    c = float((e.A * e.N).sum() / (e.N * e.N).sum()) if e.N.any() else 0.0
    if not c or e.same(e.N, e.A) or not e.explains(c * e.N):
        return None
    name = name_of_factor(c, e)
    if c < 0 and math.isclose(c, -1, rel_tol=1e-5):
        advice = "Look for a sign."
    elif 0 < c < 1:
        advice = "Is a mean taken where a sum belongs, or a factor forgotten?"
    else:
        advice = "Is a sum taken where a mean belongs, a factor 1/n forgotten, or something added twice?"
    return Finding("constant factor", f"the VJP for {e.name} gives {name} times the derivative, everywhere.", advice)


def name_of_factor(c, e):
    """`0.25 = 1/4 (axis 0 of x has 4 elements)`: the number, and what it may be."""
    sizes = {}
    arrays = [(e.name, e.x), *e.others.items(), *[("the result", o) for o in e.outs]]
    for name, array in arrays:
        for axis, n in enumerate(array.shape):
            sizes.setdefault(n, f"axis {axis} of {name} has {n} elements")
    for name, array in arrays:
        sizes.setdefault(array.size, f"{name} has {array.size} elements")
    for n in (2, 3, 4):
        sizes.setdefault(n, "")
    sign, c = ("−" if c < 0 else ""), abs(c)
    near = lambda value: math.isclose(c, value, rel_tol=1e-5)
    if near(1):
        return f"{sign}1" if sign else f"{c:.8g}"
    powers = (1, "{}"), (-1, "1/{}"), (0.5, "√{}"), (-0.5, "1/√{}"), (2, "{}²"), (-2, "1/{}²")
    for (p, text), (n, why) in itertools.product(powers, sizes.items()):
        if n > 1 and near(n**p):
            return f"{sign}{'' if p == 1 else f'{c:.4g} = '}{text.format(n)}" + (f" ({why})" if why else "")
    for value, text in ((math.pi, "π"), (2 * math.pi, "2π"), (math.log(2), "ln 2"), (1 / math.log(2), "1/ln 2")):
        if near(value):
            return f"{sign}{text}"
    return f"{sign}{c:.6g}"


# ------------------------------------------------------------------------------------------------ at the wrong places


def transposed(e):
    if not e.whole or e.x.ndim < 2:
        return None
    N = e.of_x(e.N)
    for axes in itertools.permutations(range(e.x.ndim)):
        moved = N.transpose(0, *(a + 1 for a in axes))
        if list(axes) != sorted(axes) and e.explains(moved.reshape(e.N.shape)):
            reshaped = "" if moved.shape == N.shape else ", and reshaped"
            return Finding(
                "transposed",
                f"the VJP for {e.name} gives the derivative with its axes in the order {axes}{reshaped}.",
                "Transpose it back: gᵀ·x instead of xᵀ·g, or swap the subscripts. Unequal sizes show it.",
            )


def flipped(e):
    if not e.whole:
        return None
    for axes in subsets([a for a, n in enumerate(e.x.shape) if n > 1]):
        if e.explains(np.flip(e.of_x(e.N), [a + 1 for a in axes]).reshape(e.N.shape)):
            return Finding(
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
                return Finding(
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
            return Finding(
                "shifted",
                f"the VJP for {e.name} gives the derivative shifted by {by}.",
                "Look for an index that is off by one: a padding, an output_padding, a slice that begins at 1.",
            )


def permuted(e):
    if not e.whole or e.x.size < 3:
        return None
    N, A = (e.cotangent @ e.N, e.cotangent @ e.A) if e.jacobian else (e.N, e.A)
    if e.same(np.sort(N), np.sort(A)):
        return Finding(
            "permuted",
            f"the VJP for {e.name} gives the right numbers in another order.",
            "Undo the order of the forward function: the inverse permutation (argsort of the indices), not the same.",
        )


def swapped_inputs(e, evidence_of):
    for name, y in e.others.items():
        if y.shape == e.x.shape and e.whole:
            other = evidence_of(name)
            if other.N.shape == e.A.shape and e.explains(other.N):
                return Finding(
                    "swapped inputs",
                    f"the VJP for {e.name} gives the derivative for {name}.",
                    "Swap the two VJPs, or what they are multiplied with.",
                )


# ------------------------------------------------------------------------------------------------ sums


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
                return Finding(
                    "missing term",
                    f"the VJP for {e.name} leaves out what comes through output {k} of {len(e.outs)}.",
                    "With several outputs g is a tuple: add the contributions of all that are not None.",
                )
    counts = (abs(e.N) > e.noise * e.scale).sum(axis=0)
    if len(set(counts[counts > 0].tolist())) > 1:
        return Finding(
            "overlap assigned",
            f"where several outputs use the same element of {e.name}, only one of their contributions is kept.",
            "Add instead of assigning: dx[window] += ..., np.add.at or scatter_add, not dx[index] = ...",
        )
    return Finding(
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
                    return Finding(
                        "extra sum",
                        f"the VJP for {e.name} gives the derivative's {what} over {axes_text(axes)}, the same for all.",
                        "Keep that axis: the cotangent belongs to each element by itself.",
                    )
    if e.jacobian and len(e.outs) == 1:
        shape = e.outs[0].shape
        N = e.N.reshape(*shape, -1)
        for axes in subsets([a for a, n in enumerate(shape) if n > 1]):
            if e.explains(np.broadcast_to(N.sum(axes, keepdims=True), N.shape).reshape(e.N.shape)):
                return Finding(
                    "extra sum",
                    f"the VJP for {e.name} sums the cotangent g over {axes_text(axes)} of the result before using it.",
                    "Keep that axis of g: each element of the result has a derivative of its own.",
                )


# ------------------------------------------------------------------------------------------------ other factors, terms


def factor_of_an_input(e):
    for name, q in _companions(e):
        for p, text in ((1, "{}"), (-1, "1/{}"), (2, "{}²"), (-2, "1/{}²"), (0.5, "√{}"), (-0.5, "1/√{}")):
            if (p < 0 and not q.all()) or (p % 1 and (q < 0).any()):
                continue
            predicted = e.N * q**p
            norm = (predicted * predicted).sum()
            c = float((e.A * predicted).sum() / norm) if norm else 0.0
            if c and e.explains(c * predicted):
                times = "" if math.isclose(c, 1, rel_tol=1e-4) else f"{name_of_factor(c, e)} · "
                return Finding(
                    "factor of an input",
                    f"the VJP for {e.name} gives {times}{text.format(name)} times the derivative.",
                    f"A factor {name} is {'too many' if p > 0 else 'missing'}.",
                )


def missing_term(e):
    """N − A is q times one number for each line along some axes: the derivative of a mean, sum or norm over them."""
    if not e.whole or e.x.size < 3:
        return None
    D = e.of_x(e.N - e.A)
    same_shape = [(n, q.reshape(1, *e.x.shape)) for n, q in _companions(e, rows=False)]
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
                return Finding(
                    "missing term",
                    f"what is missing (numeric − VJP) is {f'{name} times ' if name else ''}one number for all elements "
                    f"of {e.name} along {axes_text(axes)}: a mean, sum or norm over them was not differentiated.",
                    f"Differentiate that statistic too: its term is the same along {axes_text(axes)}"
                    f"{f', times {name}' if name else ''}.",
                )


def _companions(e, rows=True):
    """[(name, values)] to multiply columns (arrays that fit x) or rows (those that fit the result) with."""
    found = []
    outs = [("out" if len(e.outs) == 1 else f"out[{k}]", o) for k, o in enumerate(e.outs)]
    named = [(e.name, e.x), *outs, *e.others.items()]
    for name, q in named:
        if q.ndim <= e.x.ndim and q.size > 1 and _broadcasts(q.shape, e.x.shape):
            found.append((name, np.broadcast_to(q, e.x.shape).reshape(1, -1)[:, e.places]))
    if rows and e.jacobian and len(e.outs) == 1:
        shape = e.outs[0].shape
        for name, q in named:
            if q.size > 1 and _broadcasts(q.shape, shape) and q.shape != e.x.shape:
                found.append((name, np.broadcast_to(q, shape).reshape(-1, 1)))
    plain = list(found)
    found += [(f"(1 − {name})", 1 - q) for name, q in plain] + [(f"(1 + {name})", 1 + q) for name, q in plain]
    return found


def _broadcasts(shape, to):
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1]))


def partly_wrong(e):
    wrong = e.wrong()
    count, total = int(wrong.sum()), len(wrong)
    rows = e.wrong_entries().any(axis=1)
    if count < total:
        where = where_wrong(e, wrong)
        text = f"the VJP for {e.name} is right at {total - count} of {total} elements, and wrong {where}"
    elif e.jacobian and not rows.all() and len(e.outs) == 1 and e.outs[0].ndim:
        right = [int(i) for i in np.argwhere(~rows.reshape(e.outs[0].shape))[0]]
        text = f"the VJP for {e.name} is right for {int((~rows).sum())} of {rows.size} outputs, such as {right}"
    else:
        return None
    N, A = e.N[:, wrong], e.A[:, wrong]
    c = float((A * N).sum() / (N * N).sum()) if N.any() else math.nan
    if count < total and e.same(c * N, A):
        text += f"; there it gives {name_of_factor(c, e) if c else '0'}" + (" times the derivative" if c else "")
    return Finding(
        "partly wrong", f"{text}.", "Look at the case that these have in common: a branch, a mask, a border."
    )


def where_wrong(e, wrong):
    """In words: by the value of x, by an index along an axis, or the first of them."""
    first = [int(i) for i in np.unravel_index(e.places[np.flatnonzero(wrong)[0]], e.x.shape)]
    if wrong.sum() == 1:
        return f"at {first}"
    x = e.x.reshape(-1)[e.places]
    for name, q in [(e.name, x), *[(n, o.reshape(-1)[e.places]) for n, o in e.others.items() if o.shape == e.x.shape]]:
        q = q - x if name != e.name else q
        label = name if name == e.name else f"{name} − {e.name}"
        if len(wrong) >= 4 and wrong.any() and not wrong.all():
            for sign, low, high in (("<", q[wrong], q[~wrong]), (">", q[~wrong], q[wrong])):
                if low.max() < high.min():
                    border = 0.0 if low.max() <= 0 <= high.min() else (low.max() + high.min()) / 2
                    return f"exactly where {label} {sign} {border:.4g}"
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
    return f"at {first} and {int(wrong.sum()) - 1} more"


def subsets(axes):
    """All non-empty subsets, small ones first."""
    return [s for n in range(1, len(axes) + 1) for s in itertools.combinations(axes, n)]


def axes_text(axes):
    return f"ax{'i' if len(axes) == 1 else 'e'}s {', '.join(map(str, axes))}"

"""What the hypotheses share: the words for numbers and axes, and the arrays to compare with."""

import itertools
import math

import numpy as np


def name_of_factor(c, e):
    """`0.25 = 1/4 (axis 0 of x has 4 elements)`: the number, and what it may be."""
    sizes = {}
    arrays = [(e.name, e.x), *e.others.items(), *[("the result", o) for o in e.outs]]
    for name, array in arrays:
        for axis, n in enumerate(array.shape):
            sizes.setdefault(n, f"axis {axis} of {name} has {n} elements")
    for name, array in arrays:
        sizes.setdefault(array.size, f"{name} has {array.size} elements")
    for name, array in arrays:
        for axes in subsets(range(array.ndim)):
            n = math.prod(array.shape[a] for a in axes)
            sizes.setdefault(n, f"{axes_text(axes)} of {name} together have {n} elements")
    for n in (2, 3, 4):
        sizes.setdefault(n, "")
    sign, c = ("−" if c < 0 else ""), abs(c)
    near = lambda value: math.isclose(c, value, rel_tol=1e-5)
    if near(1):
        return f"{sign}1" if sign else f"{c:.8g}"
    powers = (1, "{}"), (-1, "1/{}"), (0.5, "√{}"), (-0.5, "1/√{}"), (2, "{}²"), (-2, "1/{}²")
    for (p, text), (n, why) in itertools.product(powers, sizes.items()):
        if n > 1 and near(n**p):
            perhaps = "perhaps as " if n <= 5 else ""  # small numbers come about in other ways
            return f"{sign}{'' if p == 1 else f'{c:.4g} = {sign}'}{text.format(n)}" + (
                f" ({perhaps}{why})" if why else ""
            )
    for value, text in ((math.pi, "π"), (2 * math.pi, "2π"), (math.log(2), "ln 2"), (1 / math.log(2), "1/ln 2")):
        if near(value):
            return f"{sign}{text}"
    return f"{sign}{c:.6g}"


def subsets(axes):
    """All non-empty subsets, small ones first."""
    return [s for n in range(1, len(axes) + 1) for s in itertools.combinations(axes, n)]


def axes_text(axes):
    return f"ax{'i' if len(axes) == 1 else 'e'}s {', '.join(map(str, axes))}"


def companions(e, rows=True):
    """[(name, values)] to multiply columns (arrays that fit x) or rows (those that fit the result) with."""
    found = []
    outs = [("out" if len(e.outs) == 1 else f"out[{k}]", o) for k, o in enumerate(e.outs)]
    named = [(e.name, e.x), *outs, *e.others.items()]
    for name, q in named:
        if q.ndim <= e.x.ndim and q.size > 1 and broadcasts(q.shape, e.x.shape):
            found.append((name, np.broadcast_to(q, e.x.shape).reshape(1, -1)[:, e.places]))
    if rows and e.jacobian and len(e.outs) == 1:
        shape = e.outs[0].shape
        for name, q in named:
            if q.size > 1 and broadcasts(q.shape, shape) and q.shape != e.x.shape:
                found.append((name, np.broadcast_to(q, shape).reshape(-1, 1)))
    plain = list(found)
    found += [(f"(1 − {name})", 1 - q) for name, q in plain] + [(f"(1 + {name})", 1 + q) for name, q in plain]
    return found


def broadcasts(shape, to):
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1]))

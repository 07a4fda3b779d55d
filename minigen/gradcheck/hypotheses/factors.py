"""Wrong by a factor, or not a product with g at all."""

import math

import numpy as np

from ..report import Diagnosis
from ..soundness import NOT_LINEAR
from .words import companions, name_of_factor


def no_gradient(e):
    if not e.A.any() and e.N.any():
        return Diagnosis(
            "no gradient",
            f"the result depends on {e.name}, but its VJP gives 0, or no gradient reaches it.",
            "Give the op a VJP for it; and do not cut it with detach(), .data or no_grad().",
        )


def no_influence(e):
    if e.scale and abs(e.N).max(initial=0) <= e.noise * e.scale:
        return Diagnosis(
            "ignored input",
            f"the result does not change with {e.name} at this point, but the VJP for it gives something.",
            "If the result moves in steps (round, sign, argmax) and the VJP is meant (a straight-through estimator), "
            "it is no derivative, and no check can pass. Else: is an argument forgotten?",
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
        return Diagnosis(
            "forgotten cotangent", f"{text}.", "Multiply by g: a VJP returns g · ∂out/∂x, summed over out."
        )
    return Diagnosis("forgotten cotangent", f"{text}.", NOT_LINEAR)


def wrong_fast_path(e):
    if e.analytic_of is None:
        return None
    try:
        recorded = e.analytic_of(e.cotangent, create_graph=True)[e.places]
    except Exception:  # then this is not the difference between the two
        return None
    right = e.cotangent @ e.N if e.jacobian else e.N[0]
    given = e.analytic_of(e.cotangent)[e.places]
    if e.same(recorded, right) and not e.same(recorded, given):
        return Diagnosis(
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
    return Diagnosis("constant factor", f"the VJP for {e.name} gives {name} times the derivative, everywhere.", advice)


def factor_of_an_input(e):
    for name, q in companions(e):
        for p, text in ((1, "{}"), (-1, "1/{}"), (2, "{}²"), (-2, "1/{}²"), (0.5, "√{}"), (-0.5, "1/√{}")):
            if (p < 0 and not q.all()) or (p % 1 and (q < 0).any()):
                continue
            predicted = e.N * q**p
            norm = (predicted * predicted).sum()
            c = float((e.A * predicted).sum() / norm) if norm else 0.0
            if c and e.explains(c * predicted):
                times = "" if math.isclose(c, 1, rel_tol=1e-4) else f"{name_of_factor(c, e)} · "
                factor = f"√{name}" if abs(p) < 1 else name
                return Diagnosis(
                    "factor of an input",
                    f"the VJP for {e.name} gives {times}{text.format(name)} times the derivative.",
                    f"A factor {factor} is {'too many' if p > 0 else 'missing'}.",
                )

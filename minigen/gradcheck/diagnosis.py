"""The diagnosis: after a failure, what is wrong, and in which op."""

import math
from dataclasses import replace

import numpy as np

from ..autograd import Op
from .compare import Comparison, first_order
from .evidence import first_order_evidence, scalar_evidence
from .hypotheses import FIRST_ORDER, IN_G
from .locate import cut_inputs, overwritten, recorded_calls
from .report import Diagnosis, Element
from .stages import RECORDED, Stages
from .subject import random_like

KINDS = {
    "constant factor": "the gradient is the derivative times one number",
    "factor of an input": "the gradient is the derivative times a power of an input or of the result",
    "forgotten cotangent": "the VJP does not depend linearly on g",
    "transposed": "the right numbers with the axes in another order",
    "flipped": "the right numbers in reverse along some axes",
    "shifted": "the right numbers, off by one",
    "permuted": "the right numbers in another order",
    "swapped inputs": "the gradient of another input",
    "missing sum": "only some of the contributions along an axis arrive",
    "extra sum": "summed over an axis that should have been kept",
    "overlap assigned": "where windows overlap, one contribution is kept instead of their sum",
    "missing term": "a mean, sum or norm, or an output, was not differentiated",
    "partly wrong": "right at some elements, wrong at others",
    "constant statistic": "first order right, second wrong: something was taken as a constant in the VJP",
    "wrong fast path": "the VJP gives other values for arrays than for Tensors",
    "breaks under create_graph": "the VJP raises for Tensors, or cuts the graph",
    "no gradient": "the result depends on the input, but no gradient comes",
    "ignored input": "the result does not depend on the input",
    "hidden from the graph": "every op is right, but something happens between them that is not recorded",
    "modified in place": "an input, weight, cotangent or saved array was changed",
    "not deterministic": "two calls, two results",
    "hidden state": "a VJP uses what the last call left behind, not what its own call saved",
    "kink": "the slopes to the left and to the right differ",
    "nan": "a NaN or infinity",
    "wrong dtype": "float64 in and float32 out, or the reverse",
    "wrong shape": "a gradient of a shape that cannot be right",
    "VJP raises": "the VJP raises an exception",
    "memory layout": "wrong for this memory layout of the inputs only",
    "out of precision": "the numeric derivative cannot be trusted here",
    "unknown": "none of these",
}
BETWEEN_MACHINES = {  # what the command finds besides, where it compares precisions and devices (showing/parity.py)
    "float32 differs": "values or gradients in float32 are not those in float64",
    "GPU differs": "values or gradients on the GPU are not those on the CPU",
    "GPU fails": "it does not run on the GPU",
}

UNKNOWN = Diagnosis(
    "unknown",
    "none of the known mistakes explains the difference.",
    "Derive the VJP again, and check its parts; a smaller input may say more.",
)


def diagnose(stages, report):
    """Fill in the failing report's diagnosis, op and maps."""
    if report.diagnosis is None:
        guilty = find_guilty(stages)
        if guilty is not None:
            call, inner, found = guilty
            explain(inner, found)
            report.diagnosis, report.maps = found.diagnosis, found.maps
            if str(call.op) != stages.subject.title:
                report.op = call.describe() + (f"; there {found.worst}" if found.worst else "")
        else:
            report.diagnosis = _not_to_be_trusted(stages)
            explain(stages, report)


def _not_to_be_trusted(stages):
    """The Diagnosis where the numeric derivative is none; else None."""
    outcome = stages.comparison.outcome
    if not math.isfinite(outcome.numeric):
        return Diagnosis(
            "nan",
            "the function is finite at this point, but not at points close by: it lies on the edge of its domain.",
            "Check at inputs inside the domain.",
        )
    if not outcome.agree and outcome.doubt > 0.5 * abs(outcome.numeric - outcome.analytic):
        return Diagnosis(
            "out of precision",
            "differences of different steps give different derivatives, so that none can be trusted"
            + (f": they are uncertain by {outcome.doubt:.1e}." if math.isfinite(outcome.doubt) else "."),
            "Check at inputs of ordinary size, and a function that varies smoothly over them; with dtype='float32', "
            "if it computes in float32 inside.",
        )


def find_guilty(stages):
    """(Call, its Stages, its failing Report) of the op that is to blame; None: no op, or the subject is one itself."""
    calls, inner = recorded_calls(stages.subject, stages.cotangents)
    calls = [] if isinstance(stages.subject.f, Op) else calls
    first = [(c, 1) for c in (calls if stages.what != "second" else calls + inner)]
    second = [(c, 2) for c in calls]  # a first derivative may need second ones: of a loss that holds a gradient
    for call, order in first + second:
        its = Stages(call.subject(stages.subject.low), order, tol=stages.tol)
        found = its.run()
        unclear = found.diagnosis is None and _not_to_be_trusted(its)
        if not found and not unclear and (found.diagnosis is None or found.diagnosis.kind != "kink"):
            return call, its, found
    return None


def explain(stages, report):
    """The diagnosis of what is to blame itself."""
    if report.diagnosis is not None:
        return
    names = [e.name for e in report.elements]
    i = stages.comparison.names.index(names[0]) if names else 0
    evidence = _evidence(stages, i)
    if evidence.whole and evidence.x.size:
        report.maps = {evidence.name: evidence.maps()}
        if names:
            report.elements[0] = _worst(evidence, *evidence.maps(), report.elements[0])
    report.diagnosis = _diagnosis(stages, report, evidence)
    healthy = [n for n in stages.comparison.names if n not in names and not n.startswith("cotangent")]
    if (
        stages.what != "second"
        and names
        and healthy
        and report.diagnosis.kind not in ("hidden from the graph", "not deterministic")
    ):
        diagnosis = report.diagnosis
        report.diagnosis = replace(diagnosis, text=f"{diagnosis.text} {_right_ones(healthy)}")


def _worst(evidence, numeric, analytic, found):
    """The worst Element of all, where all are known."""
    index = np.unravel_index(abs(numeric - analytic).argmax(), evidence.x.shape)
    place = tuple(int(k) for k in index)
    return Element(found.name, place, float(numeric[index]), float(analytic[index]), found.reached)


def _right_ones(names):
    """`The gradient of x is right.`, `The gradients of x, w and 3 more are right.`"""
    if len(names) == 1:
        return f"The gradient of {names[0]} is right."
    shown = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
    return f"The gradients of {', '.join(shown[:-1])} and {shown[-1]} are right."


def _evidence(stages, i):
    if stages.what == "second":
        return scalar_evidence(stages.comparison, i)
    return first_order_evidence(stages.comparison, stages.subject, stages.cotangents, i)


def _diagnosis(stages, report, e):
    subject = stages.subject
    changed = overwritten(subject)
    if changed:
        return Diagnosis("modified in place", changed, "Make a new array instead: backward needs the old values.")
    if _right_when_contiguous(stages):
        return Diagnosis(
            "memory layout",
            f"wrong only for this memory layout (strides {strides(subject, stages.cotangents)}): contiguous copies "
            f"pass.",
            "Use axes, not memory order: no ravel(order='K'), no .reshape of a transposed array in place, no .strides.",
        )
    cut = [] if isinstance(subject.f, Op) else cut_inputs(subject, stages.rng)
    if cut:
        unreached = not e.A.any()
        return Diagnosis(
            "no gradient" if unreached else "hidden from the graph",
            f"{'no gradient leads back to ' + e.name if unreached else 'every op is right by itself'}: {cut[0]} with "
            f"the inputs.",
            "It was cut by .data, .numpy(), detach() or NumPy: use minigen's functions all the way. (Where that is "
            "meant, the gradient is not the derivative, and no check can pass.)",
        )
    if stages.what == "second":
        return _second_order(stages, e)
    if stages.what == RECORDED:
        return Diagnosis(
            "wrong fast path",
            f"the VJP for {e.name} is right where it receives arrays; where it receives Tensors (create_graph=True) it "
            f"gives something else.",
            "Compare the formula that Tensors take with the kernel that arrays take.",
        )
    e.evidence_of = lambda name: _evidence(stages, stages.comparison.names.index(name))
    return _first_that_fits(FIRST_ORDER, e)


def _first_that_fits(hypotheses, e):
    fitting = (hypothesis(e) for hypothesis in hypotheses)
    found = next((f for f in fitting if f is not None), UNKNOWN)
    return found if e.whole else replace(found, text=f"{found.text} {e.part}")


def _second_order(stages, e):
    if e.name.startswith("cotangent"):
        if not e.A.any():
            return Diagnosis(
                "breaks under create_graph",
                "the VJP's result is not connected with g: the graph is cut inside the VJP.",
                "Do not take .data or .numpy() of g, and use minigen's functions, not NumPy's.",
            )
        found = _first_that_fits(IN_G, e)
        where = "of the VJP's own derivative in g: " if found.kind != UNKNOWN.kind else ""
        return replace(found, text=where + found.text)
    part = "does not depend on it at all" if not e.A.any() else "depends on it only in part"
    return Diagnosis(
        "constant statistic",
        f"the first derivative is right, but as recorded with create_graph=True it {part} ({e.name}): something that "
        f"was computed from {e.name} is taken as a constant in a VJP.",
        "Let the VJP name the input or out and compute from it with operators: not from .data, nor from a value saved "
        "beside it.",
    )


def _right_when_contiguous(stages):
    subject = stages.subject
    if all(x.flags.c_contiguous for x in subject.point + stages.cotangents) or stages.what == "second":
        return False
    point, cotangents = ([x.copy(order="C") for x in xs] for xs in (subject.point, stages.cotangents))
    function = first_order(subject, cotangents, stages.what == RECORDED)
    rng = np.random.default_rng(0)
    comparison = Comparison(function, point, subject.names, rng, stages.steps, stages.tol, subject.low)
    return comparison.along([random_like(x, rng) for x in point]).agree


def strides(subject, cotangents):
    named = [*zip(subject.names, subject.point), *(("g", v) for v in cotangents)]
    return ", ".join(f"{name} {x.strides}" for name, x in named if not x.flags.c_contiguous)

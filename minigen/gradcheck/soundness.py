"""Before anything is compared: does the function give numbers, the same each time, and leave its inputs alone?

And do its VJPs run, give numbers of the right dtype and shape, and change nothing? Each check raises Fault.
"""

import traceback

import numpy as np

from ..autograd import Tensor, grad
from ..backend import namespace, to_numpy
from .report import Fault
from .subject import describe_kind, typical_size


def sound_outputs(subject):
    """The float outputs at the point, once it is clear that a comparison can mean something."""
    handed = [to_numpy(x) if hasattr(x, "dtype") else None for x in subject.inputs]
    before, originals = [x.copy() for x in subject.point], [None if x is None else x.copy() for x in handed]
    for name, x in zip(subject.names, subject.point):
        if not namespace(x).isfinite(x).all():
            raise Fault("nan", f"the input {name} is not finite.", "Check where inputs are numbers.")
    leaves, outputs = subject(subject.point)
    _changed(subject, subject.point, before, "calling it")
    for name, t, x in zip(subject.names, leaves, subject.point):
        if t.data is not x:
            raise _in_place(f"calling it replaced the array of {name}")
    for i, (x, old) in enumerate(zip(handed, originals)):
        if old is not None and not _equal(x, old):
            raise _in_place(f"calling it changed inputs[{i}]")
    if not outputs:
        raise ValueError(
            f"gradcheck({subject.title}): expected a Tensor of floats, or a tuple of them, as the result; "
            f"got {describe_kind(subject.result)}.{' Is a `return` missing?' if subject.result is None else ''}"
        )
    _, again = subject(subject.point)
    for y, z in zip(outputs, again):
        if not isinstance(y, Tensor):
            raise Fault(
                "no gradient",
                "the result is an array, not a Tensor: no derivative is recorded.",
                "Do not take .data or .numpy() on the way, and use minigen's functions instead of NumPy's.",
            )
        if y.dtype != np.float64 and subject.low is None:
            raise Fault(
                "wrong dtype",
                f"the result is {y.dtype} for float64 inputs.",
                "Take the dtype from the inputs (x.dtype) instead of naming one, or check with dtype='float32'.",
            )
        if not namespace(y.data).isfinite(y.data).all():
            raise _not_finite(subject, y)
        if y.shape != z.shape or float(abs(y.data - z.data).sum()) > 1e-9 * float(abs(y.data).sum()):
            raise Fault(
                "not deterministic",
                "two calls with the same inputs gave different results.",
                "Seed its random numbers inside, keep no state between calls, or call eval() first.",
            )
    return outputs


def sound_gradients(subject, cotangents, create_graph):
    """Run the VJPs at the point, twice on one graph: they must not raise, change anything, or make a NaN."""
    point = subject.lowered()
    leaves, outputs = subject(point)
    outputs, cotangents = zip(*[(y, v) for y, v in zip(outputs, cotangents) if y.node is not None])
    before, kept = [x.copy() for x in point], [v.copy() for v in cotangents]
    saved = _saved(outputs)
    try:
        first = pull(outputs, leaves, cotangents, create_graph)
    except Exception as error:
        raise _raised(error, create_graph) from error
    _changed(subject, point, before, "its VJP")
    if any(not _equal(v, k) for v, k in zip(cotangents, kept)):
        raise _in_place("its VJP changed the cotangent g")
    for op, name, value, copy in saved:
        if not _equal(value, copy):
            raise _in_place(f"the VJP of {op} changed {name!r}, which was saved for it", op)
    second = pull(outputs, leaves, cotangents, create_graph)
    for name, x, a, b in zip(subject.names, point, first, second):
        if a is None:
            continue
        if a.dtype != x.dtype:
            raise Fault(
                "wrong dtype",
                f"the gradient of {name} is {a.dtype} for a {x.dtype} input.",
                "Take the dtype in the VJP from g (g.dtype) instead of naming one.",
            )
        finite_gradient(name, x, a.data, "gradient")
        if float(abs(a.data - b.data).sum()) > 1e-9 * float(abs(a.data).sum()):
            raise Fault(
                "not deterministic",
                f"two backward passes through the same graph gave different gradients of {name}.",
                "Draw random numbers in the forward function only, and let the VJP name what was drawn: return the "
                "mask as a second output, or pass it as an input.",
            )


def finite_gradient(name, x, g, what):
    """Raise Fault where a gradient is NaN or infinite, though the value is finite."""
    finite = namespace(g).isfinite(g)
    if not finite.all():
        index = [int(k) for k in np.argwhere(to_numpy(~finite))[0]]
        raise Fault(
            "nan",
            f"the value is finite, but the {what} of {name} is {float(g[tuple(index)])} at {index}, "
            f"where {name} is {float(x[tuple(index)]):.6g}.",
            "Is there a division by 0, a log or sqrt at 0, or 0·∞ behind a `where`? Clip before, not after.",
        )


def pull(outputs, leaves, cotangents, create_graph=False):
    """[vᵀJ for each leaf, or None], summed over the outputs."""
    total = [None] * len(leaves)
    for y, v in zip(outputs, cotangents):
        for i, g in enumerate(grad(y, leaves, v, create_graph, allow_unused=True)):
            if g is not None:
                total[i] = g if total[i] is None else total[i] + g
    return total


def linear_in_g(subject, cotangents, comparison):
    """Raise Fault unless the VJPs are linear in g, as every VJP is: for sums of cotangents, large and small ones."""
    leaves, outputs = subject(subject.lowered())
    outputs, one = zip(*[(y, v) for y, v in zip(outputs, cotangents) if y.node is not None])
    other = [namespace(v).flip(v) * -0.7 for v in one]
    pulled = lambda cotangents: pull(outputs, leaves, cotangents)
    times = lambda c, xs: [None if x is None else x * c for x in xs]
    first, second, both = pulled(one), pulled(other), pulled([v + w for v, w in zip(one, other)])
    added = [None if a is None else a + b for a, b in zip(first, second)]
    twins = [(added, both, 1.0, "those for g and h do not add up to that for g + h")]
    for c in (2.0**20, 2.0**-20):  # powers of 2 are exact: nothing is rounded
        text = f"that for {c:.0e}·g is not {c:.0e} times that for g"
        twins.append((times(c, first), pulled(times(c, one)), 0.0, text))
    relative = 1e-9 if subject.low is None else 1e-3
    rounding = 100 * np.finfo(subject.low or np.float64).eps * comparison.size
    for expected, found, rounded, text in twins:
        for name, x, a, b in zip(subject.names, subject.point, expected, found):
            if a is None or not a.size:
                continue
            allowed = relative * float(abs(a.data).max()) + rounded * rounding / typical_size(x)
            if float(abs(a - b).data.max()) > allowed:
                raise Fault(
                    "forgotten cotangent",
                    f"the VJP for {name} is not linear in g: of its gradients, {text}.",
                    NOT_LINEAR,
                )


NOT_LINEAR = "A VJP adds up elements of g times numbers: it may not clip, sort, sign, square or compare g."


def holds_no_state(subject, cotangents, create_graph):
    """Raise Fault where a call at another point, before backward, changes the gradients."""
    point = subject.lowered()
    gradients = []
    for elsewhere in (None, [namespace(x).flip(x) * x.dtype.type(0.7) for x in point]):  # of the same signs and sizes
        leaves, outputs = subject(point)
        if elsewhere is not None:
            values = [_array(y).copy() for y in outputs]
            subject(elsewhere)
            if any(not _equal(_array(y), v) for y, v in zip(outputs, values)):
                raise _in_place("calling it again changed the result of the first call: it writes both into one array")
            for p, x in zip(subject.parameters, point[len(subject.places) :]):
                p.data = x
        live = [(y, v) for y, v in zip(outputs, cotangents) if y.node is not None]
        gradients.append(pull([y for y, _ in live], leaves, [v for _, v in live], create_graph))
    for name, a, b in zip(subject.names, *gradients):
        if a is not None and not _equal(a.data, b.data):
            raise Fault(
                "hidden state",
                f"the gradient of {name} changes when the function is called once more, elsewhere, before backward.",
                "The VJP uses what the last call left in an attribute or a global: let it name what it needs, so that "
                "each call keeps its own; return a mask as a second output.",
            )


# ------------------------------------------------------------------------------------------------ the faults


def _array(x):
    return to_numpy(x.data if isinstance(x, Tensor) else x)


def _equal(a, b):
    a, b = to_numpy(a), to_numpy(b)
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _changed(subject, point, before, who):
    for name, x, old in zip(subject.names, point, before):
        if not _equal(x, old):
            raise _in_place(f"{who} changed {name}")


def _in_place(text, op=None):
    advice = "Make a new array (x = x + y, not x += y; no out=, no x[...] =), or work on a copy."
    return Fault("modified in place", f"{text}.", advice, op)


def _not_finite(subject, y):
    index = [int(k) for k in np.argwhere(to_numpy(~namespace(y.data).isfinite(y.data)))[0]]
    made = f" made by the op {y.node.op}" if y.node is not None and y.node.op is not None else ""
    same = [f"{n} = {float(x[tuple(index)]):.6g}" for n, x in zip(subject.names, subject.point) if x.shape == y.shape]
    where = f" at {index}" + (f", where {', '.join(same)}" if same else "")
    return Fault(
        "nan",
        f"the result{made} is {float(y.data[tuple(index)])}{where}.",
        "Check at inputs where the function is defined; `with minigen.debug():` names the op that makes the first NaN.",
    )


def _raised(error, create_graph):
    where = next((n for n in getattr(error, "__notes__", []) if n.startswith("in the VJP of ")), "in a VJP")
    op = where.removeprefix("in the VJP of ").split(" for ")[0] if " for " in where else None
    line = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {str(error).strip().rstrip('.') or 'no message'}."
    if "VJP returned a gradient of shape" in str(error):
        return Fault(
            "wrong shape",
            f"{where}: {error}",
            "Sum over the axes that broadcasting added, and transpose or reshape to the input's shape.",
            op,
        )
    if "backward.py" in line.filename and isinstance(error, AttributeError):
        kind = type(error.obj).__name__ if getattr(error, "obj", None) is not None else "no array"
        return Fault("wrong shape", f"{where}: it returns {kind}, not an array.", "Return an array of x's shape.", op)
    if create_graph:
        return Fault(
            "breaks under create_graph",
            f"for arrays the VJP runs, for Tensors it raises, {where} (line {line.lineno}): {said}",
            "Write the VJP with operators, methods that arrays and Tensors share, and minigen's functions.",
            op,
        )
    return Fault("VJP raises", f"{where} (line {line.lineno}): {said}", "Run that line by hand with small arrays.", op)


def _saved(outputs):
    """[(op, name, array, copy)] of all arrays saved for backward."""
    found, seen, stack = [], set(), [y.node for y in outputs]
    while stack:
        node = stack.pop()
        if node is None or node.serial in seen:
            continue
        seen.add(node.serial)
        stack.extend(node.parents)
        for name, value in node.saved.items():
            for v in value if isinstance(value, tuple | list) else (value,):
                if hasattr(v, "dtype") and getattr(v, "ndim", 0):
                    found.append((str(node.op), name, v, to_numpy(v).copy()))
    return found


# ------------------------------------------------------------------------------------------------ float32


def keeps_float32(subject):
    """Of an op or Module: float32 in, float32 out and back. Raises Fault where something else comes out."""
    for p in subject.frozen:
        p.data = p.data.astype(np.float32)
    leaves, outputs = subject([x.astype(np.float32) for x in subject.point])
    advice = "A NumPy scalar or a float64 constant has crept in: use Python numbers, or take the dtype from x."
    for y in outputs:
        if y.dtype != np.float32:
            raise Fault("wrong dtype", f"the result is {y.dtype} for float32 inputs.", advice)
    live = [y for y in outputs if y.node is not None]
    ones = [namespace(y.data).ones_like(y.data) for y in live]
    for name, g in zip(subject.names, pull(live, leaves, ones)):
        if g is not None and g.dtype != np.float32:
            raise Fault("wrong dtype", f"the gradient of {name} is {g.dtype} for a float32 input.", advice)

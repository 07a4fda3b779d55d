"""The evidence for a diagnosis: the numeric and the analytic derivative of one input, in full where it is small."""

import time
from dataclasses import dataclass, field

import numpy as np

from ..backend import namespace, to_numpy
from .soundness import pull

MAX_ELEMENTS = 4096  # of an input whose derivative is computed in full
SAMPLE = 192  # of a larger one, so many are looked at
MAX_JACOBIAN = 2**21  # entries
SECONDS = 15.0  # of this thread's own computing, so that a busy machine cuts nothing short; then what is there must do
STEP = 1e-5  # relative; of central differences with one Richardson extrapolation


@dataclass
class Evidence:
    """N and A, numeric and analytic: (rows, elements of x) each, float64.

    A row belongs to one element of the output where `jacobian` (then N and A are Jacobians), else to one cotangent.
    """

    name: str  # of the input x
    x: np.ndarray
    places: np.ndarray  # the flat places of x that the columns stand for
    N: np.ndarray
    A: np.ndarray
    gradient: np.ndarray  # what the VJPs give for the cotangent of the check, of x's shape
    jacobian: bool
    outs: list  # the outputs' values
    cotangent: np.ndarray | None  # of the check, of all outputs, flat; None: the rows have theirs in them
    others: dict = field(default_factory=dict)  # the other arrays of the point, by name
    noise: float = 3e-8  # what the numbers may be wrong by, relative to the largest
    numeric_at: object = None  # {name: array} -> N with these arrays instead
    analytic_of: object = None  # (cotangent, create_graph) -> a row of A
    evidence_of: object = None  # name -> the Evidence about another array

    @property
    def whole(self):
        """Whether there is a column for every element of x."""
        return len(self.places) == self.x.size

    @property
    def part(self):
        """How much of x the evidence is about, in words, where it is not whole."""
        return f"Only {len(self.places)} of {self.x.size} elements of {self.name} were looked at."

    @property
    def scale(self):
        return max(_largest(self.N), _largest(self.A))

    @property
    def mismatch(self):
        return _largest(self.N - self.A)

    def explains(self, candidate):
        """Whether `candidate` is what the VJP gives."""
        return candidate.shape == self.A.shape and self.same(candidate, self.A)

    def same(self, a, b):
        """Whether a and b are equal: they may leave 2 % of the difference between N and A."""
        return _largest(a - b) <= max(0.02 * self.mismatch, self.noise * self.scale)

    def wrong_entries(self):
        return abs(self.N - self.A) > max(1e-5 * self.mismatch, 3 * self.noise * self.scale)

    def wrong(self):
        """(elements of x): where N and A disagree, in any row."""
        return self.wrong_entries().any(axis=0)

    def of_x(self, J):
        """J as (rows, *x.shape)."""
        return J.reshape(-1, *self.x.shape)

    def maps(self):
        """(numeric, analytic) of x's shape, for the cotangent of the check."""
        numeric = self.cotangent @ self.N if self.jacobian else self.N[0]
        return numeric.reshape(self.x.shape), self.gradient


def _largest(a):
    return float(abs(a).max(initial=0))


def first_order_evidence(comparison, subject, cotangents, i):
    """Evidence about array `i` of the point: a Jacobian where that is small enough, else for three cotangents."""
    leaves, outputs = subject(subject.lowered())
    sizes = [y.size for y in outputs]
    v = np.concatenate([to_numpy(c).reshape(-1) for c in cotangents])

    def analytic_of(row, create_graph=False):
        live = []
        for y, part in zip(outputs, np.split(row, np.cumsum(sizes)[:-1])):
            if y.node is not None:
                live.append((y, namespace(y.data).asarray(part.reshape(y.shape), y.dtype)))
        if not live:
            return np.zeros(subject.point[i].size)
        (g,) = pull([y for y, _ in live], [leaves[i]], [part for _, part in live], create_graph)
        return np.zeros(subject.point[i].size) if g is None else to_numpy(g.data).reshape(-1).astype(float)

    x = subject.point[i]
    jacobian = len(v) * min(x.size, MAX_ELEMENTS) <= MAX_JACOBIAN and len(v) <= 1024
    rows = np.eye(len(v)) if jacobian else np.stack([v, *np.random.default_rng(0).standard_normal((2, len(v)))])

    def outs(arrays):
        values = np.concatenate([to_numpy(y.data).reshape(-1) for y in subject(arrays)[1]])
        return values if jacobian else rows @ values

    def numeric_at(changes):
        arrays = [changes.get(n, a) for n, a in zip(subject.names, subject.point)]
        return np.stack([_column(outs, arrays, i, comparison.scales[i], k) for k in places], axis=1)

    places, columns = _measured(outs, subject.point, i, comparison.scales[i])
    return _without_masked(
        comparison,
        i,
        Evidence(
            subject.names[i],
            to_numpy(x),
            places,
            columns,
            np.stack([analytic_of(row) for row in rows])[:, places],
            to_numpy(comparison.gradients[i]),
            jacobian,
            [to_numpy(y.data) for y in outputs],
            v,
            {n: to_numpy(a) for k, (n, a) in enumerate(zip(subject.names, subject.point)) if k != i},
            3e-8 if subject.low is None else 1e-4,
            numeric_at,
            analytic_of,
        ),
    )


def scalar_evidence(comparison, i):
    """Evidence about array `i` of a comparison of single numbers, such as the second order: one row."""
    x = comparison.point[i]
    value = lambda point: np.array([float(comparison.function(point)[0])])
    places, columns = _measured(value, comparison.point, i, comparison.scales[i])
    gradient = to_numpy(comparison.gradients[i])
    A = gradient.reshape(1, -1)[:, places]
    others = {n: to_numpy(a) for k, (n, a) in enumerate(zip(comparison.names, comparison.point)) if k != i}
    evidence = Evidence(comparison.names[i], to_numpy(x), places, columns, A, gradient, False, [], None, others)
    return _without_masked(comparison, i, evidence)


def _without_masked(comparison, i, evidence):
    """Kinks that the comparison leaves out do not count as evidence."""
    if comparison.masks[i] is not None:
        out = to_numpy(comparison.masks[i]).reshape(-1)[evidence.places] == 0
        evidence.N[:, out] = evidence.A[:, out]
    return evidence


def _measured(outs, point, i, scale):
    """(places, (outputs, elements)): ∂outs/∂x, x = point[i], of as many elements as MAX_ELEMENTS and SECONDS allow.

    In random order: where time runs out, those that were looked at are spread over x.
    """
    n = point[i].size
    places = np.random.default_rng(0).choice(n, n if n <= MAX_ELEMENTS else SAMPLE, replace=False)
    if not n:
        return places, np.zeros((len(outs(point)), 0))
    found, end = [], time.thread_time() + SECONDS
    for place in places:
        found.append(_column(outs, point, i, scale, place))
        if time.thread_time() > end:
            break
    order = np.argsort(places[: len(found)])
    return places[order], np.stack(found, axis=1)[:, order]


def _column(outs, point, i, scale, place):
    """∂outs/∂x[place], x = point[i]."""
    x = point[i]
    index, values = np.unravel_index(place, x.shape), []
    h = STEP * float(np.broadcast_to(to_numpy(scale), x.shape)[index])
    for step in (h, -h, h / 2, -h / 2):
        moved = x.copy(order="K")
        moved[index] += step
        values.append(outs([moved if j == i else p for j, p in enumerate(point)]))
    a, b, c, d = values
    return (4 * (c - d) / h - (a - b) / (2 * h)) / 3

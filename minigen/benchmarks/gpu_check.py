"""Is the GPU right? Before anything is timed: kernels one by one, whole steps, graphs, the random numbers.

Each check returns findings, {"what", "error", "allowed", "ok", "where"}: error is ‖found − expected‖ / ‖expected‖, and
"where" says for which shapes it was largest, or what went wrong. Expected products are those of factors that are
rounded as the precision says, in float64. Memory is filled with NaN before a kernel gets it, so
what nobody writes shows; NaN passes no check.
"""

import contextlib
import functools
import math
import operator

import numpy as np

from ..autograd import Tensor, grad
from ..backend import Generator, asarray, set_precision, to_numpy, use
from ..backend.gpu.measure import poisoned
from ..backend.kernels import GPU, PRODUCTS
from ..backend.precision import precision
from .gpu_cases import cases
from .gpu_taps import Errors, exact_arguments, judged, mapped, relative_error, shapes, tapped, tolerance
from .workloads import WORKLOADS, training

STEPS = 3  # of training, on both devices
LOSSES = 2e-2  # Adam turns signs of gradients into steps: where those are about 0, roundings decide
GRADIENTS = 1e-3  # an activation that is about 0 falls on either side: NumPy's own error, times 10, may be larger


def finding(what, error, allowed, where=""):
    if not math.isfinite(error):  # JSON has no such numbers
        return {"what": what, "error": None, "allowed": allowed, "ok": False, "where": f"{error} {where}".strip()}
    return {"what": what, "error": float(error), "allowed": allowed, "ok": bool(error <= allowed), "where": where}


def failed(what, error):
    """The finding that a check could not be made."""
    said = f"{type(error).__name__}: {error}"
    return {"what": what, "error": None, "allowed": 0.0, "ok": False, "where": " ".join(said.split())[:400]}


@contextlib.contextmanager
def rounding(name):
    before = set_precision(name)
    try:
        yield
    finally:
        set_precision(before)


# ------------------------------------------------------------------------------------------------ kernels one by one


def check_kernels(precisions, large=1):
    """Every kernel of `kernels.GPU` on random inputs, against its portable twin on NumPy in float64."""
    found = []
    for name, all_arguments in cases(seed=1, large=large).items():
        for p in precisions if name in PRODUCTS else precisions[:1]:
            with rounding(p), poisoned():
                found.append(check_kernel(name, all_arguments))
    return [*found, check_random_numbers(large)]


def check_kernel(name, all_arguments):
    what, worst, where = f"{name} {precision()}" if name in PRODUCTS else name, 0.0, ""
    try:
        for arguments in all_arguments:
            exact, args = exact_arguments(name, arguments), [mapped(asarray, a) for a in arguments]
            _, error = judged(name, getattr(GPU, name), args, exact, {})
            if not error <= worst:
                worst, where = error, shapes(arguments)
    except Exception as error:
        return failed(what, error)
    return finding(what, worst, tolerance(name), where)


KNOWN = 0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8  # Philox4x32-10 of counter 0, key 0: Random123's known answers
MOMENTS = (1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)  # of zᵏ, z normal: k, mean, variance


def check_random_numbers(large=1):
    """The first four numbers of seed 0 are the published ones; the next ones are normal: four moments."""
    try:
        first = to_numpy(Generator(0).uniform((4,)))
        expected = np.array([(w >> 8) * 2.0**-24 for w in KNOWN])
        error = relative_error(first, expected)
        n = 250_000 * large
        z = to_numpy(Generator(0).normal((n,))).astype(np.float64)
        moments = [abs((z**k).mean() - m) / math.sqrt(v / n) for k, m, v in MOMENTS]
    except Exception as e:
        return failed("random numbers", e)
    where = f"moments off by at most {max(moments):.1f} standard errors"
    return finding("random numbers", error if max(moments) < 5 else math.inf, 0.0, where)


# ------------------------------------------------------------------------------------------------ whole steps


class HostDrawn(Generator):
    """Draws on the host whatever the default device: the same numbers on both."""

    dtype = np.float32

    def normal(self, shape, dtype=None):
        return asarray(self.host.standard_normal(shape, np.float32).astype(self.dtype))

    def uniform(self, shape, dtype=None):
        return asarray(self.host.random(shape, np.float32).astype(self.dtype))

    def keep(self, shape, p):
        return asarray(self.host.random(shape) >= p)


def check_workload(workload, precision, batch, few, thin=1, first=True):
    """Findings about the training steps of a workload.

    batch: of the steps whose kernels are checked and that are captured; few: of those that are repeated on the host.
    first: whether to check, too, what is the same in each precision.
    """
    make, p = functools.partial(WORKLOADS[workload], thin=thin), precision
    names = None if first else PRODUCTS
    found = guarded(f"{workload}: kernels in a step, {p}", lambda: check_calls(workload, make, p, batch, names))
    if first:
        found += guarded(f"{workload}: gradients", lambda: check_gradients(workload, make, few))
        found += guarded(f"{workload}: losses", lambda: [check_losses(workload, make, few)])
    return found + guarded(f"{workload}: graph, {p}", lambda: [check_graph(workload, make, p, batch)])


def guarded(what, check):
    try:
        return check()
    except Exception as error:
        return [failed(what, error)]


def period(run):
    """After so many steps every objective had its turn."""
    return math.lcm(*(o.every for o in run.objectives))


def check_calls(workload, make, rounded_to, batch, names):
    """Each call of these kernels (None: all) in as many eager steps as are repeated, with what they are given there."""
    errors = Errors(names)
    with rounding(rounded_to), poisoned():
        run = training(make(Generator(0)), batch, graph=False)
        with tapped(errors):
            for _ in range(period(run)):
                run.step()
    return [
        finding(f"{workload}: {name}, {calls} calls, {rounded_to}", worst, tolerance(name), where)
        for name, (calls, worst, where) in errors.found.items()
    ]


def check_gradients(workload, make, batch):
    """All gradients of each objective, in float32 on the device and on the host, against float64 on the host."""
    with poisoned():
        found = gradients(make, batch, np.float32)
    use("numpy")
    try:
        host, exact = (gradients(make, batch, dtype) for dtype in (np.float32, np.float64))
    finally:
        use("cupy")
    rows = []
    for name in exact:
        error, own = relative_error(found[name], exact[name]), relative_error(host[name], exact[name])
        allowed = max(GRADIENTS, 10 * own)
        rows.append(finding(f"{workload}: gradients of {name}", error, allowed, f"NumPy's float32 errs by {own:.1e}"))
    return rows


def gradients(make, batch, dtype):
    """{objective: one vector of the host} at the initial weights, on the default device."""
    rng = HostDrawn(0)
    rng.dtype = dtype
    run = training(make(rng), batch, graph=False)
    for _, t in (*run.model.named_parameters(), *run.model.named_buffers()):
        t.data = t.data.astype(dtype)
    x, _ = next(run.loader)
    x = Tensor(x.astype(dtype))
    drawn, found = run.model.draw(x), {}
    for o in run.objectives:
        total = functools.reduce(operator.add, o.loss(x, *drawn).values())
        found[o.name] = np.concatenate([g.numpy().ravel() for g in grad(total, o.parameters)])
    return found


def check_losses(workload, make, batch):
    """The losses of a few steps of training, eager, on both devices."""

    def losses():
        run = training(make(HostDrawn(0)), batch, graph=False)
        return np.array([float(v) for _ in range(max(STEPS, period(run))) for v in run.step().values()])

    with poisoned():
        found = losses()
    use("numpy")
    try:
        expected = losses()
    finally:
        use("cupy")
    return finding(f"{workload}: losses of {STEPS} steps or more", relative_error(found, expected), LOSSES)


def check_graph(workload, make, rounded_to, batch):
    """Training with steps that are replayed ends, bit for bit, where training with eager steps does."""
    ends = []
    with rounding(rounded_to):
        for graph in (False, True):
            run = training(make(Generator(0)), batch, graph=graph)
            losses = [run.step() for _ in range(4 * period(run))]
            values = {**run.persistent(), **{f"loss {n}": v for n, v in losses[-1].items()}}
            ends.append({n: to_numpy(a).tobytes() for n, a in values.items()})
            del run
    different = [n for n in ends[0] if ends[0][n] != ends[1].get(n)]
    where = f"differs in {different[0]} and {len(different) - 1} more" if different else ""
    return finding(f"{workload}: graph step = eager step, {rounded_to}", len(different), 0, where)

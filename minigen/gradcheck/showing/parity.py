"""The same case in another precision or on another device: results and gradients must agree.

Allowed is a difference of `TOLERANCE` · max(1, the largest element), the cotangents being of size 1. Where float32 is
involved, ten times what rounding the inputs alone does to the float64 results is allowed besides: that may be much
where a function magnifies it, such as a norm over two almost equal numbers.
"""

import contextlib
import functools
import inspect
import itertools
from types import FunctionType

import numpy as np

from ... import backend
from ...backend import Generator, to_numpy
from ..drawing.inputs import is_instance
from ..drawing.sweep import sampled, sweep
from ..report import Diagnosis, Report
from ..soundness import pull
from ..subject import Subject, as_found, is_float

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # float64: the GPU adds up in another order
PAIRS = 5  # drawn cases that are evaluated on both devices
FLOAT32_ADVICE = "Do not subtract large numbers that are nearly equal, and shift by the maximum before exp."
GPU_ADVICE = (
    "Take functions from the arrays' own library, xp = minigen.backend.namespace(x), keep a Module's constants in "
    "Buffers, and add up repeated indices with add.at, not +=."
)


def in_float32(case):
    """The case with the arrays among its options in float32, as who computes in float32 would give them."""
    if not isinstance(case.f, functools.partial):
        return case
    options = {k: v.astype("float32") if is_float(v) else v for k, v in case.f.keywords.items()}
    f = functools.partial(case.f.func, *case.f.args, **options)
    f.__name__ = case.f.__name__
    return case._replace(f=f)


def same_in_float32(case, seed=0):
    """A Report: whether the float32 results and gradients of a case are its float64 ones."""
    exact, low = results(case, "float64", seed), results(case, "float32", seed)
    text = difference(low, exact, TOLERANCE["float32"], rounding(case, exact, seed), "in float32", "in float64")
    return _report(case, "float32 differs", text, FLOAT32_ADVICE)


def same_on_the_gpu(target, twin, draws=5, order=2, seed=0):
    """(case, Report): gradcheck of `twin` on the GPU, then its results against those of `target`.

    twin: the Target as discovered with the GPU as default device, so that what it draws lies there. What draws random
    numbers is not compared: each device has its own stream of them.
    """
    with default("cupy"):
        found = sweep(twin.draw, draws, order=order, seed=seed) if twin.draw is not None else None
        there = sampled(twin.draw, PAIRS) if found else []
    if found is None or found.case is None:
        reason = twin.problem or (twin.refused or ["every draw was refused"])[-1]
        return None, _report(None, "GPU fails", f"{target.name} does not run on the GPU: {reason}", GPU_ADVICE)
    if not found:
        return found.case, found.report
    for host, device in zip(sampled(target.draw, PAIRS), there):
        text = None if draws_random_numbers(host) else _devices_differ(host, device, seed)
        if text is not None:
            return host, _report(host, "GPU differs", text, GPU_ADVICE)
    return found.case, found.report


def _devices_differ(host, device, seed):
    """A sentence about the first difference between two cases that were drawn alike, or None."""
    if hasattr(host.f, "state_dict"):
        with default("cupy"):
            device.f.load_state_dict(host.f.state_dict())
    exact = results(host, "float64", seed)
    for dtype, spread in (("float64", {}), ("float32", rounding(host, exact, seed))):
        here = exact if dtype == "float64" else results(host, dtype, seed)
        with default("cupy"):
            there = results(device, dtype, seed)
        text = difference(there, here, TOLERANCE[dtype], spread, f"on the GPU ({dtype})", "on the CPU")
        if text:
            return text
    return None


@contextlib.contextmanager
def default(name):
    """Inside, new arrays are made by the library `name`."""
    before = backend.default().__name__
    backend.use(name)
    try:
        yield
    finally:
        backend.use(before)


def draws_random_numbers(case):
    """Whether a case holds a Generator, as dropout does: a Module, the options, or a function that names it."""
    own = case.f.named_generators() if hasattr(case.f, "named_generators") else ()
    return bool(own) or any(_is_generator(v) for v in held(case))


def _is_generator(v):
    """A Generator, the class, or its name: what a function may make one with."""
    return v is Generator or isinstance(v, Generator) or (isinstance(v, str) and v == "Generator")


def holds_float64(case):
    """Whether a case is a function with float64 arrays of its own, or a Module of them, which stay float64."""
    parts = [p for v in held(case) if is_instance(v) for _, p in v.named_parameters()]
    arrays = [v for v in [*held(case), *parts] if not isinstance(v, type)]  # Tensor.dtype itself is a property
    return any(is_float(v) and v.dtype == np.float64 for v in arrays)


def held(case):
    """What a case's function has besides its inputs: options, and what a plain function finds outside of itself.

    Of collections also the members; of attributes (`mg.Generator`) the names.
    """
    bound = isinstance(case.f, functools.partial)
    f, found = (case.f.func, [*case.f.keywords.values()]) if bound else (case.f, [])
    if isinstance(f, FunctionType):
        named = inspect.getclosurevars(f)
        found += [*named.nonlocals.values(), *named.globals.values(), *named.unbound]
    members = [v.values() if isinstance(v, dict) else v for v in found if isinstance(v, dict | list | tuple)]
    return [*found, *itertools.chain(*members)]


def results(case, dtype, seed=0, rounded=None):
    """{"the result", "the gradient of x", ...: float64 array on the host} of a case, computed in `dtype`.

    rounded: the dtype to which the inputs are rounded before that.
    """
    rng, case = np.random.default_rng(seed), in_float32(case) if dtype == "float32" else case
    with np.errstate(all="ignore"), as_found(case.f) as put_back:
        subject = Subject(case.f, case.inputs, put_back)
        leaves, outputs = subject([x.astype(rounded or dtype).astype(dtype) for x in subject.point])
        cotangents = [backend.asarray(rng.standard_normal(y.shape).astype(y.dtype)) for y in outputs]
        live = [(y, v) for y, v in zip(outputs, cotangents) if y.node is not None]
        gradients = pull([y for y, _ in live], leaves, [v for _, v in live])
        found = {f"result {i}" if len(outputs) > 1 else "the result": y for i, y in enumerate(outputs)}
        found |= {f"the gradient of {name}": g for name, g in zip(subject.names, gradients) if g is not None}
        return {name: to_numpy(t.data).astype(np.float64) for name, t in found.items()}


def rounding(case, exact, seed=0):
    """{name: what rounding the inputs to float32 changes in the float64 results `exact`}."""
    rounded = results(case, "float64", seed, rounded="float32")
    return {name: float(abs(rounded[name] - exact[name]).max(initial=0)) for name in exact}


def difference(got, expected, tolerance, spread, one, other):
    """A sentence about the first of the results `got` that is not as `expected`, or None.

    one, other: where they were computed, "in float32", "in float64".
    """
    for name, y in expected.items():
        x = got.get(name)
        if x is None or x.shape != y.shape:
            return f"{name} {'is missing' if x is None else f'has shape {x.shape}'} {one}; {other} it has {y.shape}."
        error = abs(x - y)
        allowed = tolerance * max(1, float(abs(y).max(initial=0))) + 10 * spread.get(name, 0)
        if not (error <= allowed).all():  # a NaN is not
            worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
            index = [int(i) for i in np.unravel_index(worst, y.shape)]
            return (
                f"{name}{f' at {index}' if index else ''} is {x.flat[worst]:.8g} {one}, {y.flat[worst]:.8g} {other} "
                f"(allowed difference {allowed:.1e})."
            )
    return None


def _report(case, kind, text, advice):
    """The Report on values that were compared, not derivatives; `text` is what is wrong, or None."""
    title = "" if case is None else getattr(case.f, "__name__", type(case.f).__name__)
    return Report(title, "value", text is None, diagnosis=text and Diagnosis(kind, text, advice))

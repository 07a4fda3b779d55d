"""Looking at every call of `kernels.GPU` during a training step: is it right, how long does it take, what does it move.

Nothing is changed where nobody looks: within `tapped`, the functions are replaced by what looks at them.
"""

import functools
import math
from contextlib import contextmanager

import numpy as np

from ..backend import namespace, portable, to_numpy
from ..backend.conv_axes import output_size
from ..backend.kernels import GPU, PORTABLE, PRODUCTS
from ..backend.precision import precision

# ‖found − expected‖ / ‖expected‖ that is allowed, where the factors of expected products are rounded as precision.py
# says. Products: far above NumPy's 4e-7, because tensor cores cut off what does not fit into a sum, but below what
# rounding does (3e-4 and more). Everything else: some roundings of float32.
PRODUCT = 1e-4
ELEMENTWISE = 2e-5
SUMS = ("channel_sum", "total", "average")
LEFT = 0.05  # share of the sum of all absolute values that a sum counts as at least


# What computes on the device: not the helpers of the portable kernels, nor what prepares numbers on the host.
NAMES = [name for name in vars(GPU) if not name.startswith("_") and not name.endswith("_numbers")]


def tolerance(name):
    return PRODUCT if name in PRODUCTS else ELEMENTWISE


def exact_arguments(name, args):
    """What the portable kernel is given to compute, in float64, the result that is expected of the kernel `name`."""
    if name in PRODUCTS and args[0].dtype == args[1].dtype == np.float32 and args[0].ndim != 3:  # batches are portable
        args = [*map(as_rounded, args[:2]), *args[2:]]
    if name == "batch_norm_grad":
        args = before_activation(*args)
    return [mapped(in_float64, a) for a in args]


def as_rounded(x):
    """precision.rounded, for arrays of both libraries; none of its numbers is NaN."""
    if precision() not in ("tf32", "bfloat16"):
        return x
    bits = x.view(np.uint32)
    if precision() == "tf32":
        return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    half = np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    return ((bits + half) & np.uint32(0xFFFF0000)).view(np.float32)


def before_activation(g, x, weight, bias, mean, var, eps, slope=1.0):
    """The same for batch_norm_grad without an activation: g as it is behind that, whose z has its sign in float32.

    One z of another sign, and among millions some are nothing but rounding, would be an error far above ELEMENTWISE.
    A product of two float32 is exact in float64, so this z has the sign of the kernel's: fma(x − μ, scale, bias).
    """
    column = lambda v: v.reshape(1, -1, 1, 1) if x.ndim == 4 else v
    scale = 1 / namespace(x).sqrt(var + eps)
    scale = scale if weight is None else weight * scale
    z = in_float64(x - column(mean)) * in_float64(column(scale))
    z = z if bias is None else z + column(bias)
    return portable.leaky_relu_grad(g, z, slope), x, weight, bias, mean, var, eps


@contextmanager
def tapped(tap):
    """Inside, a call f(*args, **options) of a kernel is tap(name, f, args, options), that returns a result."""
    before = {name: getattr(GPU, name) for name in NAMES}
    for name, f in before.items():
        setattr(GPU, name, functools.partial(_call, tap, name, f))
    try:
        yield
    finally:
        vars(GPU).update(before)


def _call(tap, name, f, *args, **options):
    return tap(name, f, args, options)


def mapped(f, x):
    """`x` with f applied to every array in nested tuples and lists."""
    if isinstance(x, tuple | list):
        return type(x)(mapped(f, v) for v in x)
    return f(x) if hasattr(x, "dtype") and hasattr(x, "strides") else x


def arrays(x):
    """All arrays in nested tuples and lists."""
    found = []
    mapped(found.append, x)
    return found


# ------------------------------------------------------------------------------------------------ is it right


class Errors:
    """A tap that holds every result, and every argument after the call, against the portable kernel in float64.

    found: {name: [calls, the largest relative error, shapes where]}.  names: which kernels; None: all.
    The reference is computed on the device, by CuPy alone.
    """

    def __init__(self, names=None):
        self.names, self.found = names, {}

    def __call__(self, name, f, args, options):
        if self.names is not None and name not in self.names:
            return f(*args, **options)
        exact = exact_arguments(name, args)
        result, worst = judged(name, f, args, exact, options)
        calls, before, where = self.found.get(name, (0, 0.0, ""))
        if calls == 0 or not worst <= before:  # NaN is worse than anything
            before, where = worst, shapes(args)
        self.found[name] = calls + 1, before, where
        return result


def in_float64(x):
    """A copy; floats as float64."""
    return x.astype(np.float64) if x.dtype.kind == "f" else x.copy()


def judged(name, f, args, exact, options):
    """(the kernel's result, its error). A sum of which little is left may be off by a share of its terms' sizes."""
    result, expected = f(*args, **options), getattr(PORTABLE, name)(*exact, **options)
    error = largest_error(name, (result, args), (expected, exact))
    if name in SUMS and math.isfinite(error):
        size, left = norm(getattr(PORTABLE, name)(*[mapped(abs, a) for a in exact], **options)), norm(expected)
        error *= left / (left + LEFT * size) if left else 1
    return result, error


def largest_error(name, found, expected):
    """The largest relative error of all arrays in (result, arguments).

    Those whose reference is given other arguments change none. A kernel that changes its arguments may return them too,
    where its portable twin returns nothing.
    """
    looked_at = slice(expected[0] is None, 1 if name in PRODUCTS or name == "batch_norm_grad" else 2)
    found, expected = found[looked_at], expected[looked_at]
    pairs = zip(arrays(found), arrays(expected), strict=True)
    return max((relative_error(to_numpy(a) if isinstance(b, np.ndarray) else a, b) for a, b in pairs), default=0.0)


def relative_error(found, expected):
    """‖found − expected‖ / ‖expected‖, by either library; infinite where shapes differ, NaN where anything is."""
    if found.shape != expected.shape:
        return math.inf
    if not found.size:
        return 0.0
    error, size = norm(found.astype(np.float64) - expected.astype(np.float64)), norm(expected.astype(np.float64))
    return error / size if size else error


def norm(x):
    return float(to_numpy((x * x).sum())) ** 0.5


def shapes(args):
    """The shapes of arguments, for a table: 128×64×32×32 · 128×64×4×4."""
    return " · ".join("×".join(map(str, a.shape)) or "1" for a in arrays(list(args)))


# ------------------------------------------------------------------------------------------------ how long it takes


class Times:
    """A tap that records events of the device around every call: `rows()` after the device was waited for."""

    def __init__(self, mark, milliseconds):
        self.mark, self.milliseconds = mark, milliseconds
        self.calls = []

    def __call__(self, name, f, args, options):
        begin = self.mark()
        result = f(*args, **options)
        end = self.mark()
        moved = sum(a.nbytes for a in arrays([result, *args])) if result is not None else bytes_in_place(name, args)
        self.calls.append((name, shapes(args), begin, end, operations(name, args), moved))
        return result

    def rows(self):
        """[{"kernel", "shapes", "calls", "us", "flops", "bytes"}], the longest first; one for each kernel and shape."""
        found = {}
        for name, where, begin, end, flops, moved in self.calls:
            row = found.setdefault(
                (name, where), {"kernel": name, "shapes": where, "calls": 0, "us": 0.0, "flops": 0, "bytes": 0}
            )
            row["calls"] += 1
            row["us"] += 1e3 * self.milliseconds(begin, end)
            row["flops"] += flops
            row["bytes"] += moved
        return sorted(found.values(), key=lambda row: -row["us"])


def bytes_in_place(name, args):
    """An update reads all its vectors and writes all but the second: the gradient, or what is averaged."""
    if name.startswith("deal_"):  # of a data set, a batch is read
        return args[-1].nbytes + args[-1].size * args[0].itemsize
    vectors = [a for a in arrays(list(args)) if a.shape == arrays(list(args))[-1 if name == "gather" else 0].shape]
    if name == "gather":
        return 2 * vectors[-1].nbytes
    return sum(a.nbytes for a in vectors) + sum(a.nbytes for a in vectors[:1] + vectors[2:])


def operations(name, args):
    """2·M·N·K of a product, from its arguments; 0 for everything else."""
    if name == "matmul":
        return 2 * args[0].size * args[1].shape[-1]
    if name == "conv2d":  # each pixel of the result meets a whole kernel once
        x, weight, _, *axes = args
        size = axes[4] if len(axes) > 4 and axes[4] else output_size(x.shape[2:], weight.shape[2:], *axes[:3])
        return 2 * len(x) * math.prod(size) * weight.size
    if name == "conv2d_x":
        return 2 * args[0].size * math.prod(args[1].shape[1:])
    if name == "conv2d_w":
        x, g, size, groups = args[0], args[1], args[2], args[6]
        return 2 * g.size * x.shape[1] // groups * math.prod(size)
    return 0

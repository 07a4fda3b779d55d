"""To what the factors of matrix products and convolutions are rounded. Sums, and everything else, stay float32.

Tensor cores multiply numbers of few bits and add in float32. `set_precision` says how many bits they are given; it
holds for the whole process, for products from then on, forward and backward, where both factors are float32.

                    bits of    error of a product    ‖error‖ / ‖A·B‖ of normal matrices, K products in a sum,
                    fraction   at most               against float64       K = 64    K = 512   K = 4608
    float32         21         7.2e-7                                      1.1e-7    1.5e-7    3.3e-7
      before 8.0    23         6.0e-8                                      1.1e-7    1.3e-7    2.4e-7
    tf32, float16   10         9.8e-4                                      2.9e-4    2.9e-4    3.0e-4
    bfloat16         7         7.8e-3                                      2.3e-3    2.3e-3    2.3e-3

float32: each factor is a sum of two TF32 numbers, and three of their four products are taken: as exact as NumPy's
product (1.5e-7, 2.9e-7, 3.7e-7), at about a third of the speed of tf32. An infinite factor gives NaN.
Before compute capability 8.0 (Ampere, 2020) tensor cores know neither TF32 nor bfloat16, before 7.5 (Turing, 2018) no
float16 in the form that is used here. There these are refused, and float32 is that of ordinary multiply-adds, where an
infinite factor stays one.
On the GPU numbers below 1.2e-38 count as 0 in all arithmetic: CuPy compiles every kernel so (-ftz=true).
float16: nothing beyond 65504, and fewer bits below 6.1e-5, none below 3e-8: gradients want their loss scaled.

The figures are those of the kernels emulated on the CPU, with sums cut off as tensor cores do it (Fasi et al. 2021,
Numerical behavior of NVIDIA tensor cores). That makes long sums drift towards zero, by 1.4e-5 for K = 4608, which is
little beside the rounding of factors; float32 goes round it, see gpu/tile.cuh.

float64 arrays are never rounded. NumPy's products have no such precision; there the factors are rounded before the
product, so that training on the CPU shows what a precision does to it (and is slower for that).
"""

import numpy as np

from .arrays import BackendError, default

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
SINCE = {"float32": 0, "tf32": 80, "bfloat16": 80, "float16": 75}  # compute capability, as 75 for 7.5
_precision = "float32"


def set_precision(name):
    """Round the factors of products to "float32", "tf32", "bfloat16" or "float16"; returns what was set before.

    Raises BackendError where the default device is a GPU that cannot.
    """
    global _precision
    if name not in PRECISIONS:
        raise ValueError(f"set_precision({name!r}): expected one of {', '.join(PRECISIONS)}.")
    if default() is not np:
        check(name, int(default().cuda.Device().compute_capability))
    before, _precision = _precision, name
    return before


def possible(capability):
    """The precisions that a GPU of that compute capability (75 for 7.5) has."""
    return tuple(name for name in PRECISIONS if SINCE[name] <= capability)


def check(name, capability):
    """Raise BackendError unless a GPU of that compute capability has that precision."""
    if capability < SINCE[name]:
        needed, here = (f"{c // 10}.{c % 10}" for c in (SINCE[name], capability))
        raise BackendError(
            f"{name} needs compute capability {needed} or newer; this GPU has {here}, and with it "
            f"{' and '.join(possible(capability))}. The CPU (--backend numpy) knows them all."
        )


def precision():
    """The name that `set_precision` was given last; "float32" at first."""
    return _precision


def rounded(x, name):
    """A NumPy array of float32 as the tensor cores take it, in float32: the oracle of what the kernels do.

    TF32: to nearest, ties away from zero. bfloat16, float16: to nearest, ties to even; float16 overflows to infinity.
    """
    if name == "float32" or x.dtype != np.float32:
        return x
    if name == "float16":
        with np.errstate(over="ignore"):
            return x.astype(np.float16).astype(np.float32)
    bits = x.view(np.uint32)
    if name == "tf32":
        kept = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    else:
        kept = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, kept.view(np.float32))

"""Which outputs of a convolution read which inputs, axis by axis: windows, phases, bands.

A convolution and its adjoints are separable in what reads what, so the height and the width are planned apart.  An
`Axis` is one correlation on one of them; a plan is a tuple of such, each responsible for some of the outputs.
"""

import functools
import itertools
import math
from typing import NamedTuple

WORTH_A_BAND = 12  # products saved for each output; writing it by a copy costs about as many


class Axis(NamedTuple):
    """One axis of a correlation: out[first + step·i] = Σ_t x[start + stride·i + dilation·t] · w[taps[t]], i < count."""

    first: int
    step: int
    count: int
    taps: range
    start: int
    stride: int
    dilation: int

    @property
    def outputs(self):
        return slice(self.first, self.first + self.step * self.count, self.step)

    @property
    def end(self):
        """One past the last index of x that is read."""
        return self.start + self.stride * (self.count - 1) + self.dilation * (len(self.taps) - 1) + 1


def output_size(size, kernel, stride, padding, dilation):
    """(OH, OW) of a convolution: ⌊(H + 2p − d(k − 1) − 1) / s⌋ + 1 on each axis."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
    )


@functools.lru_cache(1024)
def windows(n, n_out, k, s, p, d, products):
    """The plan of `conv2d` on an axis of length n, with n_out outputs and a kernel of k taps.

    s, p, d: stride, padding, dilation.  products: how many products stand behind one output, all axes together.
    """
    return _bands(Axis(0, 1, n_out, range(k), -p, s, d), n, products)


@functools.lru_cache(1024)
def phases(n, n_out, k, s, p, d, products):
    """The plan of `conv2d_x`, from length n to n_out: correlations with stride 1, one for each residue mod s.

    Pixel h gets g[i]·w[t] wherever s·i − p + d·t = h, so t must satisfy d·t ≡ h + p (mod s): every q-th tap, with
    q = s/gcd(s, d).  From one such tap to the next i moves by d/gcd(s, d), downwards: hence the kernel is flipped, and
    taps are counted from its end.
    """
    common = math.gcd(s, d)
    plan = []
    for residue in range(s):
        first = (residue - p) % s  # the first pixel with first + p ≡ residue
        count = -(-(n_out - first) // s)
        if count <= 0:
            continue
        reaching = [t for t in range(k) if (d * t - residue) % s == 0]
        last = max(reaching, default=0)
        taps = range(k - 1 - last, k, s // common) if reaching else range(0)
        phase = Axis(first, s, count, taps, (first + p - d * last) // s, 1, d // common)
        plan.extend(_bands(phase, n, products))
    return tuple(plan)


def _bands(axis, size, products):
    """The axis cut into runs of outputs that see the same taps; the others fall on the zeros around x.

    Uncut where that saves too few of the `products` behind an output: bands have to be written by a copy.
    """

    def seen(i):
        at = axis.start + axis.stride * i  # where tap 0 falls
        lo, hi = -(at // axis.dilation), -((at - size) // axis.dilation)
        return max(0, lo), max(0, min(len(axis.taps), hi))

    bands = []
    for (lo, hi), run in itertools.groupby(range(axis.count), seen):
        i, *others = run
        bands.append(
            axis._replace(
                first=axis.first + axis.step * i,
                count=1 + len(others),
                taps=axis.taps[lo:hi],
                start=axis.start + axis.stride * i + axis.dilation * lo,
            )
        )
    used = sum(band.count * len(band.taps) for band in bands)
    saved = 1 - used / max(1, axis.count * len(axis.taps))
    return tuple(bands) if saved * products >= WORTH_A_BAND else (axis,)

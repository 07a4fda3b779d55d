"""Matrix products on the CPU: split over threads along the longer side of the result."""

import numpy as np

from . import threads
from .cpu_elementwise import finish


def matmul(a, b, bias=None, slope=1.0):
    """(m, k) @ (k, n) → (m, n), plus bias (n,) in every row, through leaky ReLU; with leading axes, as np.matmul.

    Transposed views are as good: BLAS reads both.

    Rows or columns of the result are shared out in ranges of at least 8; small products are not worth a second thread.
    """
    m, n = a.shape[-2], b.shape[-1]
    ranges = threads.parts(max(m, n), 2 * a.size * n, unit=8)
    if a.ndim > 2 or b.ndim > 2 or len(ranges) == 1:
        y = np.matmul(a, b, order="C")  # else leading axes lie as those of a and b do, and `finish` would miss y
        finish(y, bias, slope)
        return y
    y = np.empty((m, n), np.result_type(a, b))

    def of_rows(i, j):
        finish(np.matmul(a[i:j], b, out=y[i:j]), bias, slope)

    def of_columns(i, j):
        finish(np.matmul(a, b[:, i:j], out=y[:, i:j]), None if bias is None else bias[i:j], slope)

    threads.run(of_rows if m >= n else of_columns, ranges)
    return y

"""Matrix products on the CPU: split over threads along the longer side of the result."""

import numpy as np

from . import threads


def matmul(a, b, bias=None):
    """(m, k) @ (k, n) → (m, n), plus bias (n,) in every row; with leading axes, as np.matmul.

    Transposed views are as good: BLAS reads both.

    Rows or columns of the result are shared out in ranges of at least 8; small products are not worth a second thread.
    """
    y = _product(a, b)
    if bias is not None:
        y += bias
    return y


def _product(a, b):
    if a.ndim > 2 or b.ndim > 2:
        return np.matmul(a, b)
    (m, k), n = a.shape, b.shape[1]
    ranges = threads.parts(max(m, n), 2 * m * k * n, unit=8)
    if len(ranges) == 1:
        return np.matmul(a, b)
    y = np.empty((m, n), np.result_type(a, b))
    if m >= n:
        threads.run(lambda i, j: np.matmul(a[i:j], b, out=y[i:j]), ranges)
    else:
        threads.run(lambda i, j: np.matmul(a, b[:, i:j], out=y[:, i:j]), ranges)
    return y

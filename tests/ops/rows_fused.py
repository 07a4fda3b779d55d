"""Rows of the table: layers with leaky ReLU in the same op."""

import numpy as np
import oracles as o
from table import Fixed, image, normal, positive, row, x

from minigen import ops

C4 = normal(4, seed=1), normal(4, seed=2)


def then_leaky(oracle):
    """The oracle of a layer, and then leaky ReLU of the option `slope`."""

    def both(*inputs, slope, **options):
        z = oracle(*inputs, **options)
        return np.where(z > 0, z, slope * z)

    return both


linear, conv2d, transposed = (
    then_leaky(f) for f in (lambda x, w, b=0: o.matmul(x, w.T) + b, o.conv2d, o.conv_transpose2d)
)
row("linear", x, normal(5, 4), normal(5), slope=0.2, oracle=linear)
row("linear", x, normal(5, 4), slope=0.0, oracle=linear)
row(
    "linear",
    *(normal(2, 3, 4), normal(5, 4), normal(5)),
    slope=0.3,
    oracle=lambda x, w, b, slope: np.stack([linear(m, w, b, slope=slope) for m in x]),
)
row("conv2d", image, normal(6, 4, 3, 3), normal(6), slope=0.2, oracle=conv2d)
row("conv2d", image, normal(6, 2, 3, 2), padding=1, dilation=(2, 1), groups=2, slope=0.0, oracle=conv2d)
row("conv_transpose2d", image, normal(4, 6, 3, 3), normal(6), slope=0.0, oracle=transposed)
row(
    "conv_transpose2d",
    *(image, normal(4, 3, 4, 5), normal(6)),
    **{"stride": 2, "padding": (1, 2), "output_padding": 1, "groups": 2, "slope": 0.2},
    oracle=transposed,
)
row(
    "batch_norm",
    *(image, *C4),
    slope=0.2,
    call=lambda x, w, b, slope: ops.batch_norm(x, None, None, w, b, training=True, slope=slope),
    oracle=then_leaky(lambda x, w, b: o.per_channel(o.normalised(x, lambda i: i[1]), w, b)),
)
row(
    "batch_norm",
    x,
    slope=0.0,
    call=lambda x, slope: ops.batch_norm(x, None, None, training=True, eps=0.1, slope=slope),
    oracle=then_leaky(lambda x: o.normalised(x, lambda i: i[1], 0.1)),
)
row(
    "batch_norm",
    *(image, Fixed(C4[0]), Fixed(positive(4)), *C4),
    slope=0.2,
    oracle=then_leaky(lambda x, m, v, w, b: o.per_channel(o.per_channel(x, None, -m), w / np.sqrt(v + 1e-5), b)),
)

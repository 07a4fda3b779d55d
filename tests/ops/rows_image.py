"""Rows of the table: pooling and normalisation."""

import numpy as np
import oracles as o
from table import Fixed, image, normal, positive, row, x

from minigen import ops

# ------------------------------------------------------------------------------------------------ pooling

row("max_pool2d", image, kernel_size=2, oracle=o.max_pool2d)
row("max_pool2d", image, kernel_size=3, stride=2, padding=1, return_indices=True, oracle=o.max_pool2d)
row("max_pool2d", image, kernel_size=(2, 3), stride=2, dilation=(2, 1), ceil_mode=True, oracle=o.max_pool2d)
row("avg_pool2d", image, kernel_size=2, oracle=o.avg_pool2d)
row("avg_pool2d", image, kernel_size=3, stride=2, padding=1, ceil_mode=True, oracle=o.avg_pool2d)
row("avg_pool2d", image, kernel_size=3, stride=2, padding=1, count_include_pad=False, oracle=o.avg_pool2d)
row("avg_pool2d", image, kernel_size=(1, 2), divisor_override=3, oracle=o.avg_pool2d)
places = o.max_pool2d(image, 2, return_indices=True)[1]
row("max_unpool2d", normal(2, 4, 2, 3), places, kernel_size=2, output_size=(5, 6), oracle=o.max_unpool2d)
overlapping = o.max_pool2d(image, 3, stride=1, return_indices=True)[1]
row("max_unpool2d", normal(2, 4, 3, 4), overlapping, kernel_size=3, stride=1, oracle=o.max_unpool2d)
row("interpolate", image, scale_factor=2, oracle=o.interpolate)
row("interpolate", image, size=(7, 4), oracle=o.interpolate)
row("interpolate", image, size=(7, 3), mode="bilinear", oracle=o.interpolate)
row("interpolate", image, scale_factor=(2, 1.5), mode="bilinear", align_corners=True, oracle=o.interpolate)

# ------------------------------------------------------------------------------------------------ normalisation

channel = lambda i: i[1]
C4, D6 = (normal(4, seed=1), normal(4, seed=2)), (normal(6, seed=1), normal(6, seed=2))
row(
    "batch_norm",
    *(image, *C4),
    call=lambda x, w, b: ops.batch_norm(x, None, None, w, b, training=True),
    oracle=lambda x, w, b: o.per_channel(o.normalised(x, channel), w, b),
)
row(
    "batch_norm",
    x,
    call=lambda x: ops.batch_norm(x, None, None, training=True, eps=0.1),
    oracle=lambda x: o.normalised(x, channel, 0.1),
)
row(
    "batch_norm",
    *(image, Fixed(C4[0]), Fixed(positive(4)), *C4),
    oracle=lambda x, m, v, w, b: o.per_channel(o.per_channel(x, None, -m), w / np.sqrt(v + 1e-5), b),
)
row(
    "layer_norm",
    *(image, (6,), *D6),
    oracle=lambda x, shape, w, b: o.normalised(x, lambda i: i[:3]) * w + b,
)
row("layer_norm", image, normalized_shape=(4, 5, 6), oracle=lambda x, normalized_shape: o.normalised(x, lambda i: i[0]))
row(
    "instance_norm",
    *(image, *C4),
    call=lambda x, w, b: ops.instance_norm(x, weight=w, bias=b),
    oracle=lambda x, w, b: o.per_channel(o.normalised(x, lambda i: i[:2]), w, b),
)
row(
    "group_norm",
    *(image, 2, *C4),
    oracle=lambda x, groups, w, b: o.per_channel(o.normalised(x, lambda i: (i[0], i[1] // 2)), w, b),
)
row(
    "spectral_norm",
    *(normal(3, 2, 2), Fixed(normal(3)), Fixed(normal(4))),
    oracle=lambda w, u, v: w / sum(u[i] * w.reshape(3, 4)[i, j] * v[j] for i in range(3) for j in range(4)),
)
row(
    "power_iteration",
    *(np.diag([3.0, 1.0, 0.1])[:, :2], Fixed(np.array([1.0, 1.0, 1.0]))),
    n=60,
    differentiable=False,
    oracle=lambda w, u, n: (np.array([1.0, 0.0, 0.0]), np.array([1.0, 0.0])),
)

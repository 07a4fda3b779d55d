"""Rows of the table: losses, dropout, embedding."""

import numpy as np
import oracles as o
from oracles import each
from table import Fixed, normal, positive, row, x, y

from minigen import ops
from minigen.backend import Generator

# ------------------------------------------------------------------------------------------------ losses, the rest

loss = lambda f: lambda x, t, reduction: o.reduced(each(f)(x, t), reduction)
for reduction in ("mean", "sum", "none"):
    row("mse_loss", x, y, reduction=reduction, oracle=loss(lambda a, b: (a - b) ** 2))
    row("l1_loss", x, y, reduction=reduction, oracle=loss(lambda a, b: max(a - b, b - a)))
    name = "binary_cross_entropy_with_logits"
    row(name, normal(3, 4), positive(3, 4) / 3, reduction=reduction, oracle=getattr(o, name))
    row("cross_entropy", x, np.array([3, 0, 2]), reduction=reduction, oracle=o.cross_entropy)
row(
    name,
    *(normal(3, 4), positive(3, 4) / 3, positive(3, 4), "mean", positive(4)),
    oracle=o.binary_cross_entropy_with_logits,
)
labels = np.array([[[1, 3, 0]], [[2, 2, -1]]])
row("cross_entropy", normal(2, 4, 1, 3), labels, Fixed(positive(4)), -1, oracle=o.cross_entropy)
row(
    "cross_entropy",
    *(normal(2, 4, 1, 3), labels, Fixed(positive(4)), -1),
    label_smoothing=0.1,
    oracle=o.cross_entropy,
)
row(
    "cross_entropy",
    normal(3, 4),
    o.softmax(y, 1),
    label_smoothing=0.2,
    oracle=lambda x, t, label_smoothing: o.cross_entropy(x, t, None, -100, "sum", label_smoothing) / 3,
)
row("gaussian_kl", normal(2, 3), normal(2, 3, seed=1), oracle=o.gaussian_kl)
row(
    "dropout",
    x,
    call=lambda x: ops.dropout(x, 0.4, rng=Generator(3)),
    oracle=lambda x: np.where(Generator(3).keep((3, 4), 0.4), x, 0) / 0.6,
)
row("dropout", x, p=0.4, training=False, oracle=lambda x, p, training: x, differentiable=False)
row(
    "embedding",
    *(np.array([[1, 0], [1, 1]]), normal(3, 2)),
    oracle=lambda i, w: np.array([[w[1], w[0]], [w[1], w[1]]]),
)

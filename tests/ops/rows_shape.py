"""Rows of the table: rearranging, and products: matrices and convolutions."""

import math
from functools import partial

import numpy as np
import oracles as o
from oracles import over
from table import apart, image, normal, row, x, y

from minigen import ops

# ------------------------------------------------------------------------------------------------ shape

listed = lambda x, shape: np.array(x.tolist(), float).reshape(shape)
row("reshape", apart(2, 3, 4), shape=(4, -1), oracle=lambda x, shape: listed(x, (4, 6)), saves="x_shape")
row("flatten", image, start_dim=1, oracle=lambda x, start_dim: listed(x, (2, 120)))
row("squeeze", apart(1, 3, 1, 2), oracle=lambda x: x[0, :, 0])
row("squeeze", apart(1, 3, 1, 2), axis=2, oracle=lambda x, axis: x[:, :, 0])
row("unsqueeze", x, axis=-1, oracle=lambda x, axis: x[:, :, None])
row(
    "permute",
    apart(2, 3, 4),
    dims=(2, 0, -2),
    oracle=lambda x, dims: np.array([[[x[i, j, k] for j in range(3)] for i in range(2)] for k in range(4)]),
    saves="dims",
)
row(
    "transpose",
    x,
    dim0=0,
    dim1=-1,
    oracle=lambda x, dim0, dim1: np.array([[x[i, j] for i in range(3)] for j in range(4)]),
)
row("flip", x, axis=1, oracle=lambda x, axis: x[:, [3, 2, 1, 0]], saves="axis")
row(
    "broadcast_to", x[:, :1], shape=(2, 3, 5), oracle=lambda x, shape: np.array([[[v[0]] * 5 for v in x]] * 2), saves=""
)
row(
    "concatenate",
    *(x, y[:, :1], x),
    call=lambda *xs: ops.concatenate(xs, axis=-1),
    oracle=lambda a, b, c: np.array([[*p, *q, *r] for p, q, r in zip(a, b, c)]),
)
row("stack", *(x, y), call=lambda *xs: ops.stack(xs, axis=1), oracle=lambda a, b: np.array(list(zip(a, b))))
row("split", x, split_size_or_sections=3, axis=1, oracle=lambda x, split_size_or_sections, axis: (x[:, :3], x[:, 3:]))
row(
    "split",
    x,
    split_size_or_sections=[1, 2],
    oracle=lambda x, split_size_or_sections: (x[:1], x[1:]),
)
row("pad", image, pad=(1, 2, 0, 3), value=0.5, oracle=o.pad)
row("pad", image, pad=(-1, 2, 1, -2), oracle=o.pad)
for mode in ("reflect", "replicate", "circular"):
    row("pad", image, pad=(2, 3, 4, 1), mode=mode, oracle=o.pad)
row("getitem", x, index=(slice(None, None, -2), 1), oracle=lambda x, index: np.array([x[2, 1], x[0, 1]]))
row("getitem", x, index=(None, Ellipsis, -1), oracle=lambda x, index: np.array([[v[3] for v in x]]))
row("getitem", x, index=np.array([2, 0, 2, 2]), oracle=lambda x, index: np.array([x[2], x[0], x[2], x[2]]))
row("getitem", x, index=x > 0, oracle=lambda x, index: np.array([v for v in x.ravel() if v > 0]))
index = np.array([[0, 2, 1, 1], [0, 0, 2, 1]])
row("gather", x, axis=0, index=index, oracle=o.gather)
row("gather", x, axis=1, index=np.array([[3, 3], [0, 1]]), oracle=o.gather)
row("scatter_add", x, 0, index, y, oracle=partial(o.scatter, add=True))
row("scatter", x, 1, np.array([[3, 0], [0, 1]]), y, oracle=o.scatter)
row("scatter", x, axis=0, index=index[:1], src=7.0, oracle=o.scatter)
row(
    "one_hot",
    np.array([[0, 2], [1, 1]]),
    num_classes=3,
    differentiable=False,
    oracle=lambda i, num_classes: np.array([[[float(v == k) for k in range(3)] for v in r] for r in i]),
)

# ------------------------------------------------------------------------------------------------ products

row("matmul", x, normal(4, 2), oracle=o.matmul)
row("matmul", normal(2, 3, 4), normal(2, 4, 5), oracle=o.matmul)
row("matmul", normal(2, 3, 4), normal(4, 5), oracle=lambda x, y: np.stack([o.matmul(m, y) for m in x]))
row("matmul", normal(4), normal(4), oracle=lambda x, y: math.fsum(x * y))
row("matmul", normal(3, 4), normal(4), oracle=lambda x, y: o.matmul(x, y[:, None])[:, 0])
row("matmul", normal(4), normal(4, 3), oracle=lambda x, y: o.matmul(x[None], y)[0])
row("linear", x, normal(5, 4), normal(5), oracle=lambda x, w, b: o.matmul(x, w.T) + b)
row("linear", normal(2, 3, 4), normal(5, 4), oracle=lambda x, w: np.stack([o.matmul(m, w.T) for m in x]))
row("channel_sum", image, oracle=over(math.fsum, (0, 2, 3)), saves="g_shape")
row("channel_sum", x, oracle=over(math.fsum, 0), saves="g_shape")

row("conv2d", image, normal(6, 4, 3, 3), normal(6), oracle=o.conv2d)
row("conv2d", image, normal(6, 4, 2, 3), stride=2, padding=(0, 1), oracle=o.conv2d)
row("conv2d", image, normal(6, 2, 3, 2), normal(6), padding=1, dilation=(2, 1), groups=2, oracle=o.conv2d)
row(
    "conv2d",
    image,
    normal(3, 4, 4, 3),
    call=partial(ops.conv2d, padding="same"),
    oracle=lambda x, w: o.conv2d(o.pad(x, (1, 1, 1, 2)), w),
)
row("conv_transpose2d", image, normal(4, 6, 3, 3), normal(6), oracle=o.conv_transpose2d)
row(
    "conv_transpose2d", image, normal(4, 2, 4, 5), stride=2, padding=(1, 2), output_padding=1, oracle=o.conv_transpose2d
)
row(
    "conv_transpose2d",
    image,
    normal(4, 3, 2, 3),
    normal(6),
    stride=(3, 1),
    padding=1,
    output_padding=(2, 0),
    groups=2,
    dilation=(1, 2),
    oracle=o.conv_transpose2d,
)

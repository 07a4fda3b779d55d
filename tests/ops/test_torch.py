"""Against PyTorch, with all its options: value, first and second derivative."""

import itertools

import numpy as np
import pytest
from torch_oracle import agree, normal, torch

from minigen import ops

F = torch.nn.functional
X, IMAGE = normal(3, 5), normal(2, 4, 5, 6)
ACTIVATIONS = ["relu", "elu", "gelu", "silu", "softplus", "sigmoid", "tanh", "leaky_relu"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    agree(getattr(ops, name), getattr(F, name), 3 * X)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gelu", {"approximate": "tanh"}),
        ("elu", {"alpha": 0.3}),
        ("leaky_relu", {"negative_slope": 0.2}),
        ("softplus", {"beta": 3}),
        ("softplus", {"beta": 0.5, "threshold": 50}),
        ("softmax", {"dim": 0}),
        ("softmax", {"dim": -1}),
        ("log_softmax", {"dim": 0}),
        ("log_softmax", {"dim": 1}),
    ],
)
def test_activations_with_options(name, options):
    agree(lambda x: getattr(ops, name)(x, **options), lambda x: getattr(F, name)(x, **options), 3 * X)


@pytest.mark.parametrize(
    "name", ["exp", "expm1", "sin", "cos", "erf", "abs", "square", "sqrt", "rsqrt", "log", "log1p"]
)
def test_elementary_functions(name):
    agree(getattr(ops, name), getattr(torch, name), np.abs(X) + 0.1)


@pytest.mark.parametrize(("lo", "hi"), [(-0.5, 0.5), (None, 0.2), (0.1, None)])
def test_clip(lo, hi):
    agree(lambda x: ops.clip(x, lo, hi), lambda x: torch.clamp(x, lo, hi), X)


def test_ties_share_the_derivative_as_in_torch():
    a, b = np.array([1.0, 2.0, 2.0, 0.0]), np.array([1.0, 2.0, 3.0, -1.0])
    agree(ops.maximum, torch.maximum, a, b)
    agree(ops.minimum, torch.minimum, a, b)
    agree(lambda x: ops.max(x, dim=1), lambda x: torch.amax(x, 1), np.array([[1.0, 2.0, 2.0], [3.0, 3.0, 3.0]]))
    agree(lambda x: ops.min(x, dim=0), lambda x: torch.amin(x, 0), np.array([[1.0, 2.0, 2.0], [1.0, 3.0, 3.0]]))
    agree(lambda x: ops.abs(x) + ops.relu(x), lambda x: torch.abs(x) + torch.relu(x), np.zeros(3))
    agree(lambda x: ops.clip(x, 0.0, 1.0), lambda x: torch.clamp(x, 0.0, 1.0), np.array([0.0, 1.0, 0.5]))


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1, (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("name", ["sum", "mean", "logsumexp", "var", "std"])
def test_reductions_spelled_as_in_torch(name, dim, keepdim):
    x = normal(2, 3, 4)
    f, g = getattr(ops, name), getattr(torch, name)
    agree(lambda x: f(x, dim=dim, keepdim=keepdim), lambda x: g(x, dim=dim, keepdim=keepdim), x)


@pytest.mark.parametrize("correction", [0, 1, 2])
def test_variance_with_correction(correction):
    options = {"dim": 1, "correction": correction}
    agree(lambda x: ops.var(x, **options), lambda x: torch.var(x, **options), X)
    agree(lambda x: ops.std(x, **options), lambda x: torch.std(x, **options), X)


@pytest.mark.parametrize(
    ("x", "y"), [((3, 4), (4, 2)), ((2, 3, 4), (4, 2)), ((5, 1, 3, 4), (2, 4, 2)), ((4,), (2, 4, 3)), ((2, 3, 4), (4,))]
)
def test_matmul_broadcasts(x, y):
    agree(ops.matmul, torch.matmul, normal(*x), normal(*y))


CONVS = list(itertools.product((1, 2, (2, 3)), (0, 1, (2, 1)), (1, (1, 2)), (1, 2)))


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), CONVS)
def test_conv2d(stride, padding, dilation, groups):
    options = (stride, padding, dilation, groups)
    w, b = normal(6, 4 // groups, 3, 2), normal(6)
    agree(lambda *t: ops.conv2d(*t, *options), lambda *t: F.conv2d(*t, *options), IMAGE, w, b)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "dilation"), [((3, 3), 1), ((2, 4), 1), ((2, 3), (2, 1))])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_conv2d_with_padding_by_name(padding, kernel, dilation):
    w, options = normal(3, 4, *kernel), {"padding": padding, "dilation": dilation}
    agree(lambda *t: ops.conv2d(*t, **options), lambda *t: F.conv2d(*t, **options), IMAGE, w)


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), CONVS)
def test_conv_transpose2d(stride, padding, dilation, groups):
    extra = (1, 0) if stride != 1 else 0
    options = (stride, padding, extra, groups, dilation)
    w, b = normal(4, 6 // groups, 3, 4), normal(6)
    agree(lambda *t: ops.conv_transpose2d(*t, *options), lambda *t: F.conv_transpose2d(*t, *options), IMAGE, w, b)


POOLS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)},
    {"kernel_size": 2, "stride": 3, "ceil_mode": True},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
]


@pytest.mark.parametrize("options", [*POOLS, {"kernel_size": 2, "stride": 1, "dilation": (2, 3)}])
def test_max_pool2d_and_its_indices(options):
    agree(lambda x: ops.max_pool2d(x, **options), lambda x: F.max_pool2d(x, **options), IMAGE)
    _, ours = ops.max_pool2d(IMAGE, **options, return_indices=True)
    _, theirs = F.max_pool2d(torch.tensor(IMAGE), **options, return_indices=True)
    assert np.array_equal(ours.data, theirs.numpy())


def test_max_pool2d_of_equal_values_takes_the_first_as_torch():
    agree(lambda x: ops.max_pool2d(x, 2), lambda x: F.max_pool2d(x, 2), np.zeros((1, 1, 4, 4)))


@pytest.mark.parametrize("more", [{}, {"count_include_pad": False}, {"divisor_override": 5}])
@pytest.mark.parametrize("options", POOLS)
def test_avg_pool2d(options, more):
    options = options | more
    agree(lambda x: ops.avg_pool2d(x, **options), lambda x: F.avg_pool2d(x, **options), IMAGE)


@pytest.mark.parametrize("options", [{"kernel_size": 2}, {"kernel_size": 2, "output_size": (5, 6)}])
def test_max_unpool2d(options):
    _, places = F.max_pool2d(torch.tensor(IMAGE), 2, return_indices=True)
    x = normal(2, 4, 2, 3)
    agree(
        lambda x, i: ops.max_unpool2d(x, i, **options), lambda x, i: F.max_unpool2d(x, i, **options), x, places.numpy()
    )


@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 2},
        {"scale_factor": (1.5, 3)},
        {"scale_factor": 0.7},
        {"size": (7, 4)},
        {"size": 3},
        {"scale_factor": 2, "mode": "bilinear"},
        {"scale_factor": (0.6, 1.7), "mode": "bilinear"},
        {"size": (3, 11), "mode": "bilinear"},
        {"size": (9, 1), "mode": "bilinear", "align_corners": True},
        {"scale_factor": 2.5, "mode": "bilinear", "align_corners": True},
    ],
)
def test_interpolate(options):
    theirs = options if "mode" not in options else {"align_corners": False} | options
    agree(lambda x: ops.interpolate(x, **options), lambda x: F.interpolate(x, **theirs), IMAGE)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("widths", [(1, 2), (1, 0, 2, 3), (0, 4, 4, 0)])
def test_pad(mode, widths):
    if mode != "constant" and len(widths) == 2:
        widths = (*widths, 0, 0)
    agree(lambda x: ops.pad(x, widths, mode), lambda x: F.pad(x, widths, mode), IMAGE)


def test_pad_with_value_and_negative_widths():
    agree(lambda x: ops.pad(x, (-1, 2, 3, -2), value=7.0), lambda x: F.pad(x, (-1, 2, 3, -2), value=7.0), IMAGE)


W4, B4 = normal(4, seed=1), normal(4, seed=2)


@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 5, 3)])
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_batch_norm_and_its_running_statistics(shape, eps):
    ours, theirs = [[np.zeros(4), np.ones(4)], [torch.zeros(4).double(), torch.ones(4).double()]]
    agree(
        lambda x, w, b: ops.batch_norm(x, *ours, w, b, True, 0.3, eps),
        lambda x, w, b: F.batch_norm(x, *theirs, w, b, True, 0.3, eps),
        *(normal(*shape), W4, B4),
    )
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-9)
    agree(
        lambda x, w, b: ops.batch_norm(x, *ours, w, b, eps=eps),
        lambda x, w, b: F.batch_norm(x, *theirs, w, b, eps=eps),
        *(normal(*shape), W4, B4),
    )
    agree(lambda x: ops.batch_norm(x, *ours), lambda x: F.batch_norm(x, *theirs), normal(*shape))


def test_instance_norm_and_its_running_statistics():
    ours, theirs = [[np.zeros(4), np.ones(4)], [torch.zeros(4).double(), torch.ones(4).double()]]
    for use_input_stats in (True, False):
        agree(
            lambda x, w, b, u=use_input_stats: ops.instance_norm(x, *ours, w, b, u, 0.3),
            lambda x, w, b, u=use_input_stats: F.instance_norm(x, *theirs, w, b, u, 0.3),
            *(IMAGE, W4, B4),
        )
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-9)


@pytest.mark.parametrize("shape", [(6,), (5, 6), (4, 5, 6)])
def test_layer_norm(shape):
    w, b = normal(*shape, seed=1), normal(*shape, seed=2)
    agree(lambda *t: ops.layer_norm(t[0], shape, *t[1:]), lambda *t: F.layer_norm(t[0], shape, *t[1:]), IMAGE, w, b)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm(groups):
    agree(lambda x, w, b: ops.group_norm(x, groups, w, b), lambda x, w, b: F.group_norm(x, groups, w, b), IMAGE, W4, B4)


def test_embedding_gather_and_scatter_add():
    index = np.array([[0, 2, 1], [2, 2, 0]])
    agree(lambda i, w: ops.embedding(i, w), F.embedding, index, normal(4, 3))
    for dim in (0, 1):
        agree(lambda x, i, d=dim: ops.gather(x, d, i), lambda x, i, d=dim: torch.gather(x, d, i), normal(3, 3), index)
        agree(
            lambda x, i, s, d=dim: ops.scatter_add(x, d, i, s),
            lambda x, i, s, d=dim: torch.scatter_add(x, d, i, s),
            *(normal(3, 3), index, normal(2, 3)),
        )


@pytest.mark.parametrize("sections", [2, 5, [1, 4]])
@pytest.mark.parametrize("dim", [1, -1])
def test_split_and_concatenate(sections, dim):
    join = lambda lib, x: lib([p * (i + 1) for i, p in enumerate(x)])
    agree(
        lambda x: join(lambda p: ops.concatenate(p, dim=dim), ops.split(x, sections, dim=dim)),
        lambda x: join(lambda p: torch.cat(p, dim=dim), torch.split(x, sections, dim=dim)),
        X,
    )

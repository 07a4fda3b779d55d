"""Every layer: its derivative, its weights in memory, its modes; and that it is PyTorch's layer of the same name."""

import numpy as np
import pytest

from minigen import grad, gradcheck, nn, tensor, to_numpy
from minigen.backend import Generator
from minigen.ops import relu, tanh

rng = np.random.default_rng(0)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


# name, arguments, options, input: the same call makes PyTorch's layer
CASES = [
    ("Dense", (5, 3), {}, normal(4, 5)),
    ("Dense", (5, 3), {"bias": False}, normal(2, 4, 5)),
    ("Conv2d", (3, 4, 3), {}, normal(2, 3, 7, 6)),
    ("Conv2d", (4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2), {"bias": False}, normal(2, 4, 8, 7)),
    ("ConvTranspose2d", (4, 3, 4, 2, 1), {}, normal(2, 4, 5, 4)),
    ("ConvTranspose2d", (4, 6, 3, 2, 1, 1, 2, False, 2), {}, normal(2, 4, 5, 4)),
    ("BatchNorm1d", (5,), {}, normal(6, 5)),
    ("BatchNorm2d", (3, 1e-3, 0.3), {}, normal(4, 3, 5, 4)),
    ("BatchNorm2d", (3,), {"affine": False}, normal(4, 3, 5, 4)),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, normal(4, 3, 5, 4)),
    ("InstanceNorm2d", (3,), {}, normal(4, 3, 5, 4)),
    ("InstanceNorm2d", (3,), {"affine": True, "track_running_stats": True}, normal(4, 3, 5, 4)),
    ("LayerNorm", (6,), {}, normal(4, 5, 6)),
    ("LayerNorm", ((3, 5, 4),), {}, normal(2, 3, 5, 4)),
    ("LayerNorm", (6,), {"elementwise_affine": False}, normal(4, 6)),
    ("GroupNorm", (2, 6), {}, normal(3, 6, 5, 4)),
    ("GroupNorm", (3, 6), {"affine": False}, normal(3, 6, 5, 4)),
    ("MaxPool2d", (2,), {}, normal(2, 3, 6, 7)),
    ("MaxPool2d", (3, 2, 1), {"ceil_mode": True}, normal(2, 3, 7, 6)),
    ("AvgPool2d", (2,), {}, normal(2, 3, 6, 7)),
    ("AvgPool2d", (3, 2, 1), {"count_include_pad": False}, normal(2, 3, 7, 6)),
    ("Upsample", (), {"scale_factor": 2}, normal(2, 3, 3, 4)),
    ("Upsample", (), {"size": (5, 7), "mode": "bilinear"}, normal(2, 3, 3, 4)),
    ("Flatten", (), {}, normal(2, 3, 4, 5)),
    ("Flatten", (2, 3), {}, normal(2, 3, 4, 5)),
    ("Dropout", (0.0,), {}, normal(3, 4)),
]
RANDOM = {"Dense", "Conv2d", "ConvTranspose2d"}  # layers that draw weights
every_case = pytest.mark.parametrize(("name", "args", "options", "x"), CASES, ids=[f"{c[0]}{c[1]}" for c in CASES])


def make(name, args, options):
    layer = getattr(nn, name)(*args, **options, **({"rng": Generator(0)} if name in RANDOM else {}))
    for i, (_, p) in enumerate(layer.named_parameters()):
        if name not in RANDOM:
            p.data += np.float32(0.1) * (i + np.arange(p.size, dtype=np.float32).reshape(p.shape))  # not just ones
    return layer


def torch_twin(layer, name, args, options):
    torch = pytest.importorskip("torch")
    twin = getattr(torch.nn, {"Dense": "Linear"}.get(name, name))(*args, **options)
    twin.load_state_dict({k: torch.from_numpy(v) for k, v in layer.state_dict().items()})  # by name, strictly
    return torch, twin


@every_case
def test_names_and_shapes_are_pytorchs(name, args, options, x):
    layer = make(name, args, options)
    _, twin = torch_twin(layer, name, args, options)
    assert {k: v.shape for k, v in layer.state_dict().items()} == {
        k: tuple(v.shape) for k, v in twin.state_dict().items()
    }


@every_case
def test_values_and_gradients_are_pytorchs_in_training(name, args, options, x):
    layer = make(name, args, options)
    torch, twin = torch_twin(layer, name, args, options)
    ours, theirs = tensor(x, requires_grad=True), torch.from_numpy(x).requires_grad_()
    y, expected = layer(ours), twin(theirs)
    weights = rng.standard_normal(y.shape).astype(np.float32)
    np.testing.assert_allclose(y.numpy(), expected.detach(), atol=2e-5)
    inputs = [ours, *layer.parameters()]
    found = grad((y * weights).sum(), inputs)
    wanted = torch.autograd.grad((expected * torch.from_numpy(weights)).sum(), [theirs, *twin.parameters()])
    for g, w in zip(found, wanted, strict=True):
        np.testing.assert_allclose(g.numpy(), w, atol=2e-4, rtol=1e-4)  # float32 sums of some hundred terms


@every_case
def test_values_are_pytorchs_in_evaluation_after_two_training_calls(name, args, options, x):
    layer = make(name, args, options)
    torch, twin = torch_twin(layer, name, args, options)
    for factor in (1.0, 3.0):
        layer(tensor(np.float32(factor) * x + 1))
        twin(torch.from_numpy(np.float32(factor) * x + 1))
    for (key, value), expected in zip(layer.state_dict().items(), twin.state_dict().values()):
        np.testing.assert_allclose(value, expected, atol=1e-5, rtol=1e-5, err_msg=key)  # running statistics too
    np.testing.assert_allclose(layer.eval()(tensor(x)).numpy(), twin.eval()(torch.from_numpy(x)).detach(), atol=2e-5)


@every_case
def test_derivatives_are_right_in_inputs_and_parameters(name, args, options, x):
    assert gradcheck(make(name, args, options), x)


@every_case
def test_derivatives_are_right_in_evaluation(name, args, options, x):
    assert gradcheck(make(name, args, options).eval(), x, order=1)


# ------------------------------------------------------------------------------------------------ whole networks


def conv_net():
    r = Generator(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, 2, 1, bias=False, rng=r), nn.BatchNorm2d(4), relu, nn.GroupNorm(2, 4)),
        *(nn.ConvTranspose2d(4, 2, 4, 2, 1, rng=r), nn.InstanceNorm2d(2, affine=True), nn.LayerNorm((2, 8, 8)), tanh),
        *(nn.Flatten(), nn.Dense(128, 5, rng=r), nn.BatchNorm1d(5)),
    )


def torch_conv_net(torch):
    t = torch.nn
    return t.Sequential(
        *(t.Conv2d(1, 4, 3, 2, 1, bias=False), t.BatchNorm2d(4), t.ReLU(), t.GroupNorm(2, 4)),
        *(t.ConvTranspose2d(4, 2, 4, 2, 1), t.InstanceNorm2d(2, affine=True), t.LayerNorm((2, 8, 8)), t.Tanh()),
        *(t.Flatten(), t.Linear(128, 5), t.BatchNorm1d(5)),
    )


def test_a_network_exchanges_weights_with_pytorchs_sequential_both_ways():
    torch = pytest.importorskip("torch")
    ours, theirs, x = conv_net(), torch_conv_net(torch), normal(3, 1, 8, 8)
    theirs(torch.from_numpy(x))  # moves the running statistics and counts a batch
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) != []
    assert set(ours.state_dict()) == set(theirs.state_dict())
    assert ours.state_dict()["1.num_batches_tracked"] == 1
    np.testing.assert_allclose(ours.eval()(tensor(x)).numpy(), theirs.eval()(torch.from_numpy(x)).detach(), atol=1e-5)
    back = torch_conv_net(torch)
    back.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    for (name, a), b in zip(back.state_dict().items(), theirs.state_dict().values()):
        assert torch.equal(a, b), name


# ------------------------------------------------------------------------------------------------ single layers


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 8, (3, 2)), nn.ConvTranspose2d(3, 8, (3, 2))])
def test_the_weights_of_a_convolution_lie_channels_last_in_memory(layer):
    assert layer.weight.data.transpose(0, 2, 3, 1).flags.c_contiguous


def test_an_embedding_is_pytorchs():
    torch = pytest.importorskip("torch")
    ours, index = nn.Embedding(7, 3, rng=Generator(0)), np.array([[1, 6, 1], [0, 2, 2]])
    theirs = torch.nn.Embedding(7, 3)
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    y, expected = ours(index), theirs(torch.from_numpy(index))
    np.testing.assert_array_equal(y.numpy(), expected.detach())
    (g,) = grad((y * y).sum(), ours.parameters())
    (w,) = torch.autograd.grad((expected * expected).sum(), theirs.parameters())
    np.testing.assert_allclose(g.numpy(), w, atol=1e-6)


def test_the_derivative_of_an_embedding_is_right():
    assert gradcheck(nn.Embedding(7, 3, rng=Generator(0)), np.array([1, 6, 1]))


def test_unpooling_returns_each_maximum_to_its_place_as_pytorch():
    torch = pytest.importorskip("torch")
    x = normal(2, 3, 6, 8)
    y, places = nn.MaxPool2d(2, return_indices=True)(tensor(x))
    expected, indices = torch.nn.MaxPool2d(2, return_indices=True)(torch.from_numpy(x))
    unpooled = torch.nn.MaxUnpool2d(2)(expected, indices)
    np.testing.assert_array_equal(to_numpy(getattr(places, "data", places)), indices)
    np.testing.assert_array_equal(nn.MaxUnpool2d(2)(y, places).numpy(), unpooled)


def test_reshape_keeps_the_batch():
    assert nn.Reshape(2, 3)(tensor(normal(5, 6))).shape == (5, 2, 3)


def test_dropout_zeroes_a_share_p_and_keeps_the_mean_in_training():
    y = nn.Dropout(0.3, rng=Generator(0))(tensor(np.ones((300, 400), np.float32))).numpy()
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.007)  # 5 σ of 120,000 draws
    assert set(np.unique(y)) == {0, np.float32(1 / 0.7)}


def test_dropout_passes_everything_in_evaluation():
    x = normal(3, 4)
    assert np.array_equal(nn.Dropout(0.9, rng=Generator(0)).eval()(tensor(x)).numpy(), x)


def test_dropout_draws_a_new_mask_each_call_and_the_same_for_the_same_seed():
    x = tensor(np.ones((20, 20), np.float32))
    first, second = nn.Dropout(rng=Generator(0)), nn.Dropout(rng=Generator(0))
    a, b = first(x).numpy(), first(x).numpy()
    assert not np.array_equal(a, b)
    assert np.array_equal(a, second(x).numpy())


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match=r"Dropout: expected a probability p in \[0, 1\]; got"):
        nn.Dropout(p)


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"Conv2d\(3, 4\): groups must divide both numbers of channels; got groups=2"):
        nn.Conv2d(3, 4, 3, groups=2)


@pytest.mark.parametrize(
    ("make_layer", "message"),
    [
        (lambda: nn.Dense(0, 3), r"Dense\(0, 3\): expected sizes of at least 1"),
        (lambda: nn.Dense(3, -1), r"Dense\(3, -1\): expected sizes of at least 1"),
        (lambda: nn.Conv2d(3, 0, 3), r"Conv2d\(3, 0, 3\): expected sizes of at least 1"),
        (lambda: nn.ConvTranspose2d(3, 4, 0), r"ConvTranspose2d\(3, 4, 0\): expected sizes of at least 1"),
        (lambda: nn.Embedding(0, 3), r"Embedding\(0, 3\): expected sizes of at least 1"),
    ],
)
def test_sizes_below_1_are_refused_by_name(make_layer, message):
    with pytest.raises(ValueError, match=message):
        make_layer()

"""What normalisation layers refuse, what they remember, and that spectral norm holds a layer to slope 1."""

import numpy as np
import pytest

from minigen import grad, gradcheck, nn, tensor
from minigen.backend import Generator

rng = np.random.default_rng(0)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kind", ["BatchNorm", "BatchNorm1d", "BatchNorm2d", "InstanceNorm2d"])
def test_a_second_argument_that_looks_like_a_momentum_is_refused(kind):
    """`BatchNorm2d(64, 0.8)` sets eps; a well-known collection of GANs does it."""
    with pytest.raises(
        ValueError, match=r"\(64, 0.8\): the second argument is eps.*got 0.8. Did you mean momentum=0.8"
    ):
        getattr(nn, kind)(64, 0.8)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.BatchNorm2d(3), (2, 4, 5, 5), r"BatchNorm2d\(3\): expected x of shape \(N, 3, H, W\); got \(2, 4, 5, 5\)"),
        (nn.BatchNorm2d(3), (2, 3), r"expected x of shape \(N, 3, H, W\); got \(2, 3\)"),
        (nn.BatchNorm1d(3), (2, 3, 5, 5), r"BatchNorm1d\(3\): expected x of shape \(N, 3\); got \(2, 3, 5, 5\)"),
        (nn.BatchNorm(3), (2, 4), r"expected x of shape \(N, 3\) or \(N, 3, H, W\); got \(2, 4\)"),
        (nn.BatchNorm1d(3), (1, 3), r"expected more than 1 value per channel in training"),
        (nn.InstanceNorm2d(3), (2, 3, 1, 1), r"expected more than 1 position per channel"),
        (nn.LayerNorm(3), (2, 4), r"layer_norm: expected x of shape \(..., 3\); got \(2, 4\)"),
    ],
)
def test_a_shape_that_does_not_fit_is_named(layer, shape, expected):
    with pytest.raises(ValueError, match=expected):
        layer(tensor(normal(*shape)))


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"GroupNorm\(4, 6\): the groups must divide the channels"):
        nn.GroupNorm(4, 6)


def test_momentum_is_the_weight_of_the_new_batch():
    norm, x = nn.BatchNorm1d(1, momentum=0.25), np.array([[1.0], [3.0]], np.float32)
    norm(tensor(x))
    assert norm.running_mean.data.tolist() == [0.25 * 2]
    assert norm.running_var.data.tolist() == [0.75 * 1 + 0.25 * 2]  # the unbiased variance of 1 and 3 is 2
    assert norm.num_batches_tracked.data == 1


def test_in_evaluation_nothing_is_remembered():
    norm = nn.BatchNorm2d(3).eval()
    before = norm.state_dict()
    norm(tensor(normal(2, 3, 4, 4) + 5))
    assert all(np.array_equal(v, before[k]) for k, v in norm.state_dict().items())


def test_after_training_a_batch_has_mean_0_and_variance_1():
    y = nn.BatchNorm2d(3)(tensor(7 * normal(8, 3, 5, 5) + 100)).numpy()
    assert abs(y.mean((0, 2, 3))).max() < 1e-4  # float32 at 100
    assert y.var((0, 2, 3)) == pytest.approx(1, abs=1e-3)


# ------------------------------------------------------------------------------------------------ spectral norm

LAYERS = {
    "dense": lambda: (nn.Dense(6, 4, rng=Generator(0)), normal(3, 6)),
    "conv": lambda: (nn.Conv2d(2, 4, 3, rng=Generator(0)), normal(3, 2, 5, 5)),
    "transposed": lambda: (nn.ConvTranspose2d(2, 4, 3, rng=Generator(0)), normal(3, 2, 5, 5)),
}


def effective_matrix(module):
    """The weight that the layer is really applied with, one row per output."""
    seen = []
    apply = module.layer.apply
    module.layer.apply = lambda x, weight: seen.append(weight.numpy()) or apply(x, weight)
    module(tensor(module.input))
    del module.layer.apply
    w = seen[0].swapaxes(0, 1) if getattr(module.layer, "transposed", False) else seen[0]
    return w.reshape(len(w), -1)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_largest_singular_value_is_1_after_training_calls(kind):
    layer, x = LAYERS[kind]()
    layer.weight.data *= 5
    module = nn.SpectralNorm(layer, rng=Generator(1))
    module.input = x
    for _ in range(40):
        module(tensor(x))
    singular_values = np.linalg.svd(effective_matrix(module), compute_uv=False)
    assert singular_values[0] == pytest.approx(1, abs=1e-4)


def test_the_singular_vectors_follow_the_weight_in_training_only():
    layer, x = LAYERS["dense"]()
    module = nn.SpectralNorm(layer, rng=Generator(1))
    layer.weight.data[...] = normal(4, 6)
    u = module.u.data.copy()
    module.eval()(tensor(x))
    assert np.array_equal(module.u.data, u)
    module.train()(tensor(x))
    assert not np.array_equal(module.u.data, u)


def test_spectral_norm_is_pytorchs_in_value_and_gradient():
    torch = pytest.importorskip("torch")
    layer, x = LAYERS["conv"]()
    module = nn.SpectralNorm(layer, rng=Generator(1)).eval()
    twin = torch.nn.Conv2d(2, 4, 3)
    twin.load_state_dict({k: torch.from_numpy(v) for k, v in layer.state_dict().items()})
    twin = torch.nn.utils.parametrizations.spectral_norm(twin)
    with torch.no_grad():
        twin.parametrizations.weight[0]._u.copy_(torch.from_numpy(module.u.data))
        twin.parametrizations.weight[0]._v.copy_(torch.from_numpy(module.v.data))
    y, expected = module(tensor(x)), twin.eval()(torch.from_numpy(x))
    np.testing.assert_allclose(y.numpy(), expected.detach(), atol=1e-5)
    found = grad((y * y).sum(), [layer.weight, layer.bias])
    wanted = torch.autograd.grad((expected * expected).sum(), [twin.parametrizations.weight.original, twin.bias])
    for g, w in zip(found, wanted, strict=True):
        np.testing.assert_allclose(g.numpy(), w, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_derivative_through_spectral_norm_is_right(kind):
    layer, x = LAYERS[kind]()
    module = nn.SpectralNorm(layer, rng=Generator(1)).eval()
    assert gradcheck(module, x)


def test_two_calls_before_backward_each_have_their_own_sigma():
    """D(real) and D(fake) share the vectors u, v: what the first call's graph keeps must not change with the second."""
    layer, x = LAYERS["dense"]()
    module = nn.SpectralNorm(layer, rng=Generator(1))
    layer.weight.data[...] = normal(4, 6)  # the next rounds change u and v much
    alone = nn.SpectralNorm(layer, rng=Generator(1))
    alone.u.data[...], alone.v.data[...] = module.u.data, module.v.data
    first = module(tensor(x))
    module(tensor(x))
    (late,) = grad(first.sum(), [layer.weight])
    (early,) = grad(alone(tensor(x)).sum(), [layer.weight])
    assert np.array_equal(late.numpy(), early.numpy())


def test_u_and_v_are_saved_and_not_trained():
    module = nn.SpectralNorm(nn.Dense(3, 2))
    assert set(module.state_dict()) == {"layer.weight", "layer.bias", "u", "v"}
    assert len(module.parameters()) == 2

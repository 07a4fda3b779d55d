"""debug(): the first NaN or infinity is named with op, input and layer; so is an array changed before backward."""

import numpy as np
import pytest

from minigen import nn, ops
from minigen.autograd import Tensor, grad, no_grad, op, state, tensor
from minigen.debug import debug

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own, of the divisions by zero made here


def leaf(*values):
    return tensor(np.array(values, np.float32), requires_grad=True)


class Encoder(nn.Module):
    """Two layers, so that a path has a dot; the second takes a logarithm of what may be 0."""

    def __init__(self):
        self.layers = nn.Sequential(nn.Dense(3, 3), Logarithm())

    def forward(self, x):
        return self.layers(x)


class Logarithm(nn.Module):
    def forward(self, x):
        return ops.log(x * 0.0)


class Root(nn.Module):
    """Finite everywhere, but with an infinite derivative at 0."""

    def forward(self, x):
        return ops.sqrt(x * 0.0)


# ------------------------------------------------------------------------------------------------ forward


def test_the_op_that_first_makes_an_infinity_is_named_with_its_shapes():
    x = leaf(2.0, 0.0, 0.0)
    with debug(), pytest.raises(FloatingPointError, match=r"log\(x: \(3,\) float32\): the result holds -inf at 2 of 3"):
        ops.exp(ops.log(x))


def test_the_place_and_the_range_of_the_inputs_are_told():
    with debug(), pytest.raises(FloatingPointError, match=r"first at \(0, 1\), made of finite inputs: x in \[0, 2\]"):
        ops.log(tensor([[2.0, 0.0, 1.0]]))


def test_overflow_is_found_in_what_is_not_recorded_too():
    with debug(), no_grad(), pytest.raises(FloatingPointError, match=r"exp.*holds inf"):
        ops.exp(leaf(1000.0, 1.0))


def test_a_single_number_is_checked():
    with debug(), pytest.raises(FloatingPointError, match=r"log.*holds -inf"):
        ops.log(leaf(1.0, -1.0).sum())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_number_that_came_in_is_said_to_be_an_inputs(bad):
    with debug(), pytest.raises(FloatingPointError, match=r"the input 'y' holds (nan|inf|-inf).*No op made it"):
        leaf(1.0, 2.0) * tensor([1.0, bad])


def test_a_bad_python_number_is_said_to_be_an_inputs():
    with debug(), pytest.raises(FloatingPointError, match="the input 'y' holds nan"):
        leaf(1.0) * float("nan")


def test_the_layer_is_named_by_its_path_from_the_outermost_module():
    with debug(), pytest.raises(FloatingPointError, match=r"log\(.* in layers\.1: Logarithm: the result holds -inf"):
        Encoder()(tensor(np.ones((2, 3), np.float32)))


def test_the_outermost_module_is_named_by_its_type():
    with debug(), pytest.raises(FloatingPointError, match=r" in Logarithm: "):
        Logarithm()(leaf(1.0))


def test_each_output_of_an_op_with_several_is_checked():
    @op(x=lambda g: g[0])
    def halves(x):
        return x, x / 0

    with debug(), pytest.raises(FloatingPointError, match=r"halves.*holds inf"):
        halves(leaf(1.0, 2.0))


def test_integers_and_finite_numbers_pass():
    with debug():
        x = leaf(3.0, 1.0, 2.0, 0.0).reshape(1, 1, 2, 2)
        y, places = ops.max_pool2d(x, 2, return_indices=True)
        assert places.dtype.kind == "i"
        assert grad(y.sum(), x).tolist() == [[[[1, 0], [0, 0]]]]


# ------------------------------------------------------------------------------------------------ backward


def test_the_vjp_that_first_makes_an_infinity_is_named_with_its_input():
    x = leaf(4.0, 0.0)
    with (
        debug(),
        pytest.raises(FloatingPointError, match=r"backward of sqrt\(x: \(2,\) float32\): its VJP for 'x' gave"),
    ):
        grad(ops.sqrt(x * 1.0).sum(), x)


def test_backward_names_the_layer_of_the_forward():
    net = nn.Sequential(nn.Dense(3, 3), Root())
    with debug(), pytest.raises(FloatingPointError, match=r"backward of sqrt\(.*\) in 1: Root: its VJP"):
        grad(net(tensor(np.ones((2, 3), np.float32))).sum(), net.parameters())


def test_a_second_derivative_is_checked_as_well():
    x = leaf(1.0, 0.0)
    with debug():
        first = grad((ops.relu(x) ** 1.5).sum(), x, create_graph=True)  # 1.5·√x, finite
        with pytest.raises(FloatingPointError, match="backward of pow"):
            grad(first.sum(), x)


def test_a_cotangent_that_was_bad_when_it_came_is_not_blamed_on_a_vjp():
    x = leaf(1.0, 2.0)
    with debug(), pytest.raises(FloatingPointError, match=r"backward of mul.*passed as grad_outputs"):
        grad(x * 3.0, x, grad_outputs=np.array([1.0, np.nan], np.float32))


def test_finite_contributions_whose_sum_overflows_are_not_blamed_on_a_vjp():
    x = leaf(1e-10)
    with debug():
        y = x * 1.0
        loss = (y * 3e38 + y * 2e38).sum()
        with pytest.raises(FloatingPointError, match=r"backward of mul.*holds inf.*overflowed when they were added up"):
            grad(loss, x)


def test_a_graph_recorded_outside_is_checked_without_its_layer():
    x = leaf(0.0)
    y = ops.sqrt(x * 1.0)
    with debug(), pytest.raises(FloatingPointError, match=r"backward of sqrt \(recorded outside debug\(\)"):
        y.backward()


# ------------------------------------------------------------------------------------------------ in place


def test_a_change_of_what_backward_needs_is_named():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with debug():
        y = x * w
        w.data += 1
        with pytest.raises(
            RuntimeError, match=r"backward of mul\(.*\): 'y' of shape \(2,\), saved for it, was changed"
        ):
            grad(y.sum(), x)


def test_a_change_of_the_result_is_named_where_the_result_is_needed():
    x = leaf(1.0, 2.0)
    with debug():
        y = ops.exp(x)
        y.data[0] = 0
        with pytest.raises(RuntimeError, match=r"backward of exp\(.*\): 'out' of shape \(2,\)"):
            grad(y.sum(), x)


def test_the_layer_of_the_changed_array_is_named():
    net = nn.Sequential(nn.Dense(3, 3), nn.Dense(3, 2))
    with debug():
        y = net(tensor(np.ones((2, 3), np.float32)))
        net[1].weight.data *= 2  # an optimiser's step between forward and backward
        with pytest.raises(RuntimeError, match=r"in 1: Dense: 'weight' of shape \(2, 3\)"):
            grad(y.sum(), net.parameters())


def test_one_array_among_several_is_noticed():
    @op(xs=lambda g, xs, i: g * xs[1 - i])
    def product(*xs):
        return xs[0] * xs[1]

    a, b = leaf(1.0), leaf(2.0)
    with debug():
        y = product(a, b)
        b.data += 1
        with pytest.raises(RuntimeError, match=r"product.*'xs' of shape"):
            grad(y.sum(), a)


@pytest.mark.parametrize(
    "view", [lambda a: a.T, lambda a: a[::2], lambda a: a[:, ::-1]], ids=["T", "sliced", "reversed"]
)
def test_arrays_of_any_layout_are_watched(view):
    base = np.ones((4, 4), np.float32)
    x, w = tensor(np.ones(view(base).shape, np.float32), requires_grad=True), Tensor(view(base))
    with debug():
        y = x * w
        w.data[-1, -1] = 5
        with pytest.raises(RuntimeError, match="'y'"):
            grad(y.sum(), x)


def test_a_change_of_what_no_vjp_on_the_way_needs_is_no_fault():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with debug():
        y = x * w
        w.data += 1
        assert grad(y.sum(), w).tolist() == [1, 2]  # only x is needed for it


def test_a_change_after_backward_is_no_fault():
    net = nn.Dense(3, 2)
    with debug():
        for _ in range(2):
            for p, g in zip(net.parameters(), grad(net(tensor(np.ones((2, 3), np.float32))).sum(), net.parameters())):
                p.data -= g.data


def test_without_debug_the_change_is_not_noticed():
    x, w = leaf(1.0), leaf(3.0)
    y = x * w
    w.data += 1
    assert grad(y.sum(), x).tolist() == [4]  # wrong, as the documentation says


# ------------------------------------------------------------------------------------------------ switching it


def test_nonfinite_false_lets_them_pass_and_still_checks_for_changes():
    x = leaf(0.0)
    with debug(nonfinite=False):
        y = ops.log(x)
        assert grad(y.sum(), x).tolist() == [np.inf]
        x.data += 1
        with pytest.raises(RuntimeError, match="'x'"):
            grad(y.sum(), x)


def test_inplace_false_lets_changes_pass_and_still_stops_at_infinities():
    x = leaf(1.0)
    with debug(inplace=False):
        y = x * x
        x.data += 1
        assert grad(y.sum(), x).tolist() == [4]
        with pytest.raises(FloatingPointError):
            ops.log(x * 0.0)


def test_it_ends_with_its_block_also_after_an_error():
    with pytest.raises(FloatingPointError), debug():
        ops.log(leaf(0.0))
    assert state.watcher is None


def test_blocks_nest():
    with debug():
        outer = state.watcher
        with debug(nonfinite=False):
            ops.log(leaf(0.0))
        assert state.watcher is outer


def test_it_changes_no_number():
    def gradients():
        net = nn.Sequential(nn.Conv2d(1, 2, 3, rng=None), nn.BatchNorm2d(2), ops.relu, nn.Flatten())
        for i, p in enumerate(net.parameters()):
            p.data[...] = np.random.default_rng(i).standard_normal(p.shape)
        x = tensor(np.random.default_rng(9).standard_normal((4, 1, 6, 6)).astype(np.float32))
        return grad((net(x) ** 2).sum(), net.parameters())

    plain = gradients()
    with debug():
        for a, b in zip(gradients(), plain):
            np.testing.assert_array_equal(a.data, b.data)

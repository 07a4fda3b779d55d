"""grad: values, pruning, memory, depth, and what its errors say."""

import gc
import weakref

import numpy as np
import pytest

from minigen import ops
from minigen.autograd import detach, grad, op, state, tensor
from minigen.nn import Dense, Sequential


def leaf(*values):
    return tensor(np.array(values, np.float32), requires_grad=True)


class VJPs:
    """Counts the VJPs that run, by op and input."""

    def __init__(self, monkeypatch):
        self.ran = []
        monkeypatch.setattr(state, "watcher", self)

    def forward(self, op, out, call):
        pass

    def before_vjps(self, pull):
        pass

    def after_vjp(self, node, i, contribution):
        self.ran.append(f"{node.op}.{node.op.input_name(i)}")


# ------------------------------------------------------------------------------------------------ values


def test_one_input_gives_one_gradient_and_several_give_a_list():
    x, y = leaf(2.0), leaf(3.0)
    assert grad(x * y, x).item() == 3
    assert [g.item() for g in grad(x * y, [x, y])] == [3, 2]
    assert grad(x * y, []) == []


def test_gradients_of_intermediate_tensors():
    x = leaf(2.0)
    y = x * x
    z = y * x
    gx, gy, gz = grad(z, [x, y, z])
    assert (gx.item(), gy.item(), gz.item()) == (12, 2, 1)


def test_a_tensor_used_twice_receives_the_sum():
    x = leaf(3.0)
    assert grad(x * x + x, x).item() == 7
    assert [g.item() for g in grad(x * x, [x, x])] == [6, 6]


def test_a_diamond_is_passed_through_once(monkeypatch):
    x = leaf(1.0)
    y = x * 2.0
    for _ in range(20):
        y = y + y  # 2²⁰ paths
    vjps = VJPs(monkeypatch)
    assert grad(y, x).item() == 2**21
    assert len(vjps.ran) == 41


def test_broadcasting_is_summed_back():
    x, b = leaf(*np.ones((2, 3, 4))), leaf(*np.ones((3, 1)))
    gx, gb = grad((x * b).sum(), [x, b])
    assert (gx.shape, gb.shape) == ((2, 3, 4), (3, 1))
    assert gb.tolist() == [[8], [8], [8]]


def test_a_loss_of_any_shape_takes_a_cotangent_of_that_shape():
    x = leaf(1.0, 2.0)
    for g in (np.array([1.0, 10.0], np.float32), tensor([1.0, 10.0]), [1.0, 10.0]):
        assert grad(x * x, x, grad_outputs=g).tolist() == [2, 40]


def test_gradients_are_float32_for_float32_also_with_a_float64_cotangent_in_a_list():
    x = leaf(1.0, 2.0)
    assert grad(x * x, x, grad_outputs=[1.0, 1.0]).dtype == np.float32


def test_detach_cuts_the_graph():
    x = leaf(3.0)
    assert grad(x * x.detach(), x).item() == 3
    assert grad(x * detach(x), x).item() == 3
    assert detach(2.0) == 2.0
    assert np.shares_memory(x.detach().data, x.data)


def test_an_unused_input_gives_none_where_that_is_allowed():
    x, y = leaf(1.0), leaf(1.0)
    assert grad(x * 2, [x, y], allow_unused=True)[1] is None


# ------------------------------------------------------------------------------------------------ pruning


def test_only_vjps_on_the_way_to_the_inputs_run(monkeypatch):
    x, w, v = leaf(2.0), leaf(3.0), leaf(5.0)
    loss = (x * w) * v
    vjps = VJPs(monkeypatch)
    grad(loss, x)
    assert vjps.ran == ["mul.x", "mul.x"]
    vjps.ran.clear()
    grad(loss, v)
    assert vjps.ran == ["mul.y"]


def test_a_generator_step_computes_no_weight_gradient_of_the_discriminator(monkeypatch):
    G, D = Sequential(Dense(2, 3), ops.relu), Sequential(Dense(3, 4), ops.relu, Dense(4, 1))
    score = D(G(tensor(np.ones((5, 2), np.float32)))).mean()
    vjps = VJPs(monkeypatch)
    grad(score, G.parameters())
    ran = [name.replace("_leaky", "") for name in vjps.ran]
    assert ran.count("linear.x") == 2  # through both layers of D
    assert ran.count("linear.weight") == ran.count("linear.bias") == 1  # of G alone


def test_nothing_older_than_the_inputs_is_looked_at(monkeypatch):
    x = leaf(1.0)
    y = x
    for _ in range(50):
        y = y * 2.0
    vjps = VJPs(monkeypatch)
    assert grad(y * 3.0, y).item() == 3
    assert len(vjps.ran) == 1


# ------------------------------------------------------------------------------------------------ memory and depth


@pytest.fixture
def without_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def graph(t):
    """All Nodes that made a Tensor."""
    seen, stack = {}, [t.node]
    while stack:
        if (n := stack.pop()) is not None and id(n) not in seen:
            seen[id(n)] = n
            stack.extend(n.parents)
    return list(seen.values())


def everything(x):
    """A loss through ops that save inputs, outputs and shared quantities, with one output or several."""
    y = ops.sigmoid(ops.exp(x * 0.1))
    y = ops.batch_norm(y, None, None, training=True)
    a, b = ops.split(y, 2, axis=1)
    return ops.concatenate([a, ops.log_softmax(b)]).sum()


@pytest.mark.parametrize("backward", ["none", "grad", "backward", "second order"])
def test_no_node_is_alive_after_the_loss_with_the_collector_off(without_collector, backward):
    x = leaf(*np.random.default_rng(0).standard_normal((3, 4)))
    loss = everything(x)
    if backward == "grad":
        grad(loss, x)
    elif backward == "backward":
        loss.backward()
    elif backward == "second order":
        g = grad(loss, x, create_graph=True)
        loss = loss + (g * g).sum()
        grad(loss, x)
        del g
    nodes = [weakref.ref(n) for n in graph(loss) if n is not x.node]
    assert len(nodes) > 8
    del loss
    assert [r() for r in nodes if r() is not None] == []


def test_a_chain_of_10000_ops_needs_no_recursion_forward_backward_or_when_it_dies():
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y * 1.0001
    assert grad(y, x).item() == pytest.approx(np.e, rel=1e-2)
    g = grad(y, x, create_graph=True)
    del y
    assert g.shape == (1,)


# ------------------------------------------------------------------------------------------------ errors


def test_a_loss_that_is_not_a_number_is_told_how_to_become_one():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"expected a loss that is a single number; got shape \(2,\).*\.sum\(\) or"):
        grad(x * x, x)
    with pytest.raises(ValueError, match="single number"):
        (x * x).backward()


def test_a_loss_that_does_not_depend_on_an_input_names_it():
    x, y = leaf(1.0), leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"does not depend on 'inputs\[1\]' \(shape \(2,\)\). Was it cut by detach"):
        grad(x * 2, [x, y])
    net = Sequential(Dense(2, 3), Dense(3, 1))
    with pytest.raises(ValueError, match=r"does not depend on '1\.weight' \(shape \(1, 3\)\)"):
        grad(net[0](tensor([[1.0, 2.0]])).sum(), net.parameters())


def test_a_constant_loss_depends_on_nothing():
    with pytest.raises(ValueError, match="does not depend on 'inputs"):
        grad(tensor([1.0]), leaf(1.0))
    with pytest.raises(ValueError, match="depends on no tensor that was made with requires_grad=True"):
        tensor([1.0]).backward()


@pytest.mark.parametrize("constant", [tensor([1.0]), np.ones(1), 2.0], ids=["tensor", "array", "number"])
def test_an_input_without_gradient_is_told_how_to_get_one(constant):
    with pytest.raises(
        ValueError, match=r"'inputs\[0\]' has no gradient. Make it with tensor\(..., requires_grad=True"
    ):
        grad(leaf(1.0) * 2, [constant])


def test_a_cotangent_of_a_wrong_shape_is_refused():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"expected grad_outputs of shape \(2,\), as the loss; got \(3,\)"):
        grad(x * 2, x, grad_outputs=np.ones(3, np.float32))


@pytest.mark.parametrize(
    "wrong", [lambda g: g[:1, :1, None], lambda g: g.reshape(4, 3), lambda g: g[0], lambda g: g[:, :2]], ids=range(4)
)
def test_a_vjp_that_returns_a_wrong_shape_is_named_with_both_shapes(wrong):
    @op(x=wrong)
    def f(x):
        return x * 2

    x = leaf(*np.ones((3, 4)))
    shape = r"\(3, 4\): it must have that shape, or one that broadcasting makes of it"
    with pytest.raises(
        ValueError, match=f"a VJP returned a gradient of shape .* for an input of shape {shape}"
    ) as raised:
        grad(f(x).sum(), x)
    assert raised.value.__notes__ == ["in the VJP of f for 'x'"]

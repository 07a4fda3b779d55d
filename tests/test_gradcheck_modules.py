"""gradcheck of Modules: inputs and parameters, everything else left as found."""

import numpy as np
import pytest

from minigen import ops
from minigen.autograd import Leaf, op, tensor
from minigen.backend import Generator
from minigen.gradcheck import gradcheck
from minigen.nn import BatchNorm, Conv2d, Dense, Dropout, Module, Sequential

rng = np.random.default_rng(0)
X = rng.standard_normal((4, 3))


@op(x=lambda g, x: g * 3 * x**2)
def cube(x):
    return x**3


@op(x=lambda g, x: g * 0 + 1234.5)
def absurd_cube(x):
    return x**3


def failure(f, *inputs, **options):
    report = gradcheck(f, *inputs, raise_on_failure=False, **options)
    assert not report
    return report


def network(seed=0):
    r = Generator(seed)
    flat = lambda x: ops.flatten(x, 1)
    return Sequential(
        Conv2d(2, 3, 3, padding=1, rng=r), BatchNorm(3), ops.tanh, flat, Dropout(0.5, rng=r), Dense(48, 2, rng=r)
    )


IMAGES = rng.standard_normal((3, 2, 4, 4)).astype(np.float32)


def test_a_network_with_batch_norm_and_dropout_passes_in_inputs_and_parameters():
    assert gradcheck(network(), IMAGES)
    assert gradcheck(network().eval(), IMAGES)


def test_a_module_is_left_as_found():
    net = network()
    parameters = [(p.data, p.data.copy(), p.node, p.grad) for p in net.parameters()]
    buffers = [(b.data, b.data.copy()) for _, b in net.named_buffers()]
    states = [g.state() for _, g in net.named_generators()]
    gradcheck(net, IMAGES)
    for p, (data, values, node, g) in zip(net.parameters(), parameters):
        assert p.data is data
        assert p.node is node
        assert p.grad is g
        assert data.dtype == np.float32
        assert np.array_equal(data, values)
    for (name, b), (data, values) in zip(net.named_buffers(), buffers):
        assert b.data is data, name
        assert np.array_equal(data, values), name
    assert states
    assert [g.state() for _, g in net.named_generators()] == states


def test_a_module_is_left_as_found_when_the_check_fails_to_run():
    net = network()
    with pytest.raises(ValueError, match="expected x of shape"):
        gradcheck(net, IMAGES[:, :1])
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float32)}


class Scale(Module):
    def __init__(self):
        self.w = Dense(3, 3, rng=Generator(0))

    def forward(self, x):
        return absurd_cube(self.w.weight) @ x


def test_a_wrong_parameter_is_named_by_its_path():
    report = failure(Scale(), X[:3])
    assert [e.name for e in report.elements] == ["w.weight"]
    assert report.subject == "Scale"


def test_a_module_without_inputs_and_a_frozen_parameter():
    class Free(Module):
        def __init__(self):
            self.a, self.b = Dense(2, 2, rng=Generator(0)), Dense(2, 2, rng=Generator(0))

        def forward(self):
            return cube(self.a.weight) + absurd_cube(self.b.weight)

    module = Free()
    assert [e.name for e in failure(module).elements] == ["b.weight"]
    module.b.weight.node = None  # frozen: a constant, and not checked
    assert gradcheck(module)


def test_anything_callable_with_parameters_counts_as_a_module():
    class Duck:
        def __init__(self):
            self.w = tensor([1.0, 2.0], requires_grad=True)

        def parameters(self):
            return [self.w]

        def __call__(self, x):
            return absurd_cube(self.w) * x

    duck = Duck()
    assert [e.name for e in failure(duck, X[0, :2]).elements] == ["parameters[0]"]
    assert duck.w.dtype == np.float32
    assert type(duck.w.node) is Leaf

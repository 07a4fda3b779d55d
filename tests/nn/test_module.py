"""Module: what it finds of itself, in which order, and how it is saved, loaded, switched and printed."""

import numpy as np
import pytest

from minigen.backend import Generator
from minigen.nn import BatchNorm2d, Buffer, Conv2d, Dense, Dropout, Flatten, Module, Parameter, Sequential
from minigen.ops import relu


def dense(n_in=2, n_out=3, seed=0):
    return Dense(n_in, n_out, rng=Generator(seed))


def small_net():
    rng = Generator(0)
    return Sequential(
        *(Conv2d(1, 4, 3, padding=1, rng=rng), BatchNorm2d(4), relu, Dropout(0.5, rng=rng)),
        *(Flatten(), Dense(36, 2, rng=rng)),
    )


# ------------------------------------------------------------------------------------------------ what it finds


class Named(Module):
    def __init__(self):
        self.z = dense()
        self.a = Parameter(np.ones(2, np.float32))
        self.several = [dense(), {"key": dense(), "other": (dense(),)}]
        self.count = Buffer(np.zeros((), np.int64))
        self.b = Parameter(np.ones(1, np.float32))


def test_parameters_are_named_in_order_of_definition_through_lists_tuples_and_dicts():
    assert [name for name, _ in Named().named_parameters()] == [
        *("z.weight", "z.bias", "a", "several.0.weight", "several.0.bias", "several.1.key.weight"),
        *("several.1.key.bias", "several.1.other.0.weight", "several.1.other.0.bias", "b"),
    ]


def test_a_parameter_knows_its_name_once_it_was_found():
    module = Named()
    assert module.a.name is None
    module.parameters()
    assert module.several[1]["key"].weight.name == "several.1.key.weight"


def test_a_buffer_is_saved_but_not_trained():
    module = Named()
    assert "count" in module.state_dict()
    assert [name for name, _ in module.named_buffers()] == ["count"]
    assert all(p is not module.count for p in module.parameters())


def test_a_module_used_in_two_places_is_found_once_under_its_first_name():
    shared = dense(3, 3)
    net = Sequential(shared, relu, shared)
    assert list(net.state_dict()) == ["0.weight", "0.bias"]
    assert net.num_parameters() == 12


def test_modules_that_hold_each_other_are_walked_once():
    outer, inner = Module(), Module()
    outer.inner, inner.outer, inner.layer = inner, outer, dense()
    assert [name for name, _ in outer.named_parameters()] == ["inner.layer.weight", "inner.layer.bias"]


def test_an_attribute_set_to_another_layer_counts_at_once():
    net = Named()
    net.z = dense(5, 7)
    assert net.state_dict()["z.weight"].shape == (7, 5)


def test_generators_are_found_once_and_named():
    assert [name for name, _ in small_net().named_generators()] == ["3.rng"]


def test_num_parameters_counts_what_is_trained():
    assert small_net().num_parameters() == (4 * 9 + 4) + (4 + 4) + (36 * 2 + 2)


def test_a_module_without_forward_says_what_to_define():
    with pytest.raises(NotImplementedError, match=r"Module has no forward\(self, ...\): define what calling it"):
        Module()(1)


# ------------------------------------------------------------------------------------------------ modes


def test_train_and_eval_reach_every_module_below_and_return_the_module():
    net = Named()
    assert net.training
    assert net.eval() is net
    assert [m.training for _, m in net.named_modules()] == [False] * 5
    assert net.train() is net
    assert all(m.training for _, m in net.named_modules())


def test_a_mode_does_not_leak_into_other_modules():
    dense().eval()
    assert dense().training


# ------------------------------------------------------------------------------------------------ saving


def test_a_state_dict_is_a_copy_in_row_major_order():
    net = small_net()
    state = net.state_dict()
    assert all(v.flags.c_contiguous for v in state.values())
    state["0.weight"][...] = 7
    assert not (net[0].weight.data == 7).any()


def test_a_state_dict_loaded_into_another_module_makes_it_equal():
    a, b = small_net(), small_net()
    a[0].weight.data += 1
    a[1].running_mean.data += 2
    b.load_state_dict(a.state_dict())
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values()):
        assert np.array_equal(x, y), name


def test_loading_writes_into_the_arrays_that_are_there():
    """An optimiser has moved them into its vector, and must keep seeing them."""
    net = small_net()
    before = [p.data for p in net.parameters()]
    net.load_state_dict(net.state_dict())
    assert all(p.data is array for p, array in zip(net.parameters(), before))


def test_loading_keeps_the_dtype_of_the_module():
    net = dense()
    net.load_state_dict({k: v.astype(np.float64) for k, v in net.state_dict().items()})
    assert net.weight.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.weight"), "0.weight is missing"),
        (lambda s: s.update(extra=np.zeros(1)), "extra is unexpected"),
        (lambda s: s.update({"5.bias": np.zeros(3)}), r"5.bias has shape \(3,\), expected \(2,\)"),
        (lambda s: s.update({"1.running_var": np.zeros((4, 1))}), r"1.running_var has shape \(4, 1\), expected \(4,\)"),
    ],
)
def test_values_that_do_not_fit_are_named_and_nothing_is_changed(change, message):
    net = small_net()
    before = net.state_dict()
    values = {k: v + 1 for k, v in before.items()}
    change(values)
    with pytest.raises(ValueError, match=rf"Sequential.load_state_dict: {message}\."):
        net.load_state_dict(values)
    for name, value in net.state_dict().items():
        assert np.array_equal(value, before[name]), name


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError, match=r"weight is missing; bias is missing; w is unexpected; b is unexpected\."):
        dense().load_state_dict({"w": np.zeros(1), "b": np.zeros(1)})


def test_a_long_list_of_faults_is_cut_short():
    with pytest.raises(ValueError, match="and 3 more"):
        dense().load_state_dict({f"x{i}": np.zeros(1) for i in range(9)})


# ------------------------------------------------------------------------------------------------ errors and printing


def test_an_error_in_a_nested_layer_names_its_path_once():
    net = Module()
    net.forward = lambda x: net.decoder(x)
    net.decoder = Sequential(relu, Sequential(dense(2, 3), dense(4, 1)))
    with pytest.raises(ValueError) as caught:
        net(np.zeros((5, 2), np.float32))
    notes = [note for note in caught.value.__notes__ if note.startswith("in decoder")]
    assert notes == ["in decoder.1.1: Dense(4, 1)"]


def test_a_layer_called_alone_names_itself():
    with pytest.raises(ValueError) as caught:
        dense(4, 1)(np.zeros((5, 2), np.float32))
    assert "in the module: Dense(4, 1)" in caught.value.__notes__


def test_the_stack_of_modules_is_empty_again_after_an_error():
    with pytest.raises(ValueError):
        dense(4, 1)(np.zeros((5, 2), np.float32))
    with pytest.raises(ValueError) as caught:
        Sequential(relu, dense(4, 1))(np.zeros((5, 2), np.float32))
    assert "in 1: Dense(4, 1)" in caught.value.__notes__


def test_repr_shows_the_layers_with_their_arguments():
    net = Sequential(Conv2d(1, 4, 3, stride=2, bias=False), relu, Sequential(Dense(2, 3)))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Conv2d(1, 4, (3, 3), stride=2, bias=False)\n"
        "  (1): relu\n"
        "  (2): Sequential(\n"
        "    (0): Dense(2, 3)\n"
        "  )\n"
        ")"
    )


def test_sequential_refuses_what_cannot_be_called():
    with pytest.raises(TypeError, match="expected modules and functions; got 3 in place 1"):
        Sequential(relu, 3)


def test_sequential_is_indexed_and_counted_in_its_order():
    net = small_net()
    assert len(net) == 6
    assert isinstance(net[0], Conv2d)
    assert isinstance(net[-1], Dense)

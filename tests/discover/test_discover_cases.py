"""What is drawn: shapes, values, layouts; and what examples() may say."""

import numpy as np
import pytest
from planted import CUBE, GATE, SCALE, shapes

from minigen.gradcheck import gradcheck
from minigen.gradcheck.drawing.shapes import values
from minigen.gradcheck.drawing.strategies import LAYOUTS
from minigen.gradcheck.drawing.sweep import sampled, sweep


def test_a_case_is_ready_for_gradcheck_and_keeps_the_name(found):
    targets = found(SCALE + 'def examples():\n    return {"scale": ("N C", "C", {"times": st.floats(1, 2)})}')
    for case in sampled(targets["scale"].draw, 5):
        report = gradcheck(case.f, *case.inputs)
        assert report
        assert report.subject == "scale"
        assert 1 <= case.options["times"] <= 2


def test_a_case_tells_its_shapes_layouts_and_options(found):
    targets = found(SCALE + 'def examples():\n    return {"scale": ("N 3", np.ones(3), {"times": 2.0})}')
    texts = {str(case) for case in sampled(targets["scale"].draw, 100)}
    assert "x (2, 3), w (3,); times=2.0" in texts
    assert "x (4, 3) columns first, w (3,); times=2.0" in texts


def test_equal_letters_are_equal_sizes_from_1_to_5_and_numbers_are_themselves(found):
    targets = found(SCALE + 'def examples():\n    return {"scale": ("N C 3", "C 1")}')
    drawn = shapes(targets["scale"], 60)
    assert all(x[1] == w[0] and x[2] == 3 and w[1] == 1 for x, w in drawn)
    assert {x[0] for x, _ in drawn} == {1, 2, 3, 4, 5}


def test_all_memory_layouts_are_drawn(found):
    strides = {case.inputs[0].strides for case in sampled(found(CUBE + ANY_IMAGE)["cube"].draw, 60)}
    expected = {lay_out(np.empty((2, 3, 4, 5))).strides for lay_out in LAYOUTS.values()}
    assert expected <= strides


ANY_IMAGE = 'def examples():\n    return {"cube": "2 3 4 5"}\n'


def test_values_have_no_ties_and_none_is_near_0():
    x = np.sort(np.abs(values((5, 5, 5), seed=3)), axis=None)
    assert x[0] > 1e-3  # independent ones would come 20 times nearer
    assert np.diff(x).min() > 1e-3
    assert np.std(values((5, 5, 5), seed=3)) == pytest.approx(1, abs=0.1)


def test_the_simplest_case_has_sizes_that_differ(found):
    targets = found('@op(x=lambda g: g * 2)\ndef wrong(x: "N C H W"):\n    return x * 1.0')
    swept = sweep(targets["wrong"].draw, 25)
    assert not swept
    assert swept.case.inputs[0].shape == (2, 3, 4, 5)


def test_a_failure_at_one_size_only_is_found_and_told(found):
    targets = found("""
        @op(x=lambda g, x: g * (2.0 if x.shape[1] == 1 else 1.0))
        def wrong_for_one_channel(x: "N C"):
            return x * 1.0
    """)
    swept = sweep(targets["wrong_for_one_channel"].draw, 25)
    assert not swept
    assert str(swept.case) == "x (2, 1)"


def test_several_examples_of_one_name_are_several_targets(found):
    targets = found(CUBE + 'def examples():\n    return {"cube": "N", "cube: images": "N C H W"}')
    assert list(targets) == ["cube", "cube: images"]
    assert {len(s) for (s,) in shapes(targets["cube: images"])} == {4}
    assert targets["cube"].how == "examples()"


def test_inputs_may_be_strategies_arrays_tensors_and_anything(found):
    targets = found(
        SCALE,
        """
        def pick(x, index, t, k):
            return ops.getitem(x, index) * t * k

        def examples():
            one = st.tuples(st.just("N 2"), st.just(np.ones(2)))
            return {"pick": ("4 3", np.array([0, 2]), tensor(np.ones(3)), 2), "scale": one}
        """,
    )
    assert all(sweep(t.draw, 5) for t in targets.values())
    assert {x[1] for x, _ in shapes(targets["scale"])} == {2}


def test_a_module_is_given_as_an_instance_or_made_of_sizes(found):
    targets = found(
        GATE,
        """
        def examples():
            return {
                "Gate": (Gate(3), "N 3"),
                "Gate: made": (lambda C: Gate(C), "N C"),
                "Gate: by the names of its arguments": "N channels",
                "Gate: drawn": (st.integers(1, 2).map(lambda n: Gate(2)), "N 2"),
            }
        """,
    )
    assert all(sweep(t.draw, 5) and t.kind == "Module" for t in targets.values())
    for key in ("Gate: made", "Gate: by the names of its arguments"):
        assert all(c.f.weight.shape[0] == c.inputs[0].shape[1] for c in sampled(targets[key].draw, 10))


def test_weights_of_a_module_that_is_made_are_not_where_they_begin(found):
    """At weights of 1 a VJP that forgets the weight would be right."""
    for case in sampled(found(GATE)["Gate"].draw, 5):
        assert (case.f.weight.data != 0).all()


DROPS = """
class Drops(Module):
    def forward(self, x):
        return x * 2 if self.training else wrong(x)

@op(x=lambda g: g)
def wrong(x):
    return x * 2
"""


def test_of_a_module_that_is_made_both_modes_are_drawn_and_a_wrong_one_is_found(found):
    swept = sweep(found(DROPS)["Drops"].draw, 25)
    assert not swept
    assert str(swept.case) == "x (2, 3); in eval()"
    modes = [case.f.training for case in sampled(found(GATE)["Gate"].draw, 30)]
    assert modes.count(True) > modes.count(False) > 0


@pytest.mark.parametrize(
    ("made", "mode"), [("Drops()", True), ("Drops().eval()", False), ("lambda: Drops().eval()", False)]
)
def test_a_given_instance_keeps_its_mode_and_so_does_what_is_made_in_eval(found, made, mode):
    targets = found(DROPS + f'def examples():\n    return {{"Drops": ({made}, "N C")}}')
    assert {case.f.training for case in sampled(targets["Drops"].draw, 20)} == {mode}


def test_a_module_takes_options_which_a_given_instance_does_not_keep(found):
    targets = found("""
        class Power(Module):
            def __init__(self):
                self.weight = Parameter(np.full(3, 2.0, "float32"))

            def forward(self, x, *, by, mask):
                return x**by * self.weight * mask

        power = Power()

        def examples():
            options = {"by": st.integers(2, 3), "mask": np.ones(3)}
            return {"Power": ("N 3", options), "Power: given": (power, "N 3", options)}
    """)
    assert all(sweep(t.draw, 5) for t in targets.values())
    case = sampled(targets["Power: given"].draw, 1)[0]
    assert str(case) == "x (2, 3); by=2, mask=(3,)"
    assert case.f(np.ones((2, 3)), by=3).shape == (2, 3)
    assert "forward" not in vars(targets["Power"].of.forward.__globals__["power"])
    assert list(vars(case.f)) == ["weight", "forward"]


def test_a_given_instance_is_left_as_found(found):
    targets = found(GATE + 'gate = Gate(3)\ndef examples():\n    return {"Gate": (gate, "N 3")}')
    cases = sampled(targets["Gate"].draw, 5)
    assert sweep(targets["Gate"].draw, 5)
    assert (cases[0].f.weight.data == 0).all()
    assert cases[0].f.weight.dtype == np.float32


def test_the_statistics_of_a_given_instance_are_those_before(found):
    targets = found("""
        from minigen.nn import BatchNorm

        class Twice(Module):
            def __init__(self):
                self.norm = BatchNorm(3)

            def forward(self, x):
                return self.norm(self.norm(x))

        def examples():
            return {"Twice": (Twice(), "N 3")}
    """)
    (case, *_) = sampled(targets["Twice"].draw, 5)
    assert (case.f.norm.running_mean.data == 0).all()


def test_a_function_as_first_item_is_called_in_place_of_what_is_named(found):
    targets = found("""
        def mean_of(xs):
            return (xs[0] + xs[1]) * 0.5

        def examples():
            return {"mean_of": (lambda x, y: mean_of([x, y]), "N", "N")}
    """)
    swept = sweep(targets["mean_of"].draw, 5)
    assert swept
    assert swept.report.subject == "mean_of"


def test_none_means_no_derivative_by_design(found):
    target = found('@op()\ndef histogram(x):\n    return x * 0\ndef examples():\n    return {"histogram": None}')
    assert target["histogram"].draw is target["histogram"].problem is None
    assert target["histogram"].how == "no derivative by design"


def test_what_examples_does_not_name_is_inferred(found):
    targets = found(CUBE + SCALE + 'def examples():\n    return {"scale": ("N C", "C")}')
    assert targets["cube"].how == "inferred: x (N, C)"

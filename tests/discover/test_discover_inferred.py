"""Inputs for who gives no examples: from annotations, or by trying usual shapes."""

import numpy as np
import pytest
from planted import CUBE, GATE, HEAD, SCALE, shapes

from minigen.gradcheck.drawing.shapes import read_shape, values
from minigen.gradcheck.drawing.sweep import sampled, sweep


@pytest.mark.parametrize("text", ["N C 3", "(N, C, 3)", " N  C,3 "])
def test_a_shape_may_be_written_with_commas_and_brackets(text):
    assert read_shape(text) == ("N", "C", 3)


def test_an_empty_shape_is_that_of_a_number():
    assert read_shape("") == ()
    assert values((), seed=1).shape == ()


@pytest.mark.parametrize("head", [HEAD, "from __future__ import annotations" + HEAD], ids=["plain", "future"])
def test_shapes_are_read_from_annotations_beside_types(found, head):
    targets = found(
        """
        from typing import Annotated

        @op(x=lambda g, w: g * w, w=lambda g, x: g * x)
        def scale(x: "N C", w: Annotated[np.ndarray, "C"], *, axis: int = 1):
            return x * w

        class Gate(Module):
            def __init__(self, channels: int):
                self.layer = Dense(channels, 2)

            def forward(self, x: "N channels") -> "N 2":
                return self.layer(x)
        """,
        head=head,
    )
    assert [t.how for t in targets.values()] == ["annotations"] * 2
    assert all(x[1:] == w for x, w in shapes(targets["scale"]))
    assert sweep(targets["Gate"].draw, 5)


def test_a_type_in_quotes_is_no_shape(found):
    assert found('@op(x=lambda g: g)\ndef same(x: "np.ndarray"):\n    return x')["same"].how == "inferred: x (N, C)"
    assert found('@op(x=lambda g: g)\ndef same(x: "Module"):\n    return x')["same"].how == "inferred: x (N, C)"


def test_an_optional_input_is_drawn_where_it_has_a_shape(found):
    targets = found("""
        @op(x=lambda g: g, b=lambda g: g)
        def shifted(x: "N C", b: "C" = None):
            return x * 1.0 if b is None else x + b
    """)
    assert all(len(s) == 2 for s in shapes(targets["shifted"]))


@pytest.mark.parametrize(
    ("source", "how"),
    [
        (CUBE, "x (N, C)"),
        ("@op(x=lambda g, y: g * y, y=lambda g, x: g * x)\ndef f(x, y):\n    return x * y", "x (N, C), y (N, C)"),
        (SCALE, "x (N, C), w (C)"),
        (
            "@op(x=lambda g, weight: g @ weight, weight=lambda g, x: g.T @ x, bias=lambda g: g.sum(axis=0))\n"
            "def f(x, weight, bias=None):\n    return x @ weight.T + bias",
            "x (N, C), weight (O, C), bias (O)",
        ),
        ("@op(a=lambda g, b: g @ b.T, b=lambda g, a: a.T @ g)\ndef f(a, b):\n    return a @ b", "a (N, K), b (K, M)"),
        ("@op(x=lambda g: g)\ndef f(x):\n    return x.transpose(0, 2, 3, 1).transpose(0, 3, 1, 2)", "x (N, C, H, W)"),
        ("@op(x=lambda g, x: g / x)\ndef f(x):\n    return np.log(x)", "x (N, C)"),
        (
            "def f(x, w, b):\n    return 1\n@op(xs=lambda g, i: g)\ndef f(*xs):\n    return sum(xs)",
            "*xs (N, C), *xs (N, C)",
        ),
        (GATE, "Gate(channels), x (N, channels)"),
        ("class F(Module):\n    def forward(self, x):\n        return x.mean(axis=(2, 3))", "x (N, C, H, W)"),
        ("class F(Dense):\n    def __init__(self):\n        super().__init__(17, 2)", "x (N, 17)"),
        (
            "class F(Module):\n    def __init__(self, in1_features: int, in2: int):\n"
            "        self.weight = Dense(in1_features, in2)\n"
            "    def forward(self, x, y):\n        return self.weight(x) * y",
            "F(in1_features, in2), x (N, in1_features), y (N, in2)",
        ),
        (
            "from minigen.nn import Conv2d\nclass F(Conv2d):\n    pass",
            "F(in_channels, out_channels, kernel_size), x (N, in_channels, H, W)",
        ),
    ],
    ids=range(13),
)
def test_usual_shapes_are_inferred(found, source, how):
    (target,) = found(source).values()
    assert target.how == f"inferred: {how}"
    assert sweep(target.draw, 10)


@pytest.mark.parametrize(
    ("source", "advised"),
    [
        (
            "class F(Module):\n    def __init__(self, n):\n        self.w = Parameter(np.ones((n, 2)))\n"
            "    def forward(self, x):\n        return self.w[x]",
            '{"F": arrays(int, 3, elements=st.integers(0, 4))}',
        ),
        (
            "def f(x, labels):\n    return ops.cross_entropy(x, labels)",
            '{"f": ("3 5", arrays(int, 3, elements=st.integers(0, 4)))}',
        ),
    ],
    ids=["one input", "two inputs"],
)
def test_integers_as_they_are_advised_can_be_drawn(found, source, advised):
    imports = "from hypothesis.extra.numpy import arrays\n"
    (target,) = found(imports + source + f"\ndef examples():\n    return {advised}").values()
    swept = sweep(target.draw, 10)
    assert swept
    assert swept.draws == 10


def test_a_function_whose_vjps_take_none_of_the_shapes_is_left_to_the_check(found):
    targets = found("""
        @op(x=lambda g: g[17])
        def same(x):
            return x * 1.0

        class Same(Module):
            def forward(self, x):
                return same(x)
    """)
    assert targets["Same"].how == "inferred: x (N, C)"
    assert sweep(targets["Same"].draw, 5).report.diagnosis.kind == "VJP raises"


def test_square_matrices_are_tried_where_nothing_else_runs(found):
    targets = found("""
        @op(x=lambda g, out: -(out.T @ g @ out.T))
        def inverse(x):
            return np.linalg.inv(x)

        @op(x=lambda g: g.T)
        def right_for_squares_only(x):
            n, c = x.shape
            return x * 1.0

        @op(x=lambda g: g.T)
        def right_for_vectors_too(x):
            return x * 1.0
    """)
    assert targets["inverse"].how == "inferred: x (D, D)"
    assert targets["right_for_squares_only"].how == targets["right_for_vectors_too"].how == "inferred: x (N, C)"
    assert sweep(targets["inverse"].draw, 10)


def test_a_convolution_is_inferred_from_the_name_weight(found):
    targets = found("""
        @op(x=lambda g, weight: ops.conv_transpose2d(g, weight), weight=lambda g: None)
        def conv(x, weight):
            return ops.conv2d(x, weight)
    """)
    assert targets["conv"].how == "inferred: x (N, C, H, W), weight (O, C, kh, kw)"


def test_a_shape_on_which_the_vjps_do_not_run_is_not_taken_where_there_is_a_better(found):
    targets = found("""
        @op(x=lambda g, gamma: g * gamma[:, None, None], gamma=lambda g, x: (g * x).sum(axis=(0, 2, 3)))
        def scaled(x, gamma):
            return x * gamma[:, None, None]
    """)
    assert targets["scaled"].how == "inferred: x (N, C, H, W), gamma (C)"


def test_a_shape_on_which_the_result_is_the_same_for_all_inputs_is_not_taken_where_there_is_a_better(found):
    targets = found("@op(x=lambda g: g)\ndef f(x):\n    return x * 1.0 if x.ndim == 3 else np.ones_like(x)")
    assert targets["f"].how == "inferred: x (N, L, C)"


@pytest.mark.parametrize(
    ("formula", "vjp", "lowest", "highest"),
    [
        ("np.log(x)", "g / x", 0, np.inf),
        ("np.log(x) + np.log(1 - x)", "g / x - g / (1 - x)", 0, 1),
    ],
)
def test_a_function_that_wants_positive_numbers_gets_them(found, formula, vjp, lowest, highest):
    targets = found(f"@op(x=lambda g, x: {vjp})\ndef f(x):\n    return {formula}")
    cases = sampled(targets["f"].draw, 20)
    assert all(lowest < c.inputs[0].min() and c.inputs[0].max() < highest for c in cases)


def test_where_no_domain_always_gives_finite_results_those_that_do_are_drawn(found):
    targets = found('def f(x: "5 5"):\n    return ops.log(x[0, 0] - x[1, 1])')
    cases = sampled(targets["f"].draw, 10)
    assert all(c.inputs[0][0, 0] > c.inputs[0][1, 1] for c in cases)
    assert set(targets["f"].refused) == {"the result is not finite"}


def test_a_result_that_is_never_finite_is_left_to_the_check(found):
    targets = found("@op(x=lambda g: g)\ndef f(x):\n    return x * np.nan")
    swept = sweep(targets["f"].draw, 5)
    assert not swept
    assert swept.report.diagnosis.kind == "nan"


def test_the_variance_of_one_number_is_no_fault(found):
    targets = found('def f(x: "N C"):\n    return ops.var(x, axis=1)')
    assert sweep(targets["f"].draw, 60)
    assert "the result is not finite where an axis has size 1" in targets["f"].refused


def test_shapes_that_the_target_refuses_are_counted(found):
    targets = found("""
        @op(x=lambda g: g)
        def even(x: "N C"):
            if x.shape[1] % 2:
                raise ValueError("the channels must be even")
            return x * 1.0
    """)
    assert sweep(targets["even"].draw, 10)
    assert set(targets["even"].refused) == {"ValueError: the channels must be even"}
    assert all(s[1] % 2 == 0 for (s,) in shapes(targets["even"]))


def test_a_target_that_takes_few_of_the_drawn_shapes_is_checked_on_these(found):
    targets = found("""
        def shuffle(x: "N C H W"):
            n, c, h, w = x.shape
            x = x.reshape(n, c // 4, 2, 2, h, w).transpose(0, 1, 4, 2, 5, 3)
            return x.reshape(n, c // 4, 2 * h, 2 * w)
    """)
    assert sweep(targets["shuffle"].draw, 5)
    assert {s[1] for (s,) in shapes(targets["shuffle"])} == {4}


def test_an_op_that_writes_into_its_input_still_gets_what_was_drawn(found):
    targets = found("@op(x=lambda g: g)\ndef f(x):\n    x += 1000\n    return x")
    assert all(abs(c.inputs[0]).max() < 100 for c in sampled(targets["f"].draw, 5))

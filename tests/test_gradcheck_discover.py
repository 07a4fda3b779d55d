"""discover finds what a file defines, and inputs for it; each claim with a file made for it."""

import sys
import textwrap

import numpy as np
import pytest

from minigen.gradcheck import gradcheck
from minigen.gradcheck.discover import DiscoverError, discover
from minigen.gradcheck.shapes import read_shape, values
from minigen.gradcheck.strategies import LAYOUTS
from minigen.gradcheck.sweep import sampled, sweep

HEAD = """
import numpy as np
from hypothesis import strategies as st
from minigen import Generator, op, ops, tensor
from minigen.nn import Dense, Module, Parameter
"""

CUBE = """
@op(x=lambda g, x: g * 3 * x**2)
def cube(x):
    return x**3
"""

SCALE = """
@op(x=lambda g, w: g * w, w=lambda g, x: g * x)
def scale(x, w, *, times=1.0):
    return x * w
"""

GATE = """
class Gate(Module):
    def __init__(self, channels):
        self.weight = Parameter(np.zeros(channels, np.float32))

    def forward(self, x):
        return x * ops.sigmoid(self.weight)
"""


@pytest.fixture
def found(tmp_path):
    """Pieces of source → {name: Target} of a file that holds them."""

    def discovered(*source, head=HEAD):
        file = tmp_path / "my_layer.py"
        file.write_text(head + "".join(map(textwrap.dedent, source)))
        return {t.name: t for t in discover(file)}

    return discovered


@pytest.fixture
def complaint(found):
    """source → the message of the DiscoverError that a file with it raises."""

    def message(source, **options):
        with pytest.raises(DiscoverError) as caught:
            found(source, **options)
        return str(caught.value)

    return message


def shapes(target, draws=20):
    """The shapes of the inputs of some drawn cases."""
    return [tuple(x.shape for x in case.inputs) for case in sampled(target.draw, draws)]


# ------------------------------------------------------------------------------------------------ what is found


def test_ops_and_modules_that_are_defined_here_are_found_in_order_and_imported_ones_are_not(found):
    targets = found(CUBE + GATE + "from minigen.ops import tanh\nrelu = ops.relu\n")
    assert [(t.name, t.kind) for t in targets.values()] == [("cube", "op"), ("Gate", "Module")]


def test_a_target_tells_where_it_is_defined(found, tmp_path):
    targets = found(CUBE)
    assert targets["cube"].file == str(tmp_path / "my_layer.py")
    assert targets["cube"].line == HEAD.count("\n") + 2


def test_private_names_base_classes_and_helpers_are_no_targets(found):
    targets = found(
        CUBE,
        """
        _hidden = op(x=lambda g: g)(lambda x: x)

        class Base(Module):
            pass

        class Abstract(Module):
            def forward(self, x):
                raise NotImplementedError("define forward")

        class Unlike:
            forward = None

        def helper(n):
            return n + 1
        """,
    )
    assert list(targets) == ["cube"]


def test_anything_with_forward_and_named_parameters_is_a_module(found):
    targets = found("""
        class Duck:
            def __init__(self, width):
                self.w = tensor(np.ones(width), requires_grad=True)

            def named_parameters(self):
                return [("w", self.w)]

            def forward(self, x):
                return ops.tanh(self.w * x)

            __call__ = forward
    """)
    assert targets["Duck"].kind == "Module"
    assert sweep(targets["Duck"].draw, 5)


def test_modules_of_pytorch_have_these_names_too_and_are_not_ours(found):
    targets = found(
        CUBE,
        """
        class Foreign(Module):
            __module__ = "torch.nn.modules"

        class Theirs(Foreign):
            def forward(self, x):
                return x
        """,
    )
    assert list(targets) == ["cube"]


def test_a_function_is_a_target_where_it_has_shapes_or_an_example(found):
    targets = found("""
        def annotated(x: "N C"):
            return ops.exp(x)

        def named(x):
            return ops.exp(x)

        def helper(x: np.ndarray):
            return ops.exp(x)

        def examples():
            return {"named": "N"}
    """)
    assert {t.name: t.kind for t in targets.values()} == {"annotated": "function", "named": "function"}


def test_a_file_is_read_anew_each_time(found):
    assert list(found(CUBE)) == ["cube"]
    assert list(found(SCALE + "twice = 2")) == ["scale"]


def test_another_module_of_that_name_stays_imported(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "my_layer", np)
    found(CUBE)
    assert sys.modules["my_layer"] is np


def test_a_file_may_import_its_neighbours(found, tmp_path):
    (tmp_path / "its_neighbour.py").write_text("POWER = 3\n")
    assert found("from its_neighbour import POWER\n" + CUBE)["cube"].draw is not None


# ------------------------------------------------------------------------------------------------ cases


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


# ------------------------------------------------------------------------------------------------ examples()


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


# ------------------------------------------------------------------------------------------------ annotations


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


# ------------------------------------------------------------------------------------------------ inference


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


# ------------------------------------------------------------------------------------------------ problems of one


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "@op()\ndef f(x):\n    return x",
            "f: has no VJP, so that no gradient passes. Give one for each input, as in @op(x=lambda g: ...), or say in "
            'examples() that it has none by design: "f": None.',
        ),
        ("@op(x=lambda g: g)\ndef f(x):\n    return None", "f: returns None. Does it end without a return?"),
        ('def f(x: "N"):\n    ops.exp(x)', "f: returns None. Does it end without a return?"),
        (
            "@op(x=lambda g: g)\ndef f(x):\n    return x > 0",
            "f: expected a Tensor of floats, or a tuple of them, as the result; got Tensor of bool. If it has no "
            'derivative by design, say so in examples(): "f": None.',
        ),
        (
            CUBE + 'def examples():\n    return {"cube": np.arange(3)}',
            "cube: expected floats among the inputs; got x (3,) int64. Integers have no derivative: pass "
            "x.astype(float) if they are meant as real numbers.",
        ),
        (
            CUBE + 'def examples():\n    return {"cube": "N*C"}',
            """cube: the shape "N*C": expected names and numbers; got 'N*C'. Write "N C H W" or "N 3".""",
        ),
        (
            "class F(Module):\n    def __init__(self, table):\n        self.t = table\n"
            "    def forward(self, x):\n        return x",
            "F: its constructor needs 'table', which cannot be guessed. Make one in examples(): {\"F\": "
            '(F(table=...), "N C")}.',
        ),
        (
            "@op(x=lambda g: g)\ndef f(x, *, by):\n    return x * by",
            'f: needs the option \'by\', which cannot be guessed. Give it in examples(): {"f": ("N C", {"by": ...})}.',
        ),
        (
            '@op(x=lambda g: g)\ndef f(x: "N C"):\n    raise ValueError("too small.\\nSecond line")',
            "f: raises ValueError: too small for every input. Is it meant for others? Give them in examples().",
        ),
        (
            "@op(x=lambda g: g)\ndef f(x):\n    return x.reshape(17)",
            "f: refuses the usual shapes (x (N, C): ValueError: cannot reshape array of size 6 into shape (17,); "
            "x (N, C, H, W): ValueError: cannot reshape array of size 120 into shape (17,)). Annotate them, as in "
            'def f(x: "N C"), or give inputs in examples(): {"f": ("N C", ...)}.',
        ),
        (
            '@op(x=lambda g: g)\ndef f(x: "N C", w):\n    return x',
            'f: w has no shape, though others have. Annotate it too: w: "N C".',
        ),
        (
            GATE + 'def examples():\n    return {"Gate": (Gate(3), "N 3", {"mode": 1})}',
            "Gate: a Module takes no options here; got mode. Give them in their places.",
        ),
    ],
    ids=range(12),
)
def test_where_nothing_can_be_drawn_one_sentence_says_why_and_what_to_do(found, source, problem):
    (target,) = found(source).values()
    assert target.draw is None
    assert target.problem == problem


# ------------------------------------------------------------------------------------------------ problems of the file


def test_a_file_that_does_not_exist_is_named_with_a_guess(tmp_path):
    (tmp_path / "my_layer.py").write_text("")
    with pytest.raises(DiscoverError, match=r"my_layr.py'\): no such file\. Did you mean '.*my_layer\.py'\?"):
        discover(tmp_path / "my_layr.py")


def test_a_module_that_does_not_exist(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DiscoverError, match=r"discover\('no_such_thing'\): no such file or module\."):
        discover("no_such_thing")
    with pytest.raises(DiscoverError, match=r"discover\('no.such.thing'\): no such file or module\."):
        discover("no.such.thing")


def test_a_file_that_is_not_python(tmp_path):
    (tmp_path / "notes.txt").write_text("cube")
    with pytest.raises(DiscoverError, match=r"notes\.txt'\): expected a Python file, a folder that is a package, or a"):
        discover(tmp_path / "notes.txt")


def test_a_folder_that_is_no_package(tmp_path):
    with pytest.raises(DiscoverError, match=r"a folder without __init__\.py is no package\. Name one file in it\."):
        discover(tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\ny = undefined\n", "line 2: NameError: name 'undefined' is not defined"),
        ("x = 1\ndef f(:\n", "line 2: SyntaxError: invalid syntax"),
        ("import no_such_library\n", "line 1: ModuleNotFoundError: No module named 'no_such_library'"),
        ("import json\njson.loads('{')\n", "line 2: JSONDecodeError: Expecting property name"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
        ("from minigen import op\n@op(y=lambda g: g)\ndef f(x):\n    return x\n", "line 2: TypeError: op 'f': a rule"),
    ],
)
def test_a_file_that_does_not_import_is_told_by_line_and_exception(complaint, source, message):
    text = complaint(source, head="")
    assert f"does not import; my_layer.py, {message}" in text
    assert text.endswith("Mend that line first.")


def test_a_file_that_defines_nothing(complaint):
    assert "defines no op and no Module. An op is a function on arrays under @op(" in complaint(
        "def f(x):\n    return x"
    )


def test_examples_that_name_what_is_not_there_get_a_guess(complaint):
    assert complaint(CUBE + 'def examples():\n    return {"cub": "N"}') == (
        "my_layer.py, examples(): 'cub' is not defined. Did you mean 'cube'?"
    )


def test_examples_that_raise_are_told_by_line(complaint):
    lines = (HEAD + CUBE).count("\n")
    text = complaint(CUBE + 'def examples():\n    return {"cube": undefined}')
    assert (
        text
        == f"examples(): my_layer.py, line {lines + 2}: NameError: name 'undefined' is not defined. Mend that first."
    )


def test_examples_that_are_no_dict(complaint):
    assert complaint(CUBE + "def examples():\n    return [1]") == (
        "my_layer.py, examples(): expected {name: inputs}; got list."
    )


# ------------------------------------------------------------------------------------------------ packages


@pytest.fixture
def package(tmp_path, monkeypatch):
    """{path: source} → the folder of a package of a name that was not imported before."""
    made = []

    def make(files):
        root = tmp_path / f"planted_package_{len(made)}_{tmp_path.name}"
        for path, source in {"__init__.py": "", **files}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(HEAD + source)
        made.append(root)
        return root

    monkeypatch.syspath_prepend(tmp_path)
    return make


def test_a_package_is_searched_by_name_or_folder_with_its_examples(package):
    root = package(
        {
            "a.py": CUBE,
            "inner/__init__.py": "",
            "inner/b.py": SCALE + GATE,
            "_private.py": "@op(x=lambda g: g)\ndef hidden(x):\n    return x\n",
            "__main__.py": "raise SystemExit('a command is not to be run')\n",
            "examples.py": 'def examples():\n    return {"scale": ("N C", "C"), "cube": None}\n'
            "class Help(Module):\n    def forward(self, x):\n        return x\n",
        }
    )
    for name in (root.name, root):
        targets = {t.name: t for t in discover(name)}
        assert {n: t.how for n, t in targets.items()} == {
            "cube": "no derivative by design",
            "scale": "examples()",
            "Gate": "inferred: Gate(channels), x (N, channels)",
        }


def test_a_file_of_a_package_is_imported_as_part_of_it_and_takes_its_share_of_the_examples(package):
    root = package(
        {
            "tools.py": "POWER = 3\n",
            "a.py": "from .tools import POWER\n" + CUBE,
            "b.py": SCALE,
            "examples.py": 'def examples():\n    return {"scale": ("N C", "C"), "cube": "N"}\n',
        }
    )
    (target,) = discover(root / "a.py")
    assert (target.name, target.how) == ("cube", "examples()")


def test_a_module_that_needs_another_library_is_said_to_be_left_out(package):
    root = package({"a.py": CUBE, "b.py": "import no_such_library\n" + SCALE})
    cube, rest = discover(root)
    assert cube.name == "cube"
    assert rest.how == "not imported: No module named 'no_such_library'"
    assert rest.draw is rest.problem is None


def test_a_module_of_a_package_that_is_broken_ends_the_search(package):
    root = package({"a.py": "x = undefined\n"})
    with pytest.raises(DiscoverError, match=r"a\.py, line 6: NameError"):
        discover(root)


# ------------------------------------------------------------------------------------------------ shapes


@pytest.mark.parametrize("text", ["N C 3", "(N, C, 3)", " N  C,3 "])
def test_a_shape_may_be_written_with_commas_and_brackets(text):
    assert read_shape(text) == ("N", "C", 3)


def test_an_empty_shape_is_that_of_a_number():
    assert read_shape("") == ()
    assert values((), seed=1).shape == ()

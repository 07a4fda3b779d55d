"""discover finds what a file or package defines; each claim with a file made for it."""

import sys

import numpy as np
import pytest
from planted import CUBE, GATE, HEAD, SCALE

from minigen.gradcheck.drawing.discover import DiscoverError, discover
from minigen.gradcheck.drawing.sweep import sweep


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

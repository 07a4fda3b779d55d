"""Where nothing can be checked, one sentence says why, and what to do."""

import pytest
from planted import CUBE, GATE, HEAD

from minigen.gradcheck.drawing.discover import DiscoverError, discover


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

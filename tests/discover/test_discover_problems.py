"""Where nothing can be checked, one sentence says why, and what to do."""

import sys

import pytest
from planted import CUBE, HEAD

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
            "f: expected a Tensor of floats, or a tuple of them, as the result; got a Tensor of bool. If it has no "
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
            "class F(Module):\n    def __init__(self, width, table, *, rng):\n        self.t = table\n"
            "    def forward(self, x):\n        return x",
            "F: its constructor needs 'table', which cannot be guessed. Make one in examples(): {\"F\": "
            '(F(width=..., table=..., rng=Generator(0)), "N C")}.',
        ),
        (
            "class F(Module):\n    def __init__(self):\n        open('no-such-file')\n"
            "    def forward(self, x):\n        return x",
            "F: its constructor raises FileNotFoundError: [Errno 2] No such file or directory: 'no-such-file'. Make "
            'one in examples(): {"F": (F(...), "N C")}.',
        ),
        (
            "class F:\n    def named_parameters(self):\n        return []\n    def forward(self, x, *, by=1):\n"
            "        return x * by\n    __call__ = forward\n"
            'def examples():\n    return {"F": ("N", {"by": 2})}',
            "F: has no options of its own. Let __call__ call self.forward to bind some.",
        ),
        (
            "class F(Module):\n    def forward(self, x):\n        return ops.one_hot(x, 5)",
            "F: the result does not change with x, as real numbers. If integers are meant (labels, indices), give them "
            'in examples(), such as {"F": arrays(int, 3, elements=st.integers(0, 4))} with arrays from '
            'hypothesis.extra.numpy. Without derivative by design: {"F": None}.',
        ),
        (
            "class F(Module):\n    def __init__(self, n):\n        self.w = Parameter(np.ones((n, 2)))\n"
            "    def forward(self, x, labels):\n        return x * self.w[labels]",
            "F: labels looks like integers, which are not inferred. If integers are meant (labels, indices), give them "
            'in examples(), such as {"F": ("3 n", arrays(int, 3, elements=st.integers(0, 4)))} with arrays from '
            'hypothesis.extra.numpy. Without derivative by design: {"F": None}.',
        ),
        (
            "class F(Module):\n    def __init__(self):\n        self.w = Parameter(np.ones((5, 2)))\n"
            "    def forward(self, x):\n        return self.w[x]",
            "F: refuses x (N, 2): IndexError: arrays used as indices must be of integer (or boolean) type. If integers "
            "are meant (labels, indices), give them in examples(), such as "
            '{"F": arrays(int, 3, elements=st.integers(0, 4))} with arrays from hypothesis.extra.numpy. Without '
            'derivative by design: {"F": None}.',
        ),
    ],
    ids=range(17),
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
        ("from minigen import op\n@op(y=lambda g: g)\ndef f(x):\n    return x\n", "line 2: TypeError: op 'f': a rule"),
    ],
)
def test_a_file_that_does_not_import_is_told_by_line_and_exception(complaint, source, message):
    text = complaint(source, head="")
    assert f"does not import; my_layer.py, {message}" in text
    assert text.endswith("Mend that line first.")


@pytest.mark.parametrize("line", ["sys.exit(3)", "n = int(sys.argv[1])"])
def test_a_file_that_is_a_program_is_told_where_its_end_belongs(complaint, line):
    text = complaint(f"import sys\n{line}\n", head="")
    assert "does not import; my_layer.py, line 2: " in text
    assert text.endswith('What only a program is to do belongs under `if __name__ == "__main__":`.')


def test_a_file_finds_only_its_own_name_on_the_command_line(found, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["gradcheck", "my_layer.py", "--draws", "5"])
    targets = found("import sys\nassert sys.argv == [__file__]\n" + CUBE)
    assert list(targets) == ["cube"]
    assert sys.argv[0] == "gradcheck"


def test_a_relative_import_without_a_package_is_told_what_makes_one_and_that_helps(package):
    root = package({"a.py": CUBE + "from .b import HALF\n", "b.py": "HALF = 0.5\n"})
    (root / "__init__.py").unlink()
    with pytest.raises(DiscoverError, match=r"relative import with no known parent package") as caught:
        discover(root / "a.py")
    assert f"make one (touch {root / '__init__.py'})" in str(caught.value)
    (root / "__init__.py").touch()
    assert [t.name for t in discover(root / "a.py")] == [t.name for t in discover(root)] == ["cube"]


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

"""The runner of the lessons says what is wrong with a lesson, and in which line: one planted fault a test."""

import subprocess
import sys
from pathlib import Path

import pytest

LESSONS = Path(__file__).resolve().parents[2] / "lessons"
sys.path.insert(0, str(LESSONS))
from blocks import LessonError, same, source_of  # noqa: E402
from run import Lesson, main  # noqa: E402


def planted(tmp_path, *parts):
    """A lesson of these parts, each a paragraph or a block without its closing fence."""
    path = tmp_path / "planted.md"
    path.write_text("\n\n".join(f"{p}\n```" if p.startswith("```") else p for p in ["# Planted", *parts]) + "\n")
    return path


def complaint(tmp_path, *parts):
    """(line, text) of what the runner says of a wrong lesson."""
    with pytest.raises(LessonError) as caught:
        Lesson(planted(tmp_path, *parts)).run()
    return caught.value.line, str(caught.value)


# ------------------------------------------------------------------------------------------------ outputs


def test_a_lesson_without_faults_runs(tmp_path):
    Lesson(planted(tmp_path, "```python\nx = 2", "```python\nprint(x + 1)", "```output\n3")).run()


def test_a_stale_output_is_found_and_shown_beside_the_true_one(tmp_path):
    line, text = complaint(tmp_path, "```python\nprint('four', 2 + 2)", "```output\nfour 5")
    assert line == 8
    assert "planted.md:8: the output shown is not what is printed" in text
    assert "-four 5\n+four 4" in text


def test_what_is_printed_must_be_shown(tmp_path):
    assert complaint(tmp_path, "```python\nprint(1)", "Text.") == (
        4,
        "planted.md:4: prints '1', and no output block shows it.",
    )


def test_an_output_must_belong_to_a_block_that_ran(tmp_path):
    assert "the block before it does not run" in complaint(tmp_path, "```sh\necho 1", "```output\n1")[1]


@pytest.mark.parametrize(
    ("shown", "printed", "equal"),
    [
        ("a\nb\n", "a  \nb\n\n", True),
        ("a\n", "b\n", False),
        ("error 3...e-11\n", "error 3.25e-11\n", True),
        ("error 3...e-11\n", "error 4.25e-11\n", False),
        ("...\n", "two\nlines\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_an_output_is_equal_up_to_space_at_line_ends_and_dots_within_a_line(shown, printed, equal):
    assert same(shown, printed) is equal


def test_update_writes_what_is_printed_and_nothing_else(tmp_path):
    path = planted(tmp_path, "```python\nprint(1)", "```output\n7\n8", "Text.", "```python\nprint(2)", "```output\n2")
    before = path.read_text()
    Lesson(path, update=True).run()
    assert path.read_text() == before.replace("7\n8\n", "1\n")
    Lesson(path).run()


def test_update_brings_up_to_date_what_ran_before_an_error(tmp_path):
    path = planted(tmp_path, "```python\nprint(1)", "```output\n7", "```python\n1 / 0")
    with pytest.raises(LessonError, match="ZeroDivisionError"):
        Lesson(path, update=True).run()
    assert "```output\n1\n```" in path.read_text()


# ------------------------------------------------------------------------------------------------ errors


def test_an_unexpected_error_points_at_the_line_of_the_lesson(tmp_path):
    line, text = complaint(tmp_path, "Text\nof two lines.", "```python\ndef f():\n    return 1 / 0\n\n\nf()")
    assert (line, text) == (8, "planted.md:8: ZeroDivisionError: division by zero")


def test_an_error_in_a_file_that_the_lesson_wrote_points_at_the_line_of_the_lesson(tmp_path):
    line, _ = complaint(
        tmp_path, "```python file=part.py\ndef f(x):\n    return 1 / x", "```python\nimport part\npart.f(0)"
    )
    assert line == 5


def test_a_syntax_error_points_at_the_line_of_the_lesson(tmp_path):
    assert complaint(tmp_path, "```python\nx = 1\nx = = 2")[0] == 5


def test_a_warning_of_numpy_is_an_error(tmp_path):
    assert (
        "RuntimeWarning: divide by zero" in complaint(tmp_path, "```python\nimport numpy\nnumpy.log(numpy.zeros(1))")[1]
    )


def test_an_expected_error_is_shown_as_python_prints_it(tmp_path):
    Lesson(
        planted(tmp_path, "```python raises=ValueError\nprint('a')\nint('b')", "```output\na\nValueError: ...'b'")
    ).run()


def test_an_expected_error_that_does_not_come_or_is_another_is_a_fault(tmp_path):
    line, text = complaint(tmp_path, "```python raises=ValueError\nx = 1")
    assert (line, text) == (4, "planted.md:4: expected ValueError, but nothing was raised.")
    assert "ZeroDivisionError" in complaint(tmp_path, "```python raises=ValueError\n1 / 0")[1]


@pytest.mark.parametrize(
    ("opening", "message"),
    [
        ("```pyhton", "a block of the language 'pyhton'; expected python, sh,"),
        ("```", "a block of the language ''; expected python"),
        ("```python sorce=a.py:f", "python block with the mark 'sorce'; known: check, exercise, figure"),
    ],
)
def test_a_misspelt_mark_is_an_error_not_a_block_that_never_runs(tmp_path, opening, message):
    assert message in complaint(tmp_path, f"{opening}\n1 / 0")[1]


def test_a_block_that_is_not_closed_is_an_error(tmp_path):
    path = tmp_path / "planted.md"
    path.write_text("Text.\n\n```python\n1 / 0\n")
    with pytest.raises(LessonError, match=r"^planted.md:3: this block is not closed\.$"):
        Lesson(path)


# ------------------------------------------------------------------------------------------------ quotations


def test_a_quotation_is_the_source_with_decorators_and_indentation(tmp_path):
    assert source_of("minigen/ops/elementwise.py", "exp").startswith("@elementwise(")
    assert source_of("minigen/nn/norms.py", "GroupNorm.forward").startswith("    def forward(self, x):\n")
    assert source_of("minigen/models/nets.py", "SMALLEST") == "SMALLEST = 4\n"
    Lesson(planted(tmp_path, "```python source=minigen/models/nets.py:SMALLEST\nSMALLEST = 4")).run()


def test_a_stale_quotation_is_shown_beside_the_true_one(tmp_path):
    line, text = complaint(tmp_path, "```python source=minigen/models/nets.py:SMALLEST\nSMALLEST = 5")
    assert line == 4
    assert "the quoted source of SMALLEST is no longer that of minigen/models/nets.py" in text
    assert "-SMALLEST = 5\n+SMALLEST = 4" in text


@pytest.mark.parametrize("where", ["minigen/models/nets.py:gone", "minigen/gone.py:f"])
def test_a_quotation_of_what_is_no_longer_there_is_an_error(tmp_path, where):
    assert "gone" in complaint(tmp_path, f"```python source={where}\nx = 1")[1]


# ------------------------------------------------------------------------------------------------ commands and files


def test_commands_run_beside_the_files_that_the_lesson_wrote(tmp_path):
    Lesson(
        planted(
            tmp_path,
            "```python file=part.py\nimport minigen\n\nN = 3",
            "```sh run\npython -c 'import part; print(part.N)'",
            "```output\n3",
            "```python file=part.py\nN = 4",
            "```python\nimport part\n\nprint(part.N)",
            "```output\n4",
        )
    ).run()
    assert [p.name for p in tmp_path.iterdir()] == ["planted.md"]
    assert "part" not in sys.modules


def test_a_command_that_is_only_shown_does_not_run(tmp_path):
    Lesson(planted(tmp_path, "```sh\nexit 1")).run()


def test_the_exit_status_of_a_command_must_be_the_one_that_is_said(tmp_path):
    Lesson(planted(tmp_path, "```sh run exit=3\nexit 3")).run()
    assert complaint(tmp_path, "```sh run\necho no; exit 3", "```output\nno") == (
        4,
        "planted.md:4: the command ended with status 3: no",
    )


def test_a_figure_is_drawn_again_but_written_only_when_asked(tmp_path):
    code = "from matplotlib.figure import Figure\n\nfigure = Figure(figsize=(1, 1))"
    parts = f"```python figure=dot.png\n{code}", "![A dot](figures/dot.png)"
    (tmp_path / "figures").mkdir()
    assert "figures/dot.png does not exist" in complaint(tmp_path, *parts)[1]
    Lesson(planted(tmp_path, *parts), figures=True).run()
    assert (tmp_path / "figures" / "dot.png").read_bytes().startswith(b"\x89PNG")
    Lesson(planted(tmp_path, *parts)).run()
    assert "the lesson does not show it" in complaint(tmp_path, parts[0])[1]


# ------------------------------------------------------------------------------------------------ exercises

EXERCISE = "```python exercise=1\ndef double(x):\n    raise NotImplementedError"
SOLUTION = "```python solution=1\ndef double(x):\n    return 2 * x"
CHECK = "```python check=1\nassert double(3) == 6"


def test_a_solution_that_passes_and_a_skeleton_that_fails_are_right(tmp_path):
    Lesson(planted(tmp_path, EXERCISE, SOLUTION, CHECK)).run()


def test_a_check_that_the_unsolved_exercise_passes_is_a_fault(tmp_path):
    line, text = complaint(tmp_path, EXERCISE.replace("raise NotImplementedError", "return 2 * x"), SOLUTION, CHECK)
    assert (line, text) == (14, "planted.md:14: this check finds the unsolved exercise 1 right.")


def test_a_solution_that_does_not_pass_its_check_is_a_fault(tmp_path):
    line, text = complaint(tmp_path, EXERCISE, SOLUTION.replace("2 * x", "3 * x"), CHECK)
    assert (line, text) == (14, "planted.md:14: AssertionError: assert double(3) == 6")


def test_an_unsolved_exercise_must_fail_for_want_of_an_answer_not_by_accident(tmp_path):
    line, text = complaint(tmp_path, EXERCISE.replace("def double", "def duoble"), SOLUTION, CHECK)
    assert line == 14
    assert "NameError" in text


def test_an_exercise_without_a_check_or_solution_is_a_fault(tmp_path):
    assert "exercise 1 has 0 blocks marked check=1" in complaint(tmp_path, EXERCISE, SOLUTION)[1]
    assert "exercise 1 has 0 blocks marked solution=1" in complaint(tmp_path, EXERCISE, CHECK)[1]


def test_exercises_stand_alone(tmp_path):
    hidden = "```python\nfactor = 2"
    assert "NameError" in complaint(tmp_path, hidden, EXERCISE, SOLUTION.replace("2 *", "factor *"), CHECK)[1]


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ("def double(x):\n    return x + x\n", None),
        ("def double(x):\n    return x\n", "AssertionError: assert double(3) == 6"),
        ("def double(x):\n    return 2 *\n", "answer.py:2: SyntaxError: invalid syntax"),
        ("\n1 / 0\n", "answer.py:2: ZeroDivisionError: division by zero"),
    ],
)
def test_an_answer_is_judged_in_one_sentence(tmp_path, answer, wrong):
    (tmp_path / "answer.py").write_text(answer)
    assert Lesson(planted(tmp_path, EXERCISE, SOLUTION, CHECK)).judge("1", tmp_path / "answer.py") == wrong


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_names_a_faulty_lesson_in_one_sentence_and_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("run.LESSONS", tmp_path)
    planted(tmp_path, "```python\n1 / 0")
    with pytest.raises(SystemExit, match=r"^lessons/planted.md:4: ZeroDivisionError: division by zero$"):
        main(["planted"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gone"], "lessons/run.py gone: no such lesson. Known: planted."),
        (["--exercise", "1", "answer.py"], "name the lesson, as in: LESSON --exercise 1 answer.py."),
        (["planted", "--exercise", "7", "answer.py"], "--exercise 7: no such exercise. Known: 1."),
        (["planted", "--exercise", "1", "gone.py"], "there is no file"),
        (["planted", "--exercise", "1", "answer.py"], "exercise 1: not yet. AssertionError: assert double(3) == 6"),
    ],
)
def test_what_is_asked_wrongly_is_answered_in_one_sentence(tmp_path, monkeypatch, argv, message):
    monkeypatch.setattr("run.LESSONS", tmp_path)
    monkeypatch.chdir(tmp_path)
    planted(tmp_path, EXERCISE, SOLUTION, CHECK)
    (tmp_path / "answer.py").write_text("def double(x):\n    return x\n")
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert message in caught.value.code


def test_the_command_runs_from_anywhere(tmp_path):
    command = [sys.executable, str(LESSONS / "run.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "--exercise N FILE" in done.stdout, done.stderr

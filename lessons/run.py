"""Runs the lessons: every block of code, every quoted line of the library, every output shown, every exercise.

    python lessons/run.py                                            all lessons
    python lessons/run.py check-your-own-layer                       one of them
    python lessons/run.py check-your-own-layer --exercise 2 my_answer.py

For authors: --update writes into the lesson what its code prints, --figures its figures to lessons/figures/.

A lesson is Markdown. Its blocks run top to bottom in one namespace, in an empty folder that is thrown away;
`blocks.py` lists the kinds of block.
"""

import argparse
import contextlib
import importlib
import io
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from blocks import ROOT, LessonError, blocks_of, difference, same, source_of

LESSONS = Path(__file__).resolve().parent
NOT_LESSONS = "README.md", "results.md", "symbols.md"
PARTS = "exercise", "solution", "check"


class Lesson:
    """One lesson, and the state of running it."""

    def __init__(self, path, figures=False, update=False):
        self.path, self.figures, self.update = Path(path), figures, update
        self.text = self.path.read_text()
        self.blocks = blocks_of(self.path, self.text)
        self.scope = {"__name__": "lesson"}
        self.files = {}  # name of a written file -> line of the lesson before its first
        self.printed, self.corrections = None, []

    def error(self, block, text):
        return LessonError(self.path, block.line, text)

    def run(self):
        """Run everything. Raises LessonError. With `update`, all that ran before an error is brought up to date."""
        try:
            self.run_blocks()
            for n in self.exercises():
                self.try_exercise(n)
        finally:
            if self.update:
                self.path.write_text(self.corrected())

    def run_blocks(self):
        with sandbox() as folder:
            for i, block in enumerate(self.blocks):
                shown = self.blocks[i + 1] if i + 1 < len(self.blocks) else None
                if block.language == "output":
                    self.compare(block)
                    continue
                self.printed = None
                self.execute(block, folder)
                if self.printed and (shown is None or shown.language != "output"):
                    raise self.error(block, f"prints {self.printed.strip()!r}, and no output block shows it.")

    def execute(self, block, folder):
        marks = block.marks
        if block.language == "sh" and "run" in marks:
            self.run_command(block, folder)
        if block.language != "python" or marks.keys() & set(PARTS):
            return
        if "source" in marks:
            self.check_quotation(block)
        elif "file" in marks:
            (folder / marks["file"]).write_text(block.text)
            self.files[str(folder / marks["file"])] = block.line - 1
            sys.modules.pop(Path(marks["file"]).stem, None)
            importlib.invalidate_caches()
        else:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                self.run_python(block, self.scope)
            self.printed = out.getvalue()
            if "figure" in marks:
                self.save_figure(block)

    def run_python(self, block, scope):
        expected = block.marks.get("raises")
        try:
            exec(compile("\n" * (block.line - 1) + block.text, str(self.path), "exec"), scope)
        except Exception as error:
            if expected in [c.__name__ for c in type(error).__mro__]:
                print("".join(traceback.format_exception_only(error)), end="")
                return
            raise LessonError(self.path, self.line_of(error, block), summary(error)) from error
        if expected:
            raise self.error(block, f"expected {expected}, but nothing was raised.")

    def line_of(self, error, block):
        """The innermost line of the lesson, or of a file that it wrote, in which an error arose."""
        if isinstance(error, SyntaxError) and error.filename == str(self.path):
            return error.lineno
        line = block.line
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == str(self.path):
                line = frame.lineno
            elif frame.filename in self.files:
                line = self.files[frame.filename] + frame.lineno
        return line

    def run_command(self, block, folder):
        done = subprocess.run(
            block.text, shell=True, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.printed = done.stdout
        if done.returncode != int(block.marks.get("exit", 0)):
            last = (done.stdout.strip().splitlines() or ["nothing was printed"])[-1]
            raise self.error(block, f"the command ended with status {done.returncode}: {last}")

    def check_quotation(self, block):
        file, _, name = block.marks["source"].partition(":")
        try:
            source = source_of(file, name)
        except (LookupError, OSError) as error:
            raise self.error(block, str(error)) from None
        if block.text.rstrip() != source.rstrip():
            text = f"the quoted source of {name} is no longer that of {file}:\n"
            raise self.error(block, text + difference(block.text, source, "the lesson", file))

    def save_figure(self, block):
        name, figure = block.marks["figure"], self.scope.get("figure")
        if figure is None:
            raise self.error(block, "a block marked figure= must set `figure`, a matplotlib Figure.")
        if f"(figures/{name})" not in self.text:
            raise self.error(block, f"draws {name}, but the lesson does not show it: ![...](figures/{name}).")
        kept = self.path.parent / "figures" / name
        figure.savefig(kept if self.figures else io.BytesIO(), format="png", dpi=110, metadata={"Software": None})
        if not kept.exists():
            raise self.error(block, f"figures/{name} does not exist. Draw it with --figures, and look at it.")

    def compare(self, block):
        if self.printed is None:
            raise self.error(block, "an output block, but the block before it does not run.")
        if self.update and not same(block.text, self.printed):
            self.corrections.append((block, self.printed))
        elif not same(block.text, self.printed):
            text = "the output shown is not what is printed:\n"
            raise self.error(block, text + difference(block.text, self.printed, "shown", "printed"))
        self.printed = None

    def corrected(self):
        """The text of the lesson with the outputs as they are."""
        lines = self.text.splitlines(keepends=True)
        for block, printed in reversed(self.corrections):
            lines[block.line - 1 : block.line - 1 + block.text.count("\n")] = [printed.strip("\n") + "\n"]
        return "".join(lines)

    # ------------------------------------------------------------------------------------------------ exercises

    def exercises(self):
        """The numbers of the exercises, each with its three blocks. Raises LessonError where one is missing."""
        numbers = dict.fromkeys(b.marks[kind] for b in self.blocks for kind in PARTS if kind in b.marks)
        for n in numbers:
            for kind in PARTS:
                self.part(kind, n)
        return list(numbers)

    def part(self, kind, n):
        """The one block of an exercise that is its `kind`."""
        found = [b for b in self.blocks if b.marks.get(kind) == n]
        if len(found) != 1:
            raise LessonError(self.path, 1, f"exercise {n} has {len(found)} blocks marked {kind}={n}; expected one.")
        return found[0]

    def try_exercise(self, n):
        """The check must find the solution right and the unsolved exercise wrong."""
        check, skeleton = self.part("check", n), self.part("exercise", n)
        for answer in (self.part("solution", n), skeleton):
            with sandbox(), contextlib.redirect_stdout(io.StringIO()):
                self.run_python(answer, scope := {"__name__": f"exercise {n}"})
                try:
                    self.run_python(check, scope)
                except LessonError as error:
                    if answer is skeleton and isinstance(error.__cause__, AssertionError | NotImplementedError):
                        continue
                    raise
            if answer is skeleton:
                raise self.error(check, f"this check finds the unsolved exercise {n} right.")

    def judge(self, n, answer):
        """What the check of exercise n says of the file `answer`: None where it is right, else a sentence."""
        check = self.part("check", n)
        with sandbox():
            try:
                exec(compile(answer.read_text(), str(answer), "exec"), scope := {"__name__": f"exercise {n}"})
                self.run_python(check, scope)
            except LessonError as error:
                return summary(error.__cause__)
            except Exception as error:
                lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(answer)]
                return f"{answer.name}:{getattr(error, 'lineno', None) or (lines or [1])[-1]}: {summary(error)}"


def summary(error):
    """An exception: its class, and what it says; of an assertion that says nothing, its code."""
    text = error.msg if isinstance(error, SyntaxError) else str(error).strip()
    if not text and isinstance(error, AssertionError):
        text = f"assert {traceback.extract_tb(error.__traceback__)[-1].line.removeprefix('assert ')}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextlib.contextmanager
def sandbox():
    """An empty folder to work in, this checkout first on the path; all that is put back, and the folder deleted."""
    where, path, modules, environment = os.getcwd(), list(sys.path), set(sys.modules), dict(os.environ)
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a file written anew is read anew
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        folder = Path(folder).resolve()
        warnings.simplefilter("error", RuntimeWarning)  # a reader would see it, and the lesson does not show it
        sys.path[:0] = [str(folder), str(ROOT)]
        os.environ |= {
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",  # `python` is this one
        }
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(where)
            sys.path[:], sys.dont_write_bytecode = path, writes_bytecode
            os.environ.clear()
            os.environ.update(environment)
            for name in set(sys.modules) - modules:
                if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
                    del sys.modules[name]


def lessons():
    """The files of all lessons."""
    return sorted(p for p in LESSONS.glob("*.md") if p.name not in NOT_LESSONS)


def find(name):
    """The file of the lesson called `name`. Exits where there is none."""
    path = LESSONS / f"{Path(name).stem}.md"
    if path not in lessons():
        sys.exit(f"lessons/run.py {name}: no such lesson. Known: {', '.join(p.stem for p in lessons())}.")
    return path


def main(argv=None):
    p = argparse.ArgumentParser("python lessons/run.py", description=__doc__.splitlines()[0])
    p.add_argument("lessons", nargs="*", metavar="LESSON", help="such as check-your-own-layer (default: all)")
    p.add_argument("--exercise", nargs=2, metavar=("N", "FILE"), help="check your answer to exercise N of a LESSON")
    p.add_argument("--figures", action="store_true", help="write the figures to lessons/figures/")
    p.add_argument("--update", action="store_true", help="write what the code prints into the lesson")
    args = p.parse_args(argv)
    paths = [find(name) for name in args.lessons] or lessons()
    try:
        if args.exercise:
            return answer(args, paths)
        for path in paths:
            began, lesson = time.perf_counter(), Lesson(path, args.figures, args.update)
            lesson.run()
            print(f"{path.stem}: {len(lesson.blocks)} blocks, {time.perf_counter() - began:.1f} s")
    except LessonError as error:
        sys.exit(f"lessons/{error}")


def answer(args, paths):
    """`LESSON --exercise N FILE`: ends with status 1 where the answer is not right yet."""
    n, file = args.exercise
    if len(args.lessons) != 1:
        sys.exit(f"lessons/run.py --exercise {n} {file}: name the lesson, as in: LESSON --exercise {n} {file}.")
    lesson, file = Lesson(paths[0]), Path(file).resolve()
    if n not in lesson.exercises():
        known = ", ".join(lesson.exercises())
        sys.exit(f"lessons/run.py {paths[0].stem} --exercise {n}: no such exercise. Known: {known}.")
    if not file.is_file():
        sys.exit(f"lessons/run.py --exercise {n}: there is no file {file}.")
    wrong = lesson.judge(n, file)
    if wrong:
        sys.exit(f"exercise {n}: not yet. {wrong}")
    print(f"exercise {n}: right.")


if __name__ == "__main__":
    main()

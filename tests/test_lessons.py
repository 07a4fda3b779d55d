"""Every lesson runs, is indexed, and renders."""

import os
import re
import sys
from pathlib import Path

import pytest

LESSONS = Path(__file__).resolve().parent.parent / "lessons"
sys.path.insert(0, str(LESSONS))
from run import Lesson, lessons  # noqa: E402

SECONDS = 20  # of processor time: ten seconds on two cores


def seconds():
    """Processor time so far, that of ended commands included."""
    return sum(os.times()[:4])


@pytest.mark.parametrize("path", lessons(), ids=lambda p: p.stem)
def test_a_lesson_runs_in_ten_seconds_on_two_cores(path):
    began = seconds()
    Lesson(path).run()
    assert seconds() - began < SECONDS


def test_the_index_names_every_lesson_and_no_other():
    named = re.findall(r"\]\(([\w-]+\.md)\)", (LESSONS / "README.md").read_text())
    assert sorted({*named} - {"results.md"}) == [p.name for p in lessons()]


@pytest.mark.parametrize("path", [*lessons(), LESSONS / "README.md"], ids=lambda p: p.stem)
def test_every_link_and_picture_of_a_lesson_leads_somewhere(path):
    links = re.findall(r"\]\(([^)#: ]+)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def prose(path):
    """[line] outside blocks of code, with `code` taken out."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text).splitlines()


@pytest.mark.parametrize("path", lessons(), ids=lambda p: p.stem)
def test_inline_mathematics_holds_nothing_that_markdown_takes_for_its_own(path):
    """`\\,` and `\\{` lose the backslash, `}_` and `*` may begin emphasis, a letter after $ undoes the formula."""
    lines = prose(path)
    assert [line for line in lines if line.count("$") % 2] == []
    found = [m for line in lines for m in re.findall(r"(.?)\$([^$]+)\$(.?)", line)]
    broken = re.compile(r"\\[^a-zA-Z ]|\}_|\*|<[a-z]|^ | $")
    assert [f for before, f, after in found if broken.search(f) or re.search(r"\w", before + after)] == []

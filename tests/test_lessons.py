"""Every lesson runs, is indexed, and renders."""

import os
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

LESSONS = Path(__file__).resolve().parent.parent / "lessons"
sys.path.insert(0, str(LESSONS))
from run import NOT_LESSONS, Lesson, lessons  # noqa: E402

PAGES = sorted(LESSONS.glob("*.md"))
KEPT = "Ll", "Lu", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Pc"  # Unicode categories of what an anchor keeps
SECONDS = 60  # of processor time, for what takes ten on two idle cores: busy ones count up to four times as many


def seconds():
    """Processor time so far, that of ended commands included."""
    return sum(os.times()[:4])


@pytest.mark.parametrize("path", lessons(), ids=lambda p: p.stem)
def test_a_lesson_runs_and_does_not_take_too_long(path):
    began = seconds()
    Lesson(path).run()
    assert seconds() - began < SECONDS


def outside_code(path, code=""):
    """The text of a page without its blocks, with `code` where it says something else in a line between backticks."""
    text = re.sub(r"^(`{3,}).*?^\1", "", path.read_text(), flags=re.M | re.S)
    return re.sub(r"`([^`\n]*)`", code, text)


def links(path):
    """[(page, anchor)] of what `path` refers to here; either may be empty."""
    found = re.findall(r"\]\(([^)#: ]*)(?:#([^)]*))?\)", outside_code(path))
    return [link for link in found if any(link)]


def anchors(path):
    """{what GitHub makes of each heading}: small letters, digits, _, and - for every space; a second one of a name
    ends in -1.       Source: jch/html-pipeline, toc_filter.rb"""
    found, seen = set(), Counter()
    for heading in re.findall(r"^#{1,6} +(.*?) *$", outside_code(path, r"\1"), flags=re.M):
        kept = (c for c in heading.lower() if c in " -" or unicodedata.category(c) in KEPT)
        name = "".join(kept).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def test_the_index_names_every_lesson_and_no_other():
    named = {page for page, _ in links(LESSONS / "README.md") if page.endswith(".md")}
    assert sorted(named - {*NOT_LESSONS}) == [p.name for p in lessons()]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_every_link_and_picture_of_a_page_leads_somewhere(path):
    assert [page for page, _ in links(path) if not (path.parent / page).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_every_link_to_a_heading_finds_it(path):
    sought = [(path.parent / page if page else path, anchor) for page, anchor in links(path) if anchor]
    assert [f"{page.name}#{anchor}" for page, anchor in sought if anchor not in anchors(page)] == []


def test_the_anchors_are_those_that_github_gives(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# It is `f(x)`, p − t: s² $J_v$\n\n```python\n# no heading\n```\n\n## What if …\n\n## What if …\n")
    assert anchors(page) == {"it-is-fx-p--t-s-j_v", "what-if-", "what-if--1"}


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_inline_mathematics_holds_nothing_that_markdown_takes_for_its_own(path):
    """`\\,` and `\\{` lose the backslash, `}_` and `*` may begin emphasis, a letter after $ undoes the formula."""
    lines = outside_code(path).splitlines()
    assert [line for line in lines if line.count("$") % 2] == []
    found = [m for line in lines for m in re.findall(r"(.?)\$([^$]+)\$(.?)", line)]
    broken = re.compile(r"\\[^a-zA-Z ]|\}_|\*|<[a-z]|^ | $")
    assert [f for before, f, after in found if broken.search(f) or re.search(r"\w", before + after)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_a_row_of_a_table_has_as_many_cells_as_its_head(path):
    """A | within a formula ends the cell."""
    text = outside_code(path)
    for table in re.findall(r"^\|.*\n\|(?:[ :-]+\|)+\n(?:\|.*\n?)*", text, flags=re.M):
        assert len({row.count("|") for row in table.strip().splitlines()}) == 1, table

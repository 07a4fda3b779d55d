"""The HTML edition: whole, readable without a network, and drawn by a real browser, where there is one.

The browser is that of the environment variable MINIGEN_BROWSER, or the first of BROWSERS on the PATH.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

for library in ("markdown_it", "math_core", "pygments"):
    pytest.importorskip(library, reason=f'the HTML edition needs {library}: pip install "minigen[lessons]"')

LESSONS = Path(__file__).resolve().parents[2] / "lessons"
sys.path.insert(0, str(LESSONS))
from blocks import LessonError  # noqa: E402
from to_html import Page, document, write  # noqa: E402

SOURCES = sorted(LESSONS.glob("*.md"))
BROWSERS = "google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "chrome", "microsoft-edge"


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    """The folder of all pages."""
    folder = tmp_path_factory.mktemp("html")
    write(folder)
    return folder


class Reading(HTMLParser):
    """What a page holds. Raises AssertionError where an end tag is not that of the innermost open element."""

    VOID = {"meta", "img", "br", "hr"}
    NOT_PROSE = {"style", "pre", "code", "math"}

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.links, self.pictures, self.prose, self.open = [], [], [], [], "", []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if tag == "a" else []
        self.pictures += [attrs["src"]] if tag == "img" else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"</{tag}> in line {self.getpos()[0]}"

    def handle_data(self, data):
        if not self.NOT_PROSE & {*self.open}:
            self.prose += data


@functools.cache
def reading(path):
    return Reading(path.read_text())


def page_of(edition, source):
    return edition / ("index.html" if source.name == "README.md" else f"{source.stem}.html")


def planted(tmp_path, text):
    """The page of a lesson of this text, below the title."""
    path = tmp_path / "planted.md"
    path.write_text(f"# Planted\n\n{text}\n")
    return Page(path, tmp_path)


# ------------------------------------------------------------------------------------------------ pages

each_lesson = pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)


def test_every_lesson_is_a_page(edition):
    assert {p.name for p in edition.glob("*.html")} == {page_of(edition, source).name for source in SOURCES}


@each_lesson
def test_every_element_of_a_page_is_closed_where_it_should_be(edition, source):
    assert "main" in reading(page_of(edition, source)).tags


@each_lesson
def test_every_link_and_anchor_of_a_page_leads_somewhere(edition, source):
    for link in reading(page_of(edition, source)).links:
        if re.match(r"https?:", link):
            continue
        file, _, anchor = link.partition("#")
        target = edition / file if file else page_of(edition, source)
        assert target.exists(), link
        assert not anchor or unquote(anchor) in reading(target).ids, link


@each_lesson
def test_links_between_lessons_stay_within_the_edition(edition, source):
    links = reading(page_of(edition, source)).links
    assert [link for link in links if re.match(r"[^:]*\.md\b", link)] == []


@each_lesson
def test_a_page_needs_nothing_but_pictures_from_its_own_folder(edition, source):
    html = page_of(edition, source).read_text()
    page = Reading(html)
    assert {*page.tags} & {"script", "link", "iframe", "object", "video", "audio", "embed"} == set()
    assert re.findall(r"@import|url\(", re.search(r"<style>.*?</style>", html, re.S)[0]) == []
    assert [p for p in page.pictures if not re.fullmatch(r"figures/[\w-]+\.png", p) or not (edition / p).exists()] == []


@each_lesson
def test_every_formula_of_a_lesson_is_one_of_its_page(edition, source):
    block = re.compile(r"^```(\w*).*?^```$", re.M | re.S)
    text = source.read_text()
    prose = re.sub(r"`[^`]*`", "", block.sub("", text))
    html = page_of(edition, source).read_text()
    main = html.replace(re.search(r'<details class="contents".*?</details>', html, re.S)[0], "")
    assert main.count("<math") == block.findall(text).count("math") + len(re.findall(r"\$[^$]+\$", prose))
    assert "$" not in reading(page_of(edition, source)).prose


# ------------------------------------------------------------------------------------------------ kinds of text


def test_a_formula_is_not_read_as_markdown(tmp_path):
    assert planted(tmp_path, "$a_i$ and $b_i * c * d$").body.count("<em>") == 0


def test_dollars_in_code_are_no_formula(tmp_path):
    assert "<code>a $x$ b</code>" in planted(tmp_path, "`a $x$ b`").body


def test_code_and_output_are_shown_as_they_stand(tmp_path):
    text = "\n    a < b  # & <lambda>\n"
    body = planted(tmp_path, f"```python\n{text}```\n\n```output\n{text}```").body
    shown = re.findall(r"<pre[^>]*>(.*?)</pre>", body, re.S)
    assert [unescape(re.sub(r"<[^>]*>", "", block)) for block in shown] == [text, text]


def test_a_quotation_names_its_file_and_leads_there(tmp_path):
    page = planted(tmp_path, "```python source=minigen/ops/layers.py:conv2d\n```")
    (link,) = Reading(page.body).links
    assert (tmp_path / link).resolve() == LESSONS.parent / "minigen/ops/layers.py"
    assert "conv2d" in page.body


def test_equal_headings_get_different_anchors(tmp_path):
    assert Reading(planted(tmp_path, "## The `end`\n\n## The end").body).ids == ["planted", "the-end", "the-end-1"]


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("What breaks if …", "what-breaks-if-"),
        ("Phases: s² small convolutions", "phases-s-small-convolutions"),
        ("Sizes, and why `output_padding` exists", "sizes-and-why-output_padding-exists"),
        ("γ and β", "γ-and-β"),
    ],
)
def test_anchors_are_those_of_github(tmp_path, heading, anchor):
    assert planted(tmp_path, f"## {heading}").sections[0][0] == anchor


def test_contents_name_every_section(tmp_path):
    html = document([planted(tmp_path, "## One\n\n### Part\n\n## Where $x = 2$")], 0)
    assert re.findall(r'<li><a href="#([^"]*)">', html) == ["one", "where-x--2"]


def test_a_page_leads_to_those_before_and_after_it(tmp_path):
    first, second, third = (planted(tmp_path, "") for _ in range(3))
    first.name, second.name, third.name = "index.html", "a.html", "b.html"
    assert Reading(document([first, second, third], 2)).links == ["a.html", "index.html"] * 2


# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (r"Text," "\n" r"and $\nonsense{x}$.", 3, "nonsense"),
        ("Text.\n\n```math\n" r"\frac{1}" "\n```", 5, "frac"),
        ("Text.\n\n[to](nowhere.md)", 5, "a link to nowhere.md, which does not exist"),
        ("Text.\n\n![of](figures/nowhere.png)", 5, "a link to figures/nowhere.png, which does not exist"),
    ],
)
def test_what_cannot_be_converted_is_an_error_with_its_line(tmp_path, text, line, message):
    with pytest.raises(LessonError, match=message) as caught:
        planted(tmp_path, text)
    assert caught.value.line == line


def test_a_missing_library_is_named_with_the_way_to_install_it():
    without = "import sys; sys.modules['markdown_it'] = None; import to_html"
    done = subprocess.run([sys.executable, "-c", without], cwd=LESSONS, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == 'lessons/to_html.py: markdown_it is missing. Install it: pip install "minigen[lessons]"\n'


# ------------------------------------------------------------------------------------------------ in a browser

MEASURE = """
onload = () => {
  const seen = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, all = (css) => [...page.querySelectorAll(css)];
    const box = (element) => element.getBoundingClientRect();
    all("details").forEach((details) => details.open = true);
    seen[frame.dataset.name] = {
      title: page.title,
      formulas: all("math").length,
      empty: all("math").filter((m) => !box(m).width || !box(m).height).map((m) => m.textContent),
      level: all("mfrac").filter((f) => box(f.firstChild).bottom > box(f.lastChild).top + 1).map((f) => f.textContent),
      missing: all("img").filter((i) => !i.naturalWidth).map((i) => i.src),
      foreign: frame.contentWindow.performance.getEntriesByType("resource")
        .map((r) => r.name).filter((name) => !name.startsWith("file:")),
      overhang: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    };
  }
  document.body.textContent = "measured" + JSON.stringify(seen) + "measured";
};
"""


@pytest.fixture(scope="module")
def seen(edition, tmp_path_factory):
    """{page: what a browser made of it, 390 pixels wide}: all pages in one window, solutions opened."""
    browser = os.environ.get("MINIGEN_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} on the PATH, and MINIGEN_BROWSER is not set")
    folder = tmp_path_factory.mktemp("browser")
    frames = "".join(
        f'<iframe width="390" height="844" data-name="{p.name}" src="{p.as_uri()}"></iframe>'
        for p in sorted(edition.glob("*.html"))
    )
    (folder / "all.html").write_text(f"<!DOCTYPE html><body>{frames}<script>{MEASURE}</script>")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"]
    command = [browser, *flags, f"--user-data-dir={folder / 'profile'}", (folder / "all.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "measured" in done.stdout, done.stderr
    return json.loads(unescape(done.stdout.split("measured")[1]))


def test_a_browser_opens_every_page(seen, edition):
    assert {name: page["title"] for name, page in seen.items()} == {
        p.name: unescape(re.search("<title>(.*)</title>", p.read_text())[1]) for p in edition.glob("*.html")
    }


def test_a_browser_draws_every_formula(seen):
    assert sum(page["formulas"] for page in seen.values()) > 1000
    assert {name: page["empty"] for name, page in seen.items() if page["empty"]} == {}


def test_a_browser_sets_every_numerator_above_its_denominator(seen):
    assert {name: page["level"] for name, page in seen.items() if page["level"]} == {}


def test_a_browser_shows_every_figure(seen):
    assert {name: page["missing"] for name, page in seen.items() if page["missing"]} == {}


def test_a_browser_asks_the_network_for_nothing(seen):
    assert {name: page["foreign"] for name, page in seen.items() if page["foreign"]} == {}


def test_no_page_is_wider_than_a_telephone(seen):
    assert {name: page["overhang"] for name, page in seen.items() if page["overhang"] > 0} == {}

"""Writes the lessons as HTML that needs neither network nor scripts: pip install "minigen[lessons]", then

    python lessons/to_html.py             to lessons/html/: open index.html
    python lessons/to_html.py FOLDER      or elsewhere; links into the library then lead back to this checkout

Formulas become MathML, which browsers draw themselves. A formula that cannot be converted, and a link to a file that
does not exist, are errors that name their line.
"""

import argparse
import os
import re
import shutil
import sys
import unicodedata
from html import escape
from pathlib import Path

from blocks import ROOT, LessonError
from run import LESSONS

try:
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from math_core import LatexError, LatexToMathML
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
except ImportError as error:
    sys.exit(f'lessons/to_html.py: {error.name} is missing. Install it: pip install "minigen[lessons]"')

INDEX, STYLE = LESSONS / "README.md", LESSONS / "style.css"
LATEX = LatexToMathML(
    macros={"substack": r"\begin{subarray}{c}#1\end{subarray}"},  # the one macro of the lessons that it lacks
    fancy_error=False,
)


def formula(state, silent):
    """The rule of Markdown for $...$, within which no other rule holds: \\ and _ mean what they mean in LaTeX."""
    if not (found := re.compile(r"\$([^$]+)\$").match(state.src, state.pos)):
        return False
    if not silent:
        state.push("math", "math", 0).content = found[1]
    state.pos = found.end()
    return True


def remember_lines(state):
    """What stands within a paragraph knows the lines of the paragraph, for errors."""
    for token in state.tokens:
        for child in token.children or ():
            child.map = token.map


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
MARKDOWN.inline.ruler.push("math", formula)
MARKDOWN.core.ruler.push("remember_lines", remember_lines)


class Page(RendererHTML):
    """A Markdown file of this folder, to be an HTML file in `folder`. The methods without _ render a kind of token.

    title: text.   body: HTML.   sections: [(anchor, HTML)], the headings of the second level.
    figures: {path relative to the page}.
    """

    def __init__(self, path, folder):
        super().__init__()
        self._path, self._folder = path, folder
        self.name, self.title, self.sections, self.figures = page_name(path), "", [], set()
        self._anchors = []
        self.body = self.render(MARKDOWN.parse(path.read_text()), MARKDOWN.options, {})

    def _error(self, token, text):
        return LessonError(self._path, token.map[0] + 1, text)

    def _mathml(self, token, displaystyle):
        try:
            html = LATEX.convert_with_local_state(token.content, displaystyle=displaystyle)
        except LatexError as error:
            raise self._error(token, f"{token.content.strip()}: {error}") from None
        # browsers do not draw <menclose>: the style sheet has a class instead
        return html.replace('<menclose notation="box">', '<mrow class="boxed">').replace("</menclose>", "</mrow>")

    def _link(self, token, target):
        """Where a link of the lesson leads to from the page."""
        file, mark, anchor = target.partition("#")
        if not file or ":" in file:  # within the page, or into the network
            return target
        path = (self._path.parent / file).resolve()
        if not path.exists():
            raise self._error(token, f"a link to {file}, which does not exist.")
        to_page = path.parent == LESSONS and path.suffix == ".md"
        return (page_name(path) if to_page else relative(path, self._folder)) + mark + anchor

    # ------------------------------------------------------------------------------------------------ tokens

    def math(self, tokens, i, options, env):
        return self._mathml(tokens[i], displaystyle=False)

    def link_open(self, tokens, i, options, env):
        tokens[i].attrs["href"] = self._link(tokens[i], tokens[i].attrs["href"])
        return self.renderToken(tokens, i, options, env)

    def image(self, tokens, i, options, env):
        self._link(tokens[i], tokens[i].attrs["src"])
        self.figures.add(tokens[i].attrs["src"])
        return super().image(tokens, i, options, env)

    def table_open(self, tokens, i, options, env):
        return '<div class="wide">\n<table>\n'

    def table_close(self, tokens, i, options, env):
        return "</table>\n</div>\n"

    def heading_open(self, tokens, i, options, env):
        text = tokens[i + 1]
        anchor = anchor_of(text.content)
        self._anchors.append(anchor)
        if before := self._anchors.count(anchor) - 1:
            anchor += f"-{before}"
        tokens[i].attrs["id"] = anchor
        if tokens[i].tag == "h1":
            self.title = text.content
        if tokens[i].tag == "h2":
            self.sections.append((anchor, self.renderInline(text.children, options, env)))
        return self.renderToken(tokens, i, options, env)

    def fence(self, tokens, i, options, env):
        token = tokens[i]
        language, *words = token.info.split() or ["text"]
        marks = dict(word.partition("=")[::2] for word in words)
        if language == "math":
            return f'<div class="wide">{self._mathml(token, displaystyle=True)}</div>\n'
        if language == "output":
            return f'<pre class="output">{escape(token.content, quote=False)}</pre>\n'
        code = highlight(token.content, get_lexer_by_name(language, stripnl=False), HtmlFormatter(nowrap=True))
        return f"{self._caption(marks)}<pre><code>{code}</code></pre>\n"

    def _caption(self, marks):
        """What stands above a block that is a file, or quotes one."""
        if "file" in marks:
            return f'<div class="caption">{marks["file"]}</div>\n'
        if "source" in marks:
            file, _, name = marks["source"].partition(":")
            return f'<div class="caption"><a href="{relative(ROOT / file, self._folder)}">{file}</a>: {name}</div>\n'
        return ""


def anchor_of(heading):
    """As GitHub makes it: letters, decimal digits (² is none), _ and -; a space becomes -."""
    kept = (c for c in heading.lower() if c in "- " or unicodedata.category(c) in {"Nd", "Pc"} or c.isalpha())
    return "".join(kept).replace(" ", "-")


def page_name(path):
    return "index.html" if path == INDEX else f"{path.stem}.html"


def relative(path, folder):
    return Path(os.path.relpath(path, folder)).as_posix()


def document(pages, i):
    """The HTML of pages[i], with its contents, and links to the pages before and after."""
    page = pages[i]
    entries = "".join(f'<li><a href="#{anchor}">{title}</a></li>\n' for anchor, title in page.sections)
    contents = f'</h1>\n<details class="contents" open><summary>Contents</summary>\n<ul>\n{entries}</ul>\n</details>'
    before = "".join(f'<a rel="prev" href="{p.name}">← {p.title}</a>' for p in pages[1:i][-1:])
    after = "".join(f'<a rel="next" href="{p.name}">{p.title} →</a>' for p in pages[i + 1 :][:1])
    start = f'<a href="{pages[0].name}">{pages[0].title}</a>' if i else ""
    steps = f"<nav><span>{before}</span><span>{start}</span><span>{after}</span></nav>"
    return f"""<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{page.title} · minigen</title>
<style>
{STYLE.read_text()}</style>
</head>
<body>
{steps}
<main>
{page.body.replace("</h1>", contents, 1)}</main>
{steps}
</body>
</html>
"""


def write(folder):
    """Write all pages and their figures to `folder`, which is made. Returns the pages, in reading order."""
    index, folder = INDEX.read_text(), Path(folder).resolve()
    in_order = sorted(LESSONS.glob("*.md"), key=lambda path: (path != INDEX, index.find(f"({path.name})")))
    pages = [Page(path, folder) for path in in_order]
    for i, page in enumerate(pages):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / page.name).write_text(document(pages, i), encoding="utf-8")
        for figure in page.figures:
            (folder / figure).parent.mkdir(exist_ok=True)
            shutil.copyfile(LESSONS / figure, folder / figure)
    return pages


def main(argv=None):
    p = argparse.ArgumentParser("python lessons/to_html.py", description=__doc__.splitlines()[0].partition(":")[0])
    p.add_argument("folder", nargs="?", type=Path, default=LESSONS / "html", help="default: lessons/html")
    folder = p.parse_args(argv).folder
    try:
        pages = write(folder)
    except LessonError as error:
        sys.exit(f"lessons/{error}")
    print(f"{folder / 'index.html'}: {len(pages)} pages")


if __name__ == "__main__":
    main()

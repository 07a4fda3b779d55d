"""Verdicts as one HTML file, which needs no network: table, diagnoses, pictures, and the source that is to blame."""

import ast
import base64
import inspect
import platform
import textwrap
from html import escape
from pathlib import Path

import numpy as np

from .table import cells, columns, findings, headline, problem, remarks

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; font-size: 0.9rem; }
.wide { overflow-x: auto; }
th, td { text-align: left; padding: 0.25rem 0.8rem; border-bottom: 1px solid #ddd; vertical-align: top; }
th { border-bottom: 2px solid #888; }
.right { color: #17692d; } .wrong { color: #b2182b; font-weight: 600; } .unchecked { color: #8a5a00; }
section { margin-top: 2.5rem; }
h2 { font-size: 1.2rem; color: #b2182b; }
dt { font-weight: 600; margin-top: 0.5rem; } dd { margin-left: 1.5rem; white-space: pre-wrap; }
pre { background: #f5f5f2; padding: 0.8rem 1rem; overflow-x: auto; font-size: 0.85rem; line-height: 1.4; }
img { max-width: 100%; height: auto; }
footer { margin-top: 3rem; color: #555; font-size: 0.85rem; }
"""


def source(target):
    """The source of a Target: of an op with its VJPs, wherever they stand; "" where it cannot be read."""
    try:
        if isinstance(target.of, type):  # inspect finds a class only where its module is still imported
            text = Path(target.file).read_text(encoding="utf-8")
            classes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef)]
            return ast.get_source_segment(text, next(n for n in classes if n.name == target.of.__name__))
        found = []
        for f in (target.of, *(rule.f for rule in getattr(target.of, "rules", {}).values())):
            piece = textwrap.dedent(inspect.getsource(inspect.unwrap(f))).strip()
            if not any(piece in p for p in found):
                found.append(piece)
        return "\n\n\n".join(found)
    except (OSError, TypeError, StopIteration):  # made at run time, or by C
        return ""


def page(title, verdicts, pictures, summary, gpu):
    """The HTML text. pictures: PNG bytes or None, for each Verdict.  summary: the sentence on top."""
    heads = "".join(f"<th>{escape(c)}</th>" for c in columns(gpu))
    rows = "\n".join(_row(i, v, gpu) for i, v in enumerate(verdicts))
    sections = [_section(i, v, png) for i, (v, png) in enumerate(zip(verdicts, pictures)) if v.wrong]
    unchecked = "".join(
        f"<dt>{escape(v.target.name)}</dt><dd>{escape(problem(v))}</dd>" for v in verdicts if v.word == "unchecked"
    )
    if unchecked:
        sections.append(f'<section><h2 class="unchecked">Not checked</h2><dl>{unchecked}</dl></section>')
    body = "\n".join([*(f"<p>{escape(line)}</p>" for line in remarks(verdicts)), *sections])
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gradcheck: {escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>gradcheck: {escape(title)}</h1>
<p>{escape(summary)}</p>
<div class="wide"><table>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
{body}
<footer>Made by python -m minigen.gradcheck with {versions}.</footer>
</body>
</html>
"""


def _row(i, verdict, gpu):
    name, kind, how, draws, *states = map(escape, cells(verdict, gpu))
    name = f'<a href="#target-{i}">{name}</a>' if verdict.wrong else name
    plain = "".join(f"<td>{cell}</td>" for cell in (name, kind, how, draws))
    coloured = "".join(f'<td class="{cell.lower()}">{cell}</td>' for cell in states)
    return f"<tr>{plain}{coloured}</tr>"


def _section(i, verdict, png):
    items = "".join(f"<dt>{escape(head)}</dt><dd>{escape(text)}</dd>" for head, text in findings(verdict))
    shown = "<p>No picture: no derivative was compared here, or it has too many elements to map.</p>"
    if png is not None:
        data, name = base64.b64encode(png).decode(), escape(verdict.target.name)
        shown = f'<p><img alt="numeric, analytic and error of {name}" src="data:image/png;base64,{data}"></p>'
    code = f"<pre><code>{escape(text)}</code></pre>" if (text := source(verdict.target)) else ""
    return f'<section id="target-{i}"><h2>{escape(headline(verdict))}</h2><dl>{items}</dl>{shown}{code}</section>'

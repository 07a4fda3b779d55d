"""`python -m minigen.gradcheck --png --html`: pictures of what is wrong, and a page with all of it."""

import errno
import os
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command_cases import files_in
from gradcheck_files import DOUBLED, RIGHT, WITHOUT_VJP, check, layer

pytestmark = pytest.mark.usefixtures("in_a_folder")


def test_a_picture_is_made_of_each_target_that_is_wrong(capsys):
    assert check(layer(RIGHT, DOUBLED), "--png", "pictures") == 1
    assert files_in("pictures") == ["double_cube.png"]
    assert Path("pictures/double_cube.png").read_bytes().startswith(b"\x89PNG")
    assert "wrote pictures/double_cube.png\n" in capsys.readouterr().out


def test_targets_of_one_name_in_two_files_have_two_pictures():
    other = layer("import minigen as mg\n", DOUBLED, name="other.py")
    check(layer(RIGHT, DOUBLED), other, "--png", "pictures")
    assert files_in("pictures") == ["double_cube-1.png", "double_cube.png"]


def test_without_faults_there_is_no_folder_of_pictures():
    check(layer(RIGHT), "--png", "pictures")
    assert files_in(".") == ["my_layer.py"]


class Page(HTMLParser):
    """Tags that are open at the end, all addresses, and the text of a page."""

    VOID = {"meta", "img"}

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [v for k, v in attributes if k in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_holds_table_diagnosis_picture_and_source_and_needs_no_network():
    named = "def _named(g, x):  # a VJP with a name, <b>not bold</b>\n    return g * 6 * x**2\n"
    wrong = named + "\n@mg.op(x=_named)\ndef double_cube(x):\n    return x**3\n"
    assert check(layer(RIGHT, wrong, WITHOUT_VJP), "--html", "report.html") == 1
    page = Page(Path("report.html").read_text(encoding="utf-8"))
    text = "".join(page.text)
    assert page.open == []
    assert len([a for a in page.addresses if a.startswith("data:image/png;base64,")]) == 1
    assert all(a.startswith(("data:", "#")) for a in page.addresses)
    for part in ("double_cube (op, my_layer.py:", "constant factor", "1 of 3 is wrong", "has no VJP", "return x**3"):
        assert part in text
    assert "def _named(g, x):  # a VJP with a name, <b>not bold</b>\n    return g * 6 * x**2" in text


def test_the_page_shows_the_source_of_a_module_too():
    cut = "class Cut(nn.Module):\n    def forward(self, x: 'N C'):\n        return x - mg.detach(x.mean(axis=0))"
    assert check(layer(RIGHT, "\n", cut, "\n"), "--html", "report.html") == 1
    assert cut in "".join(Page(Path("report.html").read_text(encoding="utf-8")).text)


def test_a_full_disk_is_a_sentence_after_the_table_and_leaves_the_previous_page(monkeypatch, capsys):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    Path("report.html").write_text("the previous one")
    monkeypatch.setattr(os, "replace", full)
    assert check(layer(RIGHT), "--html", "report.html") == 2
    out, err = capsys.readouterr()
    assert "2 checked, none is wrong." in out
    assert err == "python -m minigen.gradcheck: report.html could not be written: No space left on device.\n"
    assert Path("report.html").read_text() == "the previous one"
    assert files_in(".") == ["my_layer.py", "report.html"]

"""The README is executed: its Python in order in one namespace, its commands with a few steps."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    """[(line number, text)] of the fenced blocks in a language."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)
    return [(README.count("\n", 0, m.start(1)), m[1]) for m in found]


def test_the_python_of_the_readme_runs_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "readme"}
    for line, text in blocks("python"):
        exec(compile("\n" * line + text, str(ROOT / "README.md"), "exec"), scope)
    assert scope["pictures"].shape == (4, 1, 28, 28)


def test_the_first_command_trains_a_gan(tmp_path):
    (command,) = re.findall(r"^pip install -e \. && (python -m minigen\.train gan)$", README, re.M)
    arguments = shlex.split(command)[1:] + ["--steps", "2", "--width", "8", "--quiet"]
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "gan-glyphs" / "samples" / "0000002.png").exists()


def test_ci_runs_the_test_command_of_the_readme():
    (command,) = re.findall(r"^(pip install .* python -m pytest.*)$", README, re.M)
    assert command == 'pip install -e ".[dev]" && ruff check && ruff format --check && python -m pytest'
    assert 'eval "$command"' in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("command", re.findall(r"^python -m (minigen\.\w+) ", README, re.M))
def test_every_command_of_the_readme_has_help(command):
    done = subprocess.run([sys.executable, "-m", command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "usage" in done.stdout, done.stderr


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_of_the_readme_leads_somewhere(link):
    assert (ROOT / link).exists()

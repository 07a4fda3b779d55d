"""Fixtures: files and packages made for a test."""

import textwrap

import pytest
from planted import HEAD

from minigen.gradcheck.drawing.discover import DiscoverError, discover


@pytest.fixture
def found(tmp_path):
    """Pieces of source → {name: Target} of a file that holds them."""

    def discovered(*source, head=HEAD):
        file = tmp_path / "my_layer.py"
        file.write_text(head + "".join(map(textwrap.dedent, source)))
        return {t.name: t for t in discover(file)}

    return discovered


@pytest.fixture
def complaint(found):
    """source → the message of the DiscoverError that a file with it raises."""

    def message(source, **options):
        with pytest.raises(DiscoverError) as caught:
            found(source, **options)
        return str(caught.value)

    return message


@pytest.fixture
def package(tmp_path, monkeypatch):
    """{path: source} → the folder of a package of a name that was not imported before."""
    made = []

    def make(files):
        root = tmp_path / f"planted_package_{len(made)}_{tmp_path.name}"
        for path, source in {"__init__.py": "", **files}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(HEAD + source)
        made.append(root)
        return root

    monkeypatch.syspath_prepend(tmp_path)
    return make

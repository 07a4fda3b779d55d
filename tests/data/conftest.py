import os
from pathlib import Path

import pytest

OWN_DATA = os.environ.get("MINIGEN_DATA")


@pytest.fixture(autouse=True)
def private_folders(tmp_path, monkeypatch):
    """Every test has a cache folder of its own, and does not see the user's data unless it asks."""
    monkeypatch.setenv("MINIGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MINIGEN_DATA", raising=False)


@pytest.fixture
def own_data(monkeypatch):
    """The user's MINIGEN_DATA, for the tests on real data."""
    if not OWN_DATA:
        pytest.skip("needs MINIGEN_DATA")
    monkeypatch.setenv("MINIGEN_DATA", OWN_DATA)
    return Path(OWN_DATA)


@pytest.fixture
def files_in():
    """Lists all files below a folder, temporary ones included: what a failure may have left behind."""

    def list_files(folder):
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    return list_files

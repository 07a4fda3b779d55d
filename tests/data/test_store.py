import numpy as np
import pytest

from minigen.data import Dataset
from minigen.data.store import atomic, cache_dir, cached, find


def make():
    return Dataset.from_pixels(np.arange(48, dtype=np.uint8).reshape(3, 4, 4), [0, 1, 1], ("a", "b"), "three")


def never():
    raise AssertionError("made again, though it was cached")


def same(a, b):
    return np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels) and a.classes == b.classes


def test_second_time_comes_from_the_cache_unchanged():
    first, second = cached("kind", 1, make), cached("kind", 1, never)
    assert same(first, second) and second.name == "three"


def test_another_key_is_another_entry():
    cached("kind", 1, make)
    with pytest.raises(AssertionError):
        cached("kind", 2, never)


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip", "text"])
def test_a_corrupt_cache_is_made_again_and_replaced(damage):
    cached("kind", 1, make)
    (path,) = cache_dir().rglob("*.npz")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[content.index(bytes(range(48)))] ^= 1  # one bit of one pixel
    path.write_bytes({"truncate": content[:200], "empty": b"", "flip": content, "text": b"hello"}[damage])
    assert same(cached("kind", 1, make), make())
    assert same(cached("kind", 1, never), make())


def test_a_cache_that_cannot_be_written_costs_a_warning_only(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MINIGEN_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="could not be cached .* Set MINIGEN_CACHE"):
        assert same(cached("kind", 1, make), make())


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, files_in):
    path = tmp_path / "here" / "file"
    with atomic(path) as file:
        file.write(b"old")
    with pytest.raises(KeyboardInterrupt), atomic(path) as file:
        file.write(b"new, but half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and files_in(tmp_path) == ["here/file"]


def test_own_data_are_found_before_the_cache_and_root_replaces_both(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGEN_DATA", str(tmp_path / "own"))
    for folder in ("own", "cache", "root"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").touch()
    assert find(["x"]) == tmp_path / "own" / "x"
    assert find(["x"], tmp_path / "root") == tmp_path / "root" / "x"
    (tmp_path / "own" / "x").unlink()
    assert find(["x"]) == tmp_path / "cache" / "x"
    (tmp_path / "root" / "x").unlink()
    assert find(["x"], tmp_path / "root") is None


def test_xdg_cache_home_is_respected(tmp_path, monkeypatch):
    monkeypatch.delenv("MINIGEN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "minigen"

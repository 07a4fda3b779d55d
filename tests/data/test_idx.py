import gzip
import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigen.data import DataError, load
from minigen.data.idx import FASHION_MNIST, FILES, MNIST, load_idx, parse, read_idx

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 6, 5), dtype=np.uint8)
LABELS = RNG.integers(0, 10, 12, dtype=np.uint8)


def idx(array):
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_set(folder, images=IMAGES, labels=LABELS, suffix=".gz"):
    """The two training files of a set; returns the Source fields that describe it."""
    folder.mkdir(parents=True, exist_ok=True)
    sums = {}
    for stem, array in zip(FILES["train"], (images, labels)):
        content = idx(array)
        (folder / f"{stem}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
        sums[stem] = hashlib.sha256(content).hexdigest()
    return replace(MNIST, folder="tiny", sha256=sums, mirrors=())


@given(content=st.binary(max_size=60), split=st.integers(1, 4))
def test_idx_reading_inverts_idx_writing(content, split):
    array = np.frombuffer(content + b"x", np.uint8).reshape((1,) * (split - 1) + (-1,))
    for stored in (idx(array), gzip.compress(idx(array))):
        assert np.array_equal(parse(stored, "file"), array)


@given(end=st.integers(0, len(idx(IMAGES)) - 1))
def test_an_idx_file_cut_anywhere_is_refused(end):
    with pytest.raises(DataError):
        parse(idx(IMAGES)[:end], "file")


@given(st.data())
def test_a_gzip_file_cut_anywhere_is_refused(data):
    whole = gzip.compress(idx(IMAGES))
    end = data.draw(st.integers(0, len(whole) - 1))  # the last eight bytes are checksum and length
    with pytest.raises(DataError):
        parse(whole[:end], "file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n", "which begins 00 00 08; got 89 50 4e 47"),
        (b"\0\0\x0d\x03" + bytes(12), "begins 00 00 08"),  # floats
        (idx(LABELS), "3 dimensions; got 1. Are the image and label files exchanged?"),
        (idx(IMAGES)[:10], "IDX header of 16 bytes; got 10"),
        (idx(IMAGES)[:100], "expected 360 bytes for shape (12, 6, 5); got 84"),
        (idx(IMAGES) + b"x", "expected 360 bytes for shape (12, 6, 5); got more"),
        (idx(IMAGES)[:4] + struct.pack(">3I", 2**31, 2**31, 2**31), "4 GiB"),
        (idx(IMAGES)[:4] + struct.pack(">3I", 0, 28, 28), "1 byte to 4 GiB"),
        (gzip.compress(idx(IMAGES))[:-1], "truncated gzip file"),
        (gzip.compress(idx(IMAGES))[:-8] + bytes(8), "damaged gzip file"),
        (b"", "begins 00 00 08"),
    ],
)
def test_bad_idx_files_are_refused_in_one_sentence(content, message, tmp_path):
    path = tmp_path / "train-images"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_idx(path, 3)
    assert message in str(error.value) and str(path) in str(error.value)


def test_a_gzip_bomb_is_not_decompressed_beyond_its_header():
    bomb = gzip.compress(idx(np.zeros((1, 2, 2), np.uint8)) + bytes(50_000_000))
    with pytest.raises(DataError, match="got more"):
        parse(bomb, "file")


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("folder", ["tiny", "."])
def test_local_files_are_found_gzipped_or_not_in_a_folder_of_their_own_or_not(suffix, folder, tmp_path):
    source = write_set(tmp_path / folder, suffix=suffix)
    dataset = load_idx(source, "train", tmp_path)
    assert np.array_equal(dataset.images[:, 0], IMAGES) and np.array_equal(dataset.labels, LABELS)


def test_contents_of_another_set_under_the_same_name_are_refused(tmp_path):
    source = write_set(tmp_path)
    write_set(tmp_path, images=255 - IMAGES)
    with pytest.raises(DataError, match=r"SHA-256 .* got .* Is it another data set, or damaged"):
        load_idx(source, "train", tmp_path)


def test_images_and_labels_of_different_length_are_refused(tmp_path):
    source = write_set(tmp_path, labels=LABELS[:-1])
    with pytest.raises(DataError, match="one label per image; got 12 images and 11 labels"):
        load_idx(source, "train", tmp_path)


def test_a_set_without_sums_is_not_taken_from_a_folder_that_does_not_bear_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGEN_DATA", str(tmp_path))
    write_set(tmp_path)  # MNIST's and Fashion-MNIST's files have the same names
    with pytest.raises(DataError, match="could not be downloaded"):
        load_idx(replace(FASHION_MNIST, mirrors=()), "train")


def test_download_skips_mirrors_that_fail_and_lie_and_keeps_the_good_file(tmp_path, files_in):
    source = write_set(tmp_path / "good")
    write_set(tmp_path / "lies", images=255 - IMAGES, labels=LABELS[::-1])
    (tmp_path / "broken").mkdir()
    for stem in FILES["train"]:
        (tmp_path / "broken" / f"{stem}.gz").write_bytes(gzip.compress(idx(IMAGES))[:50])
    names = ("missing", "broken", "lies", "good")
    source = replace(source, mirrors=tuple((tmp_path / name).as_uri() for name in names))
    assert np.array_equal(load_idx(source, "train").images[:, 0], IMAGES)
    assert files_in(tmp_path / "cache") == [f"tiny/{stem}.gz" for stem in FILES["train"]]
    assert np.array_equal(load_idx(replace(source, mirrors=()), "train").labels, LABELS)  # now without a network


def test_a_downloaded_gzip_file_must_have_the_published_md5(tmp_path, files_in):
    source = replace(write_set(tmp_path / "web"), mirrors=((tmp_path / "web").as_uri(),), sha256={})
    with pytest.raises(DataError, match="expected MD5 0123; got"):
        load_idx(replace(source, md5={FILES["train"][0]: "0123"}), "train")
    assert files_in(tmp_path / "cache") == []
    md5 = {stem: hashlib.md5((tmp_path / "web" / f"{stem}.gz").read_bytes()).hexdigest() for stem in FILES["train"]}
    assert len(load_idx(replace(source, md5=md5), "train")) == 12


def test_offline_error_names_every_mirror_and_where_to_put_the_file(tmp_path, files_in):
    source = replace(MNIST, mirrors=("http://127.0.0.1:9/one", "http://127.0.0.1:9/two"))
    with pytest.raises(DataError) as error:
        load_idx(source, "train")
    message = str(error.value)
    assert "http://127.0.0.1:9/one/train-images-idx3-ubyte.gz: " in message and "/two/" in message
    assert f"put train-images-idx3-ubyte.gz from any copy of mnist into {tmp_path / 'cache' / 'mnist'}" in message
    assert files_in(tmp_path) == []


def test_real_mnist_is_complete_and_verified(own_data):
    train, test = load("mnist"), load("mnist", "test")
    assert train.images.shape == (60_000, 1, 28, 28) and test.images.shape == (10_000, 1, 28, 28)
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert train.images.mean() / 255 == pytest.approx(0.1307, abs=1e-4)

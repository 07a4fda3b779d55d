import io
import tarfile

import numpy as np
import pytest

from minigen.data import DataError, load
from minigen.data.cifar import CLASSES, FILES, read_cifar

RNG = np.random.default_rng(0)


def records(n=4):
    """n records of 3073 bytes: label, red plane, green plane, blue plane."""
    data = RNG.integers(0, 256, (n, 3073), dtype=np.uint8)
    data[:, 0] %= 10
    return data


def write_binary(folder):
    """The six files of the binary version, four records each; returns the training records."""
    folder.mkdir(parents=True)
    batches = {name: records() for split in FILES.values() for name in split}
    for name, batch in batches.items():
        (folder / name).write_bytes(batch.tobytes())
    return np.concatenate([batches[name] for name in FILES["train"]])


@pytest.mark.parametrize("packed", [False, True])
def test_binary_version_is_read_from_its_folder_or_its_tar(packed, tmp_path, monkeypatch):
    expected = write_binary(tmp_path / "cifar-10-batches-bin")
    if packed:
        with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
            tar.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
        for path in (tmp_path / "cifar-10-batches-bin").iterdir():
            path.unlink()
        (tmp_path / "cifar-10-batches-bin").rmdir()
    monkeypatch.setenv("MINIGEN_DATA", str(tmp_path))
    train, test = load("cifar10"), load("cifar10", "test")
    assert len(train) == 20 and len(test) == 4 and train.classes == CLASSES
    assert np.array_equal(train.labels, expected[:, 0])
    i, row, column = 7, 3, 30  # one pixel, by the format's own arithmetic
    for channel in range(3):
        assert train.images[i, channel, row, column] == expected[i, 1 + channel * 1024 + row * 32 + column]


def test_missing_files_are_named(tmp_path):
    write_binary(tmp_path / "set")
    (tmp_path / "set" / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3.bin is missing"):
        read_cifar(tmp_path / "set", "train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (records().tobytes()[:-1], "records of 3073 bytes; got 12291 bytes"),
        (b"", "got 0 bytes"),
        (b"\x0a" + records(1).tobytes()[1:], "labels 0 .. 9; got 10"),
    ],
)
def test_damaged_files_are_refused(content, message, tmp_path):
    write_binary(tmp_path / "set")
    (tmp_path / "set" / "test_batch.bin").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_cifar(tmp_path / "set", "test")


def test_a_truncated_tar_is_refused(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        member = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        member.size = 40 * 3073
        tar.addfile(member, io.BytesIO(RNG.bytes(member.size)))
    (tmp_path / "set.tar.gz").write_bytes(file.getvalue()[:60_000])
    with pytest.raises(DataError, match="unreadable tar file"):
        read_cifar(tmp_path / "set.tar.gz", "test")


def test_absence_says_what_was_looked_for_and_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGEN_DATA", str(tmp_path / "own"))
    with pytest.raises(DataError) as error:
        load("cifar10")
    for part in ("cifar-10-binary.tar.gz", "cifar10-jpeg", str(tmp_path / "own"), "https://www.cs.toronto.edu"):
        assert part in str(error.value)


def test_real_cifar_jpegs_are_found_with_their_class_names(own_data):
    dataset = load("cifar10", "test", size=16, channels=1)
    assert dataset.images.shape == (10_000, 1, 16, 16) and dataset.classes == CLASSES
    assert np.bincount(dataset.labels).tolist() == [1000] * 10

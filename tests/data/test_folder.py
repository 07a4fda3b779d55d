import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from minigen.data import DataError, load
from minigen.data.folder import MAX_PIXELS, classify


def picture(value=128, size=(8, 8), mode="RGB", format="PNG", **options):
    file = io.BytesIO()
    Image.new(mode, size, value if mode in ("L", "I;16") else (value,) * 3).save(file, format, **options)
    return file.getvalue()


def write_folder(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_tar(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


ANIMALS = {f"{kind}/{i}.png": picture(10 * i + (kind == "dog")) for kind in ("cat", "dog") for i in range(3)}


@pytest.mark.parametrize("top", ["", "animals/", "train/", "animals/train/", "./"])
@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz"])
def test_class_is_the_folder_below_any_common_top(top, kind, tmp_path):
    files = {top + name: content for name, content in reversed(ANIMALS.items())}
    if kind == "folder":
        path = write_folder(tmp_path / "set", files)
    else:
        path = write_tar(tmp_path / f"set.{kind}", files, "w:gz" if kind == "tar.gz" else "w")
    dataset = load(path)
    assert dataset.classes == ("cat", "dog") and dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.images[:, 0, 0, 0].tolist() == [0, 10, 20, 1, 11, 21]  # ordered by name, whatever the tar's order


def test_nothing_is_unpacked_to_disk(tmp_path, monkeypatch, files_in):
    path = write_tar(tmp_path / "set.tar.gz", ANIMALS)
    load(path)
    assert [name for name in files_in(tmp_path) if not name.startswith("cache/images/")] == ["set.tar.gz"]


def test_split_folders_are_told_apart(tmp_path):
    files = {f"{split}/{name}": content for split in ("train", "test") for name, content in ANIMALS.items()}
    files |= {"test/dog/9.png": picture()}
    path = write_folder(tmp_path / "set", files)
    assert len(load(path)) == 6 and len(load(path, "test")) == 7
    with pytest.raises(DataError, match="no images for split 'val'; found test, train"):
        load(path, "val")


def test_a_split_that_is_not_there_is_not_replaced_by_another(tmp_path):
    path = write_folder(tmp_path / "set", ANIMALS)
    with pytest.raises(DataError, match="no images for split 'test': they do not lie in folders"):
        load(path, "test")


def test_one_class_is_named_after_the_folder_that_holds_the_images():
    assert set(classify(["train/cat/1.png", "train/cat/2.png"], "train", None).values()) == {"cat"}
    assert set(classify(["faces/1.png", "faces/2.png"], "train", None).values()) == {"faces"}


def test_an_image_beside_the_class_folders_is_refused(tmp_path):
    path = write_folder(tmp_path / "set", {**ANIMALS, "preview.png": picture()})
    with pytest.raises(DataError, match=r"in the folder of its class; preview.png lies beside them"):
        load(path)


def test_hidden_files_and_other_files_are_passed_over(tmp_path):
    extra = {"cat/._0.png": b"resource fork", "readme.txt": b"hello", ".git/x.png": b"?"}
    assert len(load(write_folder(tmp_path / "set", {**ANIMALS, **extra}))) == 6


def test_images_are_resized_by_the_shorter_side_and_cropped(tmp_path):
    wide = Image.new("RGB", (60, 20), (255, 0, 0))
    wide.paste((0, 0, 255), (20, 0, 40, 20))  # a blue square in the middle
    file = io.BytesIO()
    wide.save(file, "PNG")
    dataset = load(write_folder(tmp_path / "set", {"a/x.png": file.getvalue()}), size=10)
    assert dataset.shape == (3, 10, 10) and dataset.images[0, 2, :, 2:8].min() > 240


def test_grey_and_colour_are_told_by_the_images_or_by_channels(tmp_path):
    grey = {"a/x.jpg": picture(77, mode="L", format="JPEG")}
    path = write_folder(tmp_path / "set", grey)
    assert load(path).shape == (1, 8, 8) and load(path, channels=3).shape == (3, 8, 8)
    write_folder(path, {"a/y.png": picture(77)})
    assert load(path).shape == (3, 8, 8) and load(path).images[0].tolist() == load(path).images[1].tolist()
    assert load(path, channels=1).shape == (1, 8, 8)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    path = write_folder(tmp_path / "set", {"a/x.png": picture(0x7F00, mode="I;16")})
    assert np.unique(load(path).images).tolist() == [0x7F]


def test_transparent_parts_are_black(tmp_path):
    file = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 255, 255, 0)).save(file, "PNG")
    assert load(write_folder(tmp_path / "set", {"a/x.png": file.getvalue()})).images.max() == 0


def test_a_changed_file_is_read_again(tmp_path):
    path = write_folder(tmp_path / "set", {"a/x.png": picture(10)})
    assert load(path).images.max() == 10
    write_folder(path, {"a/x.png": picture(200, mode="L")})
    assert load(path).images.max() == 200


def test_different_sizes_need_a_size(tmp_path):
    path = write_folder(tmp_path / "set", {"a/x.png": picture(), "a/y.png": picture(size=(9, 8))})
    with pytest.raises(DataError, match=r"images of one size; got \(8, 8\) .* \(8, 9\) \(a/y.png\). Pass size="):
        load(path)
    assert len(load(path, size=8)) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", picture()[:-25], picture(format="JPEG", size=(64, 64))[:-300], b"GIF89a" + bytes(50)],
    ids=["empty", "text", "cut PNG", "cut JPEG", "GIF"],
)
def test_an_unreadable_image_is_named(content, tmp_path, files_in):
    path = write_tar(tmp_path / "set.tar", {"cat/good.png": picture(), "cat/bad.png": content}, "w")
    with pytest.raises(DataError, match=r"set.tar: cat/bad.png: unreadable image"):
        load(path, size=8)
    assert files_in(tmp_path) == ["set.tar"]


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])  # above our limit, Pillow's warning, Pillow's error
def test_absurd_dimensions_are_refused_by_the_header(side, tmp_path):
    assert side**2 > MAX_PIXELS
    bomb = bytearray(picture(mode="L"))
    bomb[16:24] = side.to_bytes(4, "big") * 2  # IHDR's width and height
    bomb[29:33] = __import__("zlib").crc32(bomb[12:29]).to_bytes(4, "big")
    path = write_folder(tmp_path / "set", {"a/bomb.png": bytes(bomb)})
    with pytest.raises(DataError, match=r"a/bomb.png: .*(header says|exceeds limit)"):
        load(path, size=8)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "set" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="expected PNG or JPEG images; found none"):
        load(tmp_path / "set")


@pytest.mark.parametrize(
    ("mode", "keep"),
    [("w", 0.3), ("w", "between members"), ("w", "within a header"), ("w:gz", 0.3), ("w:gz", 0.9)],
)
def test_a_truncated_tar_is_refused(mode, keep, tmp_path, files_in):
    files = {f"a/{i}.png": picture(size=(50, 50)) + bytes(40_000) for i in range(9)}
    path = write_tar(tmp_path / "set.tar", files, mode)
    content = path.read_bytes()
    with tarfile.open(path) as tar:
        header = tar.getmembers()[5].offset
    end = {"between members": header, "within a header": header + 100}.get(keep) or int(len(content) * keep)
    path.write_bytes(content[:end])
    with pytest.raises(DataError, match="unreadable tar file"):
        load(path)
    assert files_in(tmp_path) == ["set.tar"]


def test_a_file_that_is_no_tar_is_refused(tmp_path):
    (tmp_path / "set.tar").write_text("hello")
    with pytest.raises(DataError, match="unreadable tar file"):
        load(tmp_path / "set.tar")

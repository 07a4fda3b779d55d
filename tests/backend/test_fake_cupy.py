"""The stand-in for CuPy is as strict as CuPy, or stricter: what would move data behind one's back raises."""

import sys

import numpy as np
import pytest
from backend import emulator
from backend.fake_cupy import installed
from backend.memory_order import AS_THE_ARGUMENT, ROW_MAJOR, images, in_row_major_order
from backend.philox import philox4x32

HERE = np.ones(3, np.float32)


@pytest.fixture
def there(fake_cupy):
    return fake_cupy.asarray(HERE)


@pytest.mark.parametrize(
    "convert",
    [np.asarray, np.array, np.exp, np.sum, lambda x: np.concatenate([x, x]), lambda x: np.add(x, x)],
    ids=range(6),
)
def test_numpy_gets_no_array_of_the_device(there, convert):
    with pytest.raises(TypeError, match=r"Implicit conversion|on the GPU"):
        convert(there)


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + HERE,
        lambda x: HERE + x,
        lambda x: HERE @ x,
        lambda x: x > HERE,
        lambda x: x.__iadd__(HERE),
        lambda x: x.__setitem__(0, HERE[:1]),
        lambda x: x[np.array([0, 1])],
        lambda x: x.take(np.array([0, 1])),
        lambda x: x.dot(HERE),
        lambda x: sys.modules["cupy"].maximum(x, HERE),
        lambda x: sys.modules["cupy"].concatenate([x, HERE]),
        lambda x: sys.modules["cupy"].add.at(x, HERE.astype(int), 1),
        lambda x: sys.modules["cupy"].exp(HERE),
    ],
    ids=range(13),
)
def test_arrays_of_the_host_are_refused(there, mix):
    with pytest.raises((TypeError, IndexError)):
        mix(there)


def test_numbers_and_numpy_scalars_are_taken_on_either_side(there, fake_cupy):
    for out in (there + 1, 1.0 + there, there * np.float32(2), np.float32(2) * there):
        assert isinstance(out, fake_cupy.ndarray)
        assert out.dtype == np.float32


def test_reductions_and_elements_are_arrays_of_shape_empty(there, fake_cupy):
    for out in (there.sum(), there[0], fake_cupy.max(there), there.argmax()):
        assert isinstance(out, fake_cupy.ndarray)
        assert out.shape == ()
    assert float(there.sum()) == 3


def test_operators_compute_what_numpys_do(there):
    x = there * 2
    x += there
    x[1:] -= 1
    assert x.tolist() == [3, 2, 2]
    assert (-x / 2 + x**2 - (x @ x)).tolist() == (-np.array([3, 2, 2]) / 2 + np.array([9, 4, 4]) - 17).tolist()
    assert (2 - x).tolist() == [-1, 0, 0]
    assert (~(x > 2)).tolist() == [False, True, True]


@pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
@pytest.mark.parametrize("name", ROW_MAJOR | AS_THE_ARGUMENT)
def test_a_result_lies_in_memory_as_cupys_does(name, fake_cupy):
    result = (ROW_MAJOR | AS_THE_ARGUMENT)[name](fake_cupy, *images(fake_cupy))
    assert in_row_major_order(result) == (name in ROW_MAJOR)


def test_the_copy_by_name_is_a_copy(there):
    back = there.get()
    back[0] = 9
    assert there.tolist() == [1, 1, 1]
    assert isinstance(back, np.ndarray)


def test_names_and_options_that_cupy_lacks_are_missing(there, fake_cupy):
    assert not hasattr(fake_cupy, "matrix")
    assert not hasattr(fake_cupy.exp, "at")
    with pytest.raises(TypeError):
        range(there.argmax())  # CuPy leaves __index__ out on purpose: it would be a transfer
    with pytest.raises(NotImplementedError, match="order='K'"):
        there.ravel("K")
    with pytest.raises(TypeError, match="wrong arguments"):
        fake_cupy.exp(there, where=there > 0)


def test_adding_at_places_knows_the_types_that_cupy_13_knows(there, fake_cupy):
    at = fake_cupy.asarray(np.array([0, 0]))
    fake_cupy.add.at(there, at, 1)
    assert there.tolist() == [3, 1, 1]
    for function in (fake_cupy.add, fake_cupy.maximum, fake_cupy.subtract):
        with pytest.raises(TypeError, match=r"\.at only supports"):
            function.at(fake_cupy.zeros(3, np.int64), at, 1)


def test_it_leaves_nothing_behind():
    from minigen.backend import arrays, use

    before = {n: sys.modules.get(n) for n in ("cupy", "cupyx")}, dict(arrays._namespaces), arrays.default()
    with installed():
        use("cupy")
    assert before == ({n: sys.modules.get(n) for n in ("cupy", "cupyx")}, arrays._namespaces, arrays.default())


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
    ids=["zeros", "ones", "digits of pi"],
)
def test_its_philox_gives_the_published_answers(counter, key, expected):
    """kat_vectors of Random123, philox4x32 with 10 rounds."""
    assert " ".join(f"{int(w):08x}" for w in philox4x32(counter, key)) == expected

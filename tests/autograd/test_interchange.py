"""Tensors and other libraries: np.asarray and DLPack, in both directions, without a copy."""

import numpy as np
import pytest

from minigen.autograd import tensor

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)


def leaf():
    return tensor(X.copy(), requires_grad=True)


def test_asarray_gives_the_same_memory_and_a_copy_on_demand():
    x = leaf()
    assert np.shares_memory(np.asarray(x), x.data)
    assert np.shares_memory(x.numpy(), x.data)
    assert not np.shares_memory(np.array(x), x.data)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert np.asarray(x.sum()) == 21
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype=np.float64, copy=False)


def test_dlpack_hands_the_memory_to_others():
    x = leaf()
    there = np.from_dlpack(x)
    assert np.shares_memory(there, x.data)
    np.testing.assert_array_equal(there, X)
    assert np.from_dlpack(x.sum()) == 21


def test_dlpack_takes_the_memory_of_others():
    class Foreign:
        """An array of another library: nothing but DLPack."""

        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    a = X.copy()
    assert np.shares_memory(tensor(Foreign(a)).data, a)


def test_torch_and_minigen_exchange_memory_by_dlpack():
    torch = pytest.importorskip("torch")
    x = leaf()
    there = torch.from_dlpack(x)
    there[0, 0] = 7
    assert x.data[0, 0] == 7
    back = tensor(torch.arange(3.0))
    assert back.dtype == np.float32
    assert back.tolist() == [0, 1, 2]

"""erf against Python's own, at every branch of its approximation, in both precisions."""

import math

import numpy as np
import pytest

from minigen.backend.special import erf

POINTS = np.concatenate([np.linspace(-12, 12, 4001), [0.46875, 4.0, np.nextafter(4.0, 5), 1e-300, -1e-300, 1e30, 30.0]])


def test_erf_is_that_of_the_c_library_to_double_precision():
    expected = np.array([math.erf(x) for x in POINTS])
    np.testing.assert_allclose(erf(POINTS), expected, rtol=2**-51, atol=0)  # 2 units in the last place


def test_erf_of_float32_is_float32_and_exact_to_its_precision():
    x = POINTS.astype(np.float32)
    assert erf(x).dtype == np.float32
    np.testing.assert_allclose(erf(x), [math.erf(v) for v in x], rtol=5e-7, atol=0)


def test_erf_is_odd_and_keeps_the_sign_of_zero():
    np.testing.assert_array_equal(erf(-POINTS), -erf(POINTS))
    assert math.copysign(1, erf(np.array([-0.0]))[0]) == -1


def test_erf_of_infinity_is_one_and_of_nan_nan():
    np.testing.assert_array_equal(erf(np.array([np.inf, -np.inf, np.nan])), [1, -1, np.nan])


@pytest.mark.parametrize("shape", [(), (0,), (2, 3, 4)])
def test_erf_keeps_the_shape(shape):
    assert np.shape(erf(np.full(shape, 0.5))) == shape


def test_on_the_device_it_is_the_devices_own(fake_cupy):
    x = fake_cupy.asarray(np.array([0.3, -2.0]))
    out = erf(x)
    assert isinstance(out, fake_cupy.ndarray)
    assert out.tolist() == pytest.approx([math.erf(0.3), math.erf(-2.0)])

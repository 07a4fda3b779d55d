"""Fixtures for all tests."""

import pytest


@pytest.fixture
def fake_cupy():
    """A machine with one GPU, as far as minigen can tell: `import cupy` finds the stand-in of tests/backend."""
    from backend.fake_cupy import installed

    with installed() as cupy:
        yield cupy


@pytest.fixture(autouse=True)
def precision_as_it_was():
    """What a test sets the precision of products to does not outlast it."""
    from minigen.backend import precision

    before = precision.precision()
    yield
    precision.set_precision(before)

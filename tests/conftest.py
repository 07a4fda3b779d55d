"""Fixtures for all tests."""

import pytest


@pytest.fixture
def fake_cupy():
    """A machine with one GPU, as far as minigen can tell: `import cupy` finds the stand-in of tests/backend."""
    from backend.fake_cupy import installed

    with installed() as cupy:
        yield cupy

"""minigen on the real CuPy, without a GPU: its driver does nothing, its compiler is NVIDIA's (see driver.c).

What only CuPy itself can tell: that it has each name, takes each argument and gives the shape and dtype that NumPy
gives, that it compiles each kernel, when it copies and waits, and what it allows during a capture. No value is right
here and nothing takes time: values are the matter of the stand-in in tests/backend.

The claims are in claims_*.py: ordinary tests, for a process of their own, because what is done to CuPy there cannot be
undone. In a virtual environment with minigen's test dependencies:

    pip install cupy-cuda13x nvidia-cuda-nvrtc nvidia-cuda-runtime
    pytest -m slow tests/real_cupy

(For CUDA 12: cupy-cuda12x nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12.) The first time NVRTC compiles all
kernels, for two minutes; they are kept among the temporary files, and after that it takes a quarter of a minute.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from real_cupy import build

TESTS = Path(__file__).parents[1]
CLAIMS = sorted(path.name for path in Path(__file__).parent.glob("claims_*.py"))
REASON = build.why_not()


@pytest.mark.slow
@pytest.mark.skipif(REASON is not None, reason=str(REASON))
@pytest.mark.parametrize("claims", CLAIMS)
def test_all_holds_on_the_real_cupy(claims):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]),
        "LD_LIBRARY_PATH": os.pathsep.join([str(build.nvrtc_of_cupy().parent), os.environ.get("LD_LIBRARY_PATH", "")]),
        "CUDA_PATH": str(build.headers()),
        "CUPY_CACHE_DIR": str(build.folder("kernels")),
    }
    run = [sys.executable, "-m", "pytest", "-p", "real_cupy.inside", "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run([*run, str(TESTS / "real_cupy" / claims)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]

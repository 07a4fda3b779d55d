"""The stand-in's kernels: what CuPy refuses is refused, and also what CuPy would pass on to go silently wrong."""

import re

import numpy as np
import pytest
from backend import emulator
from backend.emulator import EmulatorError
from backend.fake_kernels import LAUNCHES

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
RNG = np.random.default_rng(0)

SOURCE = """
extern "C" __global__ void fill(float* y, int n, float v) { if (threadIdx.x < n) y[threadIdx.x] = v; }
extern "C" __global__ void few(unsigned* y, long long n, double v, bool b) { y[0] = n + v + b; }
extern "C" __global__ void null(const float4* x, float* y) { y[0] = x ? x[0].w : -1; }
extern "C" __global__ void __launch_bounds__(2 * (N), 1) bounded(float* y) { y[threadIdx.x] = N; }
extern "C" __global__ void dynamic(float* y, int n) {
    extern __shared__ float s[];
    for (int i = 0; i < n; i++) s[i] = i;
    y[0] = s[n - 1];
}
__global__ void mangled(float* y) {}
"""


@pytest.fixture
def get(fake_cupy):
    return fake_cupy.RawModule(code=SOURCE, options=("-std=c++17", "-DN=16")).get_function


@pytest.fixture
def y(fake_cupy):
    return fake_cupy.zeros(64, np.float32)


ONE = (1,), (1,)
I, F = np.int32(3), np.float32(2)

# ------------------------------------------------------------------------------------------------------- RawModule


def test_a_kernel_writes_into_the_array_and_is_counted(get, y):
    get("fill")((1,), (32,), (y, I, F))
    assert y[:4].tolist() == [2, 2, 2, 0]
    assert LAUNCHES["fill"] == 1


def test_a_view_is_passed_by_the_address_of_its_first_element(get, y):
    get("fill")((1,), (32,), (y[10:14], I, F))
    assert y.get().nonzero()[0].tolist() == [10, 11, 12]


def test_zero_is_a_null_pointer(get, y):
    get("null")(*ONE, (0, y))
    assert y[0].item() == -1
    get("null")(*ONE, (y[4:8], y))
    assert y[0].item() == 0


def test_python_numbers_are_of_64_bits(get, fake_cupy):
    y = fake_cupy.zeros(1, np.uint32)
    get("few")(*ONE, (y, 5, 3.0, True))
    assert y.tolist() == [9]


WRONG = {
    "a Python int for int": (lambda y: ("fill", (y, 3, F)), "'int n' got int"),
    "a Python float for float": (lambda y: ("fill", (y, I, 2.0)), "'float v' got float"),
    "float64 for float": (lambda y: ("fill", (y, I, np.float64(2))), "'float v' got float64"),
    "unsigned for int": (lambda y: ("fill", (y, np.uint32(3), F)), "'int n' got uint32"),
    "an array of float64": (lambda y: ("fill", (y.astype(np.float64), I, F)), r"'float \* y' got an array of float64"),
    "integers for float4": (lambda y: ("null", (y.astype(np.int32), y)), "got an array of int32"),
    "an array on the host": (lambda y: ("fill", (y.get(), I, F)), r"'float \* y' got ndarray"),
    "None": (lambda y: ("fill", (None, I, F)), r"'float \* y' got NoneType"),
    "an array for a number": (lambda y: ("fill", (y, y, F)), "'int n' got ndarray"),
    "too few arguments": (lambda y: ("fill", (y, I)), r"fill\(float \* y, int n, float v\): got 2 arguments"),
    "a name that is mangled": (lambda y: ("mangled", (y,)), 'no kernel extern "C" __global__ mangled; there are fill'),
}


@pytest.mark.parametrize("case", WRONG)
def test_arguments_are_exactly_those_of_the_signature(case, get, y):
    call, message = WRONG[case]
    with pytest.raises(EmulatorError, match=message):
        name, args = call(y)
        get(name)(*ONE, args)


@pytest.mark.parametrize(
    ("grid", "block"), [((1,), (1025,)), ((1,), (1, 1, 65)), ((1, 65536), (1,)), ((0,), (1,)), ((1,), (0,)), (1, (1,))]
)
def test_grids_and_blocks_are_those_that_cuda_allows(get, y, grid, block):
    with pytest.raises((EmulatorError, TypeError), match=r"than CUDA|an empty|are tuples"):
        get("fill")(grid, block, (y, I, F))


def test_a_block_is_no_larger_than_its_kernel_promised(get, y):
    get("bounded")((1,), (32,), (y,))
    assert y.tolist() == [16] * 32 + [0] * 32
    with pytest.raises(EmulatorError, match=r"block \(33,\) is larger than CUDA or its bounds allow"):
        get("bounded")((1,), (33,), (y,))


def test_more_than_48_kilobytes_of_shared_memory_have_to_be_asked_for(get, y):
    kernel, n = get("dynamic"), 50 << 10
    args = (y, np.int32(n // 4))
    with pytest.raises(EmulatorError, match="51200 bytes of dynamic shared memory, 49152 allowed"):
        kernel(*ONE, args, shared_mem=n)
    kernel.max_dynamic_shared_size_bytes = n
    kernel(*ONE, args, shared_mem=n)
    assert y[0].item() == n // 4 - 1
    with pytest.raises(EmulatorError, match="a block has 232448"):
        kernel.max_dynamic_shared_size_bytes = 228 << 10
    with pytest.raises(EmulatorError, match="dynamic shared memory: an access at byte 400, and it has 400"):
        kernel(*ONE, (y, np.int32(101)), shared_mem=400)


def test_options_and_sources_that_the_compiler_refuses_are_refused(fake_cupy):
    with pytest.raises(TypeError):
        fake_cupy.RawModule(code=SOURCE, options=["-DN=1"])
    with pytest.raises(EmulatorError, match=re.escape("['--nonsense']")):
        fake_cupy.RawModule(code=SOURCE, options=("--nonsense", "-DN=1")).get_function("fill")
    with pytest.raises(EmulatorError, match="g\\+\\+ refused the source"):
        fake_cupy.RawModule(code=SOURCE.replace("threadIdx", "threadId"), options=("-DN=1",)).get_function("fill")


# ------------------------------------------------------------------------------------ ElementwiseKernel, reductions


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_arrays_and_numbers_are_broadcast_and_t_is_the_type_of_the_arrays(fake_cupy, dtype):
    a, b = RNG.integers(-9, 9, (4, 1, 3)).astype(dtype), RNG.integers(-9, 9, (2, 1)).astype(dtype)
    f = fake_cupy.ElementwiseKernel("T a, T b, T c", "T y, bool z", "y = a * b + c; z = a < b", "f")
    y, z = f(fake_cupy.asarray(a), fake_cupy.asarray(b), 2)
    assert (y.dtype, z.dtype) == (dtype, bool)
    np.testing.assert_array_equal(y.get(), a * b + 2)
    np.testing.assert_array_equal(z.get(), a < b)


def test_any_strides_are_read_and_written_and_new_arrays_are_c_ordered(fake_cupy):
    x, out = RNG.standard_normal((3, 4, 5)).astype(np.float32), fake_cupy.zeros((5, 4, 6), np.float32)
    there = fake_cupy.asarray(x).transpose(2, 1, 0)
    f = fake_cupy.ElementwiseKernel("float32 x", "float32 y", "y = 2 * x + y", "f")
    assert f(there, out[:, :, ::2]) is not None
    np.testing.assert_array_equal(out.get()[:, :, ::2], 2 * x.T)
    assert not out.get()[:, :, 1::2].any()
    assert fake_cupy.ElementwiseKernel("T x", "T y", "y = x", "f")(there).flags.c_contiguous


def test_raw_arrays_are_indexed_flat_and_their_bounds_are_checked(fake_cupy):
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    f = fake_cupy.ElementwiseKernel("raw T x, int32 shift", "T y", "y = x[i + shift] + _ind.size() + x.size()", "f")
    np.testing.assert_array_equal(f(fake_cupy.asarray(x).T, 1, size=11).get(), x.T.ravel()[1:] + 11 + 12)
    with pytest.raises(EmulatorError, match=r"raw\[12\] of 12 elements"):
        f(fake_cupy.asarray(x), 1, size=12)


def test_a_raw_array_may_be_written(fake_cupy):
    x, y = fake_cupy.asarray(np.array([2, 0, 1])), fake_cupy.zeros(3, np.int64)
    fake_cupy.ElementwiseKernel("int64 x", "raw int64 y", "y[x] = i", "f")(x, y)
    assert y.tolist() == [1, 2, 0]


REFUSED = {
    "another type than declared": lambda f, x: f("float32 x", "float32 y", "y = x")(x.astype(np.float64)),
    "two types for T": lambda f, x: f("T x, T z", "T y", "y = x")(x, x.astype(np.float64)),
    "an array on the host": lambda f, x: f("T x", "T y", "y = x")(x.get()),
    "a number to write to": lambda f, x: f("T x", "T y", "y = x")(x, 3),
    "too few arguments": lambda f, x: f("T x, T z", "T y", "y = x")(x),
    "shapes that do not fit": lambda f, x: f("T x, T z", "T y", "y = x")(x, x[:2]),
    "an output that is too small": lambda f, x: f("T x", "T y", "y = x")(x, x[:1]),
    "no size": lambda f, x: f("raw T x", "T y", "y = x[i]")(x),
    "two sizes": lambda f, x: f("T x", "T y", "y = x")(x, size=3),
    "a reserved name": lambda f, x: f("T n", "T y", "y = n")(x),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cupys_elementwise_kernels_refuse_is_refused(fake_cupy, case):
    with pytest.raises((TypeError, ValueError)):
        REFUSED[case](lambda *texts: fake_cupy.ElementwiseKernel(*texts, "f"), fake_cupy.zeros(3, np.float32))


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_a_reduction_runs_over_the_axes(fake_cupy, axis, keepdims):
    x, w = RNG.integers(-5, 5, (3, 4, 5)).astype(np.float64), RNG.integers(-5, 5, (4, 1)).astype(np.float64)
    f = fake_cupy.ReductionKernel("T x, T w, T c", "T y", "x * w + c", "a + b", "y = -a", "0", "f")
    y = f(fake_cupy.asarray(x), fake_cupy.asarray(w), 1.0, axis=axis, keepdims=keepdims)
    np.testing.assert_array_equal(y.get(), -(x * w + 1).sum(axis, keepdims=keepdims))

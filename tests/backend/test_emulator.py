"""The emulator of CUDA does what a GPU does where that is defined, and says so where it is not.

Kernels with a planted mistake must fail here: else the kernels of minigen could hide theirs.
"""

import re

import numpy as np
import pytest
from backend import emulator
from backend.emulator import EmulatorError, module

from minigen.backend.gpu.compile import source

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
NAN = np.float32(np.nan)


def run(body, *args, parameters="float* y", grid=(1,), block=(32,), shared=0, seed=None, before="",
        architecture=90):  # fmt: skip
    """Launch `extern "C" __global__ void f(parameters) { body }` with the functions of ptx.cuh at hand."""
    text = f'{source("ptx.cuh")}\n{before}\nextern "C" __global__ void f({parameters}) {{\n{body}\n}}\n'
    module(text, (), architecture).launch("f", grid, block, args, shared, seed)
    return args[0]


def floats(*shape):
    return np.full(shape, NAN, np.float32)


# ------------------------------------------------------------------------------------------- indices, shared memory


def test_every_thread_of_a_grid_and_block_of_three_dimensions_runs_once():
    out = np.zeros((3, 2, 4, 2, 5, 6), np.int32)
    body = """
        int b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
        int t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
        int n = blockDim.x * blockDim.y * blockDim.z;
        y[b * n + t] += 1 + b * n + t;"""
    run(body, out, parameters="int* y", grid=(4, 2, 3), block=(6, 5, 2))
    np.testing.assert_array_equal(out.ravel(), 1 + np.arange(out.size))


@pytest.mark.parametrize("declared", ["extern __shared__ __align__(16) float s[];", "__shared__ float s[32];"])
def test_shared_memory_is_poisoned_at_the_start_of_every_block(declared):
    body = f"{declared} y[blockIdx.x * 32 + threadIdx.x] = s[threadIdx.x]; s[threadIdx.x] = 1;"
    assert np.isnan(run(body, np.zeros(96, np.float32), grid=(3,), shared=128)).all()


REVERSE = """
    extern __shared__ float s[];
    s[threadIdx.x] = threadIdx.x;
    {wait}
    y[threadIdx.x] = s[{other}];"""
AMONG_WARPS, IN_A_WARP = "blockDim.x - 1 - threadIdx.x", "threadIdx.x ^ 1"


@pytest.mark.parametrize("other", [AMONG_WARPS, IN_A_WARP])
def test_shared_memory_is_seen_by_all_after_a_barrier(other):
    out = run(REVERSE.format(wait="__syncthreads();", other=other), floats(96), block=(96,), shared=384)
    i = np.arange(96)
    np.testing.assert_array_equal(out, 95 - i if other == AMONG_WARPS else i ^ 1)


@pytest.mark.parametrize(("wait", "other"), [("", AMONG_WARPS), ("__syncwarp();", AMONG_WARPS), ("", IN_A_WARP)])
def test_a_missing_barrier_shows(wait, other):
    assert np.isnan(run(REVERSE.format(wait=wait, other=other), floats(96), block=(96,), shared=384)).any()


def test_a_warp_runs_ahead_of_another_that_still_reads():
    """The second barrier of a loop: without it some warp overwrites what another has not read, for some order."""
    body = """
        __shared__ float s[96];
        float sum = 0;
        for (int k = 0; k < 4; k++) {{
            s[threadIdx.x] = k;
            __syncthreads();
            sum += s[95 - threadIdx.x];
            {wait}
        }}
        y[threadIdx.x] = sum;"""
    assert (run(body.format(wait="__syncthreads();"), floats(96), block=(96,)) == 6).all()
    assert (run(body.format(wait=""), floats(96), block=(96,)) != 6).any()


def test_a_warp_may_be_far_ahead_of_another():
    """By 100 shuffles: as many as a kernel has in the loop between two barriers."""
    body = """
        __shared__ int steps[4];
        if (threadIdx.x < 4) steps[threadIdx.x] = 0;
        __syncthreads();
        int warp = threadIdx.x / 32;
        for (int k = 1; k < 200; k++) {
            steps[warp] = k;
            __syncwarp();
            for (int w = 0; w < 4; w++) y[warp] = max(y[warp], k - steps[w]);
        }"""
    assert run(body, np.zeros(4, np.int32), parameters="int* y", block=(128,), seed=1).max() > 100


# ------------------------------------------------------------------------------------------------ warps and atomics

X = np.random.default_rng(0).integers(-99, 99, 32)
LANE = np.arange(32)
SHUFFLES = {
    "__shfl_xor_sync(~0u, x, 5)": X[LANE ^ 5],
    "__shfl_down_sync(~0u, x, 3)": X[np.where(LANE + 3 < 32, LANE + 3, LANE)],
    "__shfl_up_sync(~0u, x, 3)": X[np.where(LANE >= 3, LANE - 3, LANE)],
    "__shfl_sync(~0u, x, 7)": X[np.full(32, 7)],
    "__shfl_down_sync(~0u, x, 2, 8)": X[np.where(LANE % 8 < 6, LANE + 2, LANE)],
    "__shfl_xor_sync(~0u, x, 4, 8)": X[LANE ^ 4],
    "__shfl_sync(~0u, x, 9, 8)": X[LANE // 8 * 8 + 1],
}


@pytest.mark.parametrize(("type", "dtype"), [("float", "f4"), ("double", "f8"), ("int", "i4"), ("unsigned", "u4")])
def test_shuffles_move_values_between_lanes(type, dtype):
    body = "\n".join(f"{{ y[{32 * i} + threadIdx.x] = {call}; }}" for i, call in enumerate(SHUFFLES))
    x, out = X.astype(dtype), np.zeros((len(SHUFFLES), 32), dtype)
    run(f"{type} x = z[threadIdx.x]; {body}", out, x, parameters=f"{type}* y, const {type}* z")
    np.testing.assert_array_equal(out, np.array(list(SHUFFLES.values())).astype(dtype))


def test_warps_are_cut_from_a_block_with_x_first_and_z_last():
    body = "int t = (threadIdx.z * 4 + threadIdx.y) * 4 + threadIdx.x; y[t] = __shfl_sync(~0u, t, 0);"
    out = run(body, np.zeros(96, np.int32), parameters="int* y", block=(4, 4, 6))
    np.testing.assert_array_equal(out, np.arange(96) // 32 * 32)


def test_a_shuffle_of_part_of_a_warp_leaves_the_rest_alone_and_finds_nothing_there():
    body = "float v = threadIdx.x; if (threadIdx.x < 16) v = __shfl_down_sync(0xffff, v, 1); y[threadIdx.x] = v;"
    np.testing.assert_array_equal(run(body, floats(32)), [*range(1, 16), NAN, *range(16, 32)])


def test_votes_count_the_lanes_and_the_threads():
    body = """
        int even = threadIdx.x % 2 == 0;
        y[0] = __ballot_sync(~0u, even);
        y[1] = __any_sync(~0u, threadIdx.x == 40) + 2 * __all_sync(~0u, threadIdx.x >= 32);
        int count = __syncthreads_count(even), any = __syncthreads_or(threadIdx.x == 3);
        y[2] = count + 1000 * any + 9999 * __syncthreads_and(even);"""
    out = np.zeros((2, 3), np.uint32)
    run(f"y += 3 * (threadIdx.x / 32); {body}", out, parameters="unsigned* y", block=(64,))
    assert out.tolist() == [[0x55555555, 0, 1032], [0x55555555, 3, 1032]]


def test_atomics_lose_nothing():
    body = """
        atomicAdd(y, 0.5f); atomicAdd(n, 2); atomicAdd(u, 3u);
        atomicMax(n + 1, int(blockIdx.x * 64 + threadIdx.x));
        if (atomicInc(u + 1, 319) == 319) n[2] = 7;"""
    y, n, u = np.zeros(1, np.float32), np.zeros(3, np.int32), np.zeros(2, np.uint32)
    run(body, y, n, u, parameters="float* y, int* n, unsigned* u", grid=(5,), block=(64,))
    assert (y.tolist(), n.tolist(), u.tolist()) == ([160], [640, 319, 7], [960, 0])


def test_the_order_is_the_seeds():
    """Blocks, warps and lanes: each its own place in the order of arrival."""
    body = "y[blockIdx.x * 64 + threadIdx.x] = atomicAdd(n, 1);"
    orders = [
        run(body, np.zeros(256, np.int32), np.zeros(1, np.int32), parameters="int* y, int* n",
            grid=(4,), block=(64,), seed=seed).tolist()
        for seed in (1, 1, 2)
    ]  # fmt: skip
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == list(range(256))
    assert orders[0] != sorted(orders[0])


# ------------------------------------------------------------------------------------------------------- mistakes

FLOAT4 = "((float4*)(y + 1))[0] = make_float4(0, 0, 0, 0);"
MISTAKES = {
    "if (threadIdx.x < 7) __syncwarp();": "__syncwarp: not every lane of the mask ffffffff came",
    "__syncwarp(); if (threadIdx.x < 7) __syncwarp();": "__syncwarp: not every lane",
    "__syncwarp(threadIdx.x < 16 ? 0xffffu : ~0u);": "__syncwarp: not every lane of the mask ffffffff",
    "if (threadIdx.x % 2) __shfl_xor_sync(~0u, 1, 1); else __syncwarp();": "not every lane",
    "if (threadIdx.x == 9) return; __shfl_down_sync(~0u, 1.f, 1);": "__shfl_down_sync: not every lane",
    "if (threadIdx.x < 8) __syncthreads();": "__syncthreads: 24 of 32 threads had returned",
    "if (threadIdx.x < 8) __syncthreads(); else __syncwarp(~255u);": "__syncthreads: 24 of 32",
    "__syncwarp(1u);": "the mask 00000001 lacks the calling lane",
    "y[10] = 0;": "y: a write at byte 40, and it has 40",
    "y[-1] = 0;": "y: a write at byte -4, and it has 40",
    "y[1000] = 0;": "y: an access at byte 4000, and it has 40; thread",
    "y[0] = y[-2000];": "y: an access at byte -8000",
    "y[0] = y[1ll << 33];": "far from every array",
    "extern __shared__ float s[]; s[threadIdx.x + 1] = 0;": "dynamic shared memory: an access at byte 128",
    "__shared__ float s[4][3]; s[1][threadIdx.x] = 0;": r"index \d+ out of bounds; thread \(\d+, 0, 0\) of block",
    "float v[2]; for (int i = 0; i <= 2; i++) v[i] = y[i]; y[0] = v[1];": "index 2 out of bounds",
    "int n = y[0]; y[0] = 5 / n;": "an integer division by zero",
    FLOAT4: "misaligned address",
    "extern __shared__ float s[]; cp_async<16>(s + 1, y);": "cp_async<16>: misaligned",
    "extern __shared__ float s[]; cp_async<16>(s, y + 1);": "cp_async<16>: misaligned",
    "extern __shared__ float s[]; cp_async<8>(s, y + 1024);": "y: an access at byte 4096",
    "extern __shared__ float s[]; cp_async<4>(y, s);": r"the target 0x\w+ is not in shared memory",
    "extern __shared__ float s[]; cp_async<4>(s, s);": r"the source 0x\w+ is in shared memory",
    "__trap();": "__trap",
}


@pytest.mark.parametrize("body", MISTAKES, ids=lambda b: b.split(";")[-2].strip()[:40])
def test_a_mistake_ends_the_launch_with_a_sentence(body):
    with pytest.raises(EmulatorError, match=MISTAKES[body]):
        run(body, np.zeros(10, np.float32), shared=128)


def test_the_tensor_cores_need_a_whole_warp():
    with pytest.raises(EmulatorError, match="mma_tf32: needs a warp of 32 threads"):
        run("float d[4]; unsigned a[4], b[2]; mma_tf32(d, a, b);", floats(1), block=(16,))


def test_a_message_names_the_line_of_the_file():
    text = '#line 7 "mine.cu"\nextern "C" __global__ void f(int n) {\n    float v[2];\n    v[n] = 1;\n}\n'
    with pytest.raises(EmulatorError, match=r"f: mine\.cu:9: index 5 out of bounds"):
        module(text).launch("f", (1,), (1,), [np.int32(5)])
    with pytest.raises(EmulatorError, match=re.escape("mine.cu:8") + r"[^$]*nonsense"):
        module('#line 7 "mine.cu"\nextern "C" __global__ void f(int n) {\n nonsense; }')


def test_arrays_that_overlap_are_one():
    x = np.arange(8, dtype=np.float32)
    run("y[2] = 9; y[0] = x[0];", x[1:5], x[3:7], parameters="float* y, const float* x", block=(1,))
    assert x.tolist() == [0, 9, 2, 9, 4, 5, 6, 7]


def test_a_kernel_goes_on_after_one_that_failed():
    test_a_mistake_ends_the_launch_with_a_sentence("y[1000] = 0;")
    assert (run("__syncthreads(); y[threadIdx.x] = 3;", floats(32)) == 3).all()

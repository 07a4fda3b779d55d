"""Emulated ptx.cuh: rounding, tensor cores and asynchronous copies as the PTX manual has them."""

import numpy as np
import pytest
from backend import emulator
from backend.test_emulator import floats, run

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)
RNG = np.random.default_rng(0)
SPECIAL = np.array([0, -0.0, 1, -1, 1.5, np.inf, -np.inf, np.nan, 65504, 65519.99, 65520, 1e6, 2**-14, 2**-24, 2**-25])
TIES = np.float32(1) + np.arange(64, dtype=np.float32) * np.float32(2**-12)
TINY = np.ldexp(RNG.random(64), -15)
NUMBERS = np.concatenate([SPECIAL, -SPECIAL, TIES, TINY, RNG.standard_normal(64) * 100]).astype(np.float32)


def tf32(x):
    """Rounded to 10 bits of fraction, to nearest, ties away from zero."""
    _, exponent = np.frexp(x)
    step = np.ldexp(1.0, np.maximum(exponent, -125) - 11)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(x), np.sign(x) * np.floor(np.abs(x) / step + 0.5) * step, x).astype(np.float32)


def bfloat16(x):
    """Rounded to 7 bits of fraction, to nearest, ties to even."""
    _, exponent = np.frexp(x)
    step = np.ldexp(1.0, np.maximum(exponent, -125) - 8)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(x), np.rint(x / step) * step, x).astype(np.float32)


def converted(call):
    out = np.zeros(len(NUMBERS), np.uint32)
    run(f"y[threadIdx.x] = {call};", out, NUMBERS, parameters="unsigned* y, const float* x", block=(len(NUMBERS),))
    return out


def same(bits, expected):
    found = bits.astype(np.uint32).view(np.float32)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(found[~np.isnan(found)], expected[~np.isnan(found)])


def test_to_tf32_rounds_to_nearest_ties_away_from_zero():
    bits = converted("to_tf32(x[threadIdx.x])")
    same(bits, tf32(NUMBERS.astype(np.float64)))
    assert not (bits[np.isfinite(NUMBERS)] & 0x1FFF).any()


def test_to_bf16x2_rounds_to_nearest_ties_to_even_and_packs_the_first_low():
    bits = converted("to_bf16x2(x[threadIdx.x], -x[threadIdx.x])")
    same(bits << 16, bfloat16(NUMBERS.astype(np.float64)))
    same(bits & 0xFFFF0000, -bfloat16(NUMBERS.astype(np.float64)))


def test_to_f16x2_is_numpys_float16_and_packs_the_first_low():
    bits = converted("to_f16x2(x[threadIdx.x], 2.f)")
    with np.errstate(over="ignore"):
        expected = NUMBERS.astype(np.float16)
    np.testing.assert_array_equal((bits & 0xFFFF).astype(np.uint16).view(np.float16), expected)
    assert (bits >> 16 == np.float16(2).view(np.uint16)).all()


# ------------------------------------------------------------------------------------------------------ tensor cores

# A is 16 x K, B is K x 8: as the manual's figures place them in the registers of a warp
LOAD = {
    "mma_tf32": """
        int g = threadIdx.x / 4, t = threadIdx.x % 4;
        unsigned a[4] = {ROUND(A(g, t)), ROUND(A(g + 8, t)), ROUND(A(g, t + 4)), ROUND(A(g + 8, t + 4))};
        unsigned b[2] = {ROUND(B(t, g)), ROUND(B(t + 4, g))};""",
    "mma_bf16": """
        int g = threadIdx.x / 4, t = 2 * (threadIdx.x % 4);
        unsigned a[4] = {ROUND(A(g, t), A(g, t + 1)), ROUND(A(g + 8, t), A(g + 8, t + 1)),
                         ROUND(A(g, t + 8), A(g, t + 9)), ROUND(A(g + 8, t + 8), A(g + 8, t + 9))};
        unsigned b[2] = {ROUND(B(t, g), B(t + 1, g)), ROUND(B(t + 8, g), B(t + 9, g))};""",
}
LOAD["mma_f16"] = LOAD["mma_bf16"]
LOAD["mma_f16_k8"] = """
        int g = threadIdx.x / 4, t = 2 * (threadIdx.x % 4);
        unsigned a[2] = {ROUND(A(g, t), A(g, t + 1)), ROUND(A(g + 8, t), A(g + 8, t + 1))};
        unsigned b[1] = {ROUND(B(t, g), B(t + 1, g))};"""
STORE = """
    float d[4] = {1, 2, 3, 4};
    MULTIPLY;
    for (int i = 0; i < 4; i++) y[(g + 8 * (i / 2)) * 8 + 2 * (threadIdx.x % 4) + i % 2] = d[i];"""


float16 = lambda x: x.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "k", "to", "rounded", "architecture"),
    [
        ("mma_tf32", 8, "to_tf32", tf32, 80),
        ("mma_tf32", 8, "__float_as_uint", lambda x: (x.view(np.uint32) & 0xFFFFE000).view(np.float32), 80),
        ("mma_bf16", 16, "to_bf16x2", bfloat16, 80),
        ("mma_f16", 16, "to_f16x2", float16, 80),
        ("mma_f16", 16, "to_f16x2", float16, 75),
        ("mma_f16_k8", 8, "to_f16x2", float16, 75),
    ],
    ids=["tf32", "tf32 truncated", "bf16", "f16", "f16 on 7.5", "f16 on 7.5, half as deep"],
)
def test_a_product_on_the_tensor_cores_is_that_of_rounded_operands(name, k, to, rounded, architecture):
    a, b = RNG.standard_normal((16, k)).astype(np.float32), RNG.standard_normal((k, 8)).astype(np.float32)
    call = "mma_f16_k8(d, a[0], a[1], b[0])" if name == "mma_f16_k8" else f"{name}(d, a, b)"
    defines = (
        f"#define ROUND {to}\n#define MULTIPLY {call}\n"
        f"#define A(i, j) p[(i) * {k} + (j)]\n#define B(i, j) q[(i) * 8 + (j)]"
    )
    out = run(LOAD[name] + STORE, floats(16, 8), a, b, before=defines,
              parameters="float* y, const float* p, const float* q", architecture=architecture)  # fmt: skip
    start = np.array([[1, 2], [3, 4]]).repeat(8, 0)[:, [0, 1] * 4]
    expected = start + rounded(a).astype(np.float64) @ rounded(b).astype(np.float64)
    # sums of 8 or 16 products in float32, of numbers about 1: some units of 6e-8
    np.testing.assert_allclose(out, expected, rtol=2e-6, atol=2e-6)
    assert np.abs(out - start - a.astype(np.float64) @ b).max() > 1e-5  # and not those of the operands as they were


# ----------------------------------------------------------------------------------------------- asynchronous copies


def copied(steps, declared="extern __shared__ float s[];", size=16, architecture=90):
    """What one thread sees of four copies a, b, c, d of one float each (1, 2, 3, 4) after `steps`."""
    x = np.arange(1, size + 1, dtype=np.float32)
    calls = {c: f"cp_async<4>(s + {i}, x + {i});" for i, c in enumerate("abcd")}
    calls |= {",": "cp_commit();", "0": "cp_wait<0>();", "1": "cp_wait<1>();", "2": "cp_wait<2>();"}
    body = f"{declared} {''.join(calls[c] for c in steps)} for (int i = 0; i < 4; i++) y[i] = s[i];"
    return run(body, floats(4), x, parameters="float* y, const float* x", block=(1,), shared=16,
               architecture=architecture)  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "seen"),
    [
        ("abcd,0", [1, 2, 3, 4]),
        ("a,b,c,d,0", [1, 2, 3, 4]),
        ("a,b,c,d,1", [1, 2, 3, np.nan]),
        ("a,b,c,d,2", [1, 2, np.nan, np.nan]),
        ("ab,cd,1", [1, 2, np.nan, np.nan]),
        ("abcd,", [np.nan] * 4),
        ("abcd0", [np.nan] * 4),
        ("a,b,,1", [1, 2, np.nan, np.nan]),
        ("a,b,1c,d,1", [1, 2, 3, np.nan]),
    ],
)
def test_a_copy_is_seen_after_the_wait_for_its_group_and_not_before(steps, seen):
    np.testing.assert_array_equal(copied(steps), seen)


def test_a_copy_destroys_what_was_there_at_once():
    body = "__shared__ float s[1]; s[0] = 5; cp_async<4>(s, x); cp_commit(); y[0] = s[0]; cp_wait<0>(); y[1] = s[0];"
    out = run(body, floats(2), np.ones(1, np.float32), parameters="float* y, const float* x", block=(1,))
    np.testing.assert_array_equal(out, [np.nan, 1])


def test_before_sm_80_a_copy_waits_for_nothing():
    np.testing.assert_array_equal(copied("ab", architecture=75), [1, 2, np.nan, np.nan])


@pytest.mark.parametrize("call", ["to_tf32(1)", "to_bf16x2(1, 1)", "mma_tf32(d, a, b)", "mma_bf16(d, a, b)"])
def test_what_an_older_gpu_has_not_is_not_there(call):
    body = f"float d[4]; unsigned a[4], b[2]; {call};"
    with pytest.raises(emulator.EmulatorError, match="was not declared"):
        run(body, floats(1), architecture=75)


@pytest.mark.parametrize("architecture", [60, 90])
@pytest.mark.parametrize("size", [4, 8, 16])
def test_a_copy_that_is_not_valid_writes_zeros_and_reads_nothing(size, architecture):
    body = f"""
        __shared__ __align__(16) float s[8];
        cp_async<{size}>(s, x + (1 << 20), false);
        cp_async<{size}>(s + 4, x);
        cp_commit();
        cp_wait<0>();
        for (int i = 0; i < 8; i++) y[i] = s[i];"""
    x = np.arange(1, 5, dtype=np.float32)
    out = run(body, floats(8), x, parameters="float* y, const float* x", block=(1,), architecture=architecture)
    n = size // 4
    np.testing.assert_array_equal(out, [*[0] * n, *[np.nan] * (4 - n), *x[:n], *[np.nan] * (4 - n)])


def test_other_threads_see_a_copy_only_after_a_barrier_that_follows_the_wait():
    body = """
        __shared__ float s[64];
        cp_async<4>(s + threadIdx.x, x + threadIdx.x);
        cp_commit();
        {steps}
        y[threadIdx.x] = s[63 - threadIdx.x];"""
    x = np.arange(64, dtype=np.float32)
    see = lambda steps: run(body.format(steps=steps), floats(64), x, parameters="float* y, const float* x", block=(64,))
    np.testing.assert_array_equal(see("cp_wait<0>(); __syncthreads();"), x[::-1])
    assert np.isnan(see("__syncthreads(); cp_wait<0>();")).any()
    assert np.isnan(see("cp_wait<0>();")).any()

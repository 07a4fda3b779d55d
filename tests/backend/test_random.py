"""Generator: seeds, saved states, both devices; and philox.cu, compiled for the host, against published numbers."""

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from backend import emulator
from backend import philox as reference
from backend.fake_kernels import LAUNCHES

from minigen.backend import Generator, to_numpy, use
from minigen.backend.gpu import random as gpu_random

DEVICES = ["numpy", "cupy"]


@pytest.fixture(params=DEVICES)
def device(request, fake_cupy):
    """Either library as the default; CuPy is the stand-in."""
    return use(request.param)


def everything(rng):
    """Numbers of every kind."""
    drawn = [
        rng.normal((3, 5)),
        rng.uniform((7,)),
        rng.keep((2, 3, 4, 4), 0.4),
        rng.integers(0, 10, (6,)),
        rng.normal(3, np.float64),
        rng.host.permutation(9),
    ]
    return [to_numpy(x) for x in drawn]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# ------------------------------------------------------------------------------------------------ seeds and states


def test_a_seed_gives_the_same_numbers_again_and_another_seed_others(device):
    assert same(everything(Generator(7)), everything(Generator(7)))
    assert not same(everything(Generator(7)), everything(Generator(8)))


def test_without_a_seed_one_is_drawn_and_told(device):
    a, b = Generator(), Generator()
    assert a.seed != b.seed
    assert repr(a) == f"Generator(seed={a.seed})"
    assert same(everything(a), everything(Generator(a.seed)))


def test_a_restored_state_goes_on_bit_for_bit_also_through_json(device):
    rng = Generator(1)
    everything(rng)
    saved = json.loads(json.dumps(rng.state()))
    after = everything(rng)
    rng.restore(saved)
    assert same(everything(rng), after)
    fresh = Generator(99)
    fresh.restore(saved)
    assert same(everything(fresh), after)
    assert fresh.seed == 1


def test_a_state_saved_within_a_half_used_word_goes_on_bit_for_bit():
    rng = Generator(0)
    rng.host.integers(0, 2**32, dtype=np.uint32)  # SFC64 keeps the other half of its 64 bits
    saved = json.loads(json.dumps(rng.state()))
    assert saved["host"]["has_uint32"] == 1
    after = rng.host.integers(0, 2**32, 3, dtype=np.uint32).tolist()
    rng.restore(saved)
    assert rng.host.integers(0, 2**32, 3, dtype=np.uint32).tolist() == after


def test_numbers_of_the_device_do_not_disturb_those_of_the_host(fake_cupy):
    use("cupy")
    a, b = Generator(5), Generator(5)
    a.normal((100,)), a.uniform((3,)), a.keep((10,), 0.5)
    assert a.host.random(4).tolist() == b.host.random(4).tolist()


def test_a_split_generator_is_another_one_and_repeatable(device):
    a, b = Generator(5).split(), Generator(5).split()
    assert a.seed == b.seed != 5
    assert same(everything(a), everything(b))


# ------------------------------------------------------------------------------------------------ what is drawn


def test_shapes_dtypes_and_device_are_those_asked_for(device):
    rng = Generator(0)
    for x, shape, dtype in (
        (rng.normal((2, 3)), (2, 3), np.float32),
        (rng.normal((2, 3), np.float64), (2, 3), np.float64),
        (rng.uniform(5), (5,), np.float32),
        (rng.uniform(()), (), np.float32),
        (rng.keep((2, 3, 4, 5), 0.5), (2, 3, 4, 5), bool),
        (rng.keep((4,), 0.5), (4,), bool),
        (rng.integers(0, 3, (2, 2)), (2, 2), np.int64),
        (rng.normal((0, 3)), (0, 3), np.float32),
    ):
        assert (to_numpy(x).shape, x.dtype) == (shape, dtype)
        assert isinstance(x, device.ndarray) or shape == ()


def test_normal_numbers_are_normal(device):
    """Within 4 standard errors of the moments of N(0, 1), by 200,000 numbers, also for neighbours."""
    x = to_numpy(Generator(0).normal((200_000,))).astype(np.float64)
    error = 4 / np.sqrt(len(x))
    assert abs(x.mean()) < error
    assert abs(x.var() - 1) < error * np.sqrt(2)
    assert abs((x**3).mean()) < error * np.sqrt(15)
    assert abs((x**4).mean() - 3) < error * np.sqrt(96)
    assert abs((np.abs(x) < 1).mean() - 0.6827) < error * 0.4655
    for lag in (1, 2, 3, 4):
        assert abs((x[lag:] * x[:-lag]).mean()) < error
        assert abs((x[lag:] ** 2 * x[:-lag] ** 2).mean() - 1) < error * np.sqrt(8)


def test_uniform_numbers_are_uniform_and_below_one(device):
    x = to_numpy(Generator(0).uniform((200_000,))).astype(np.float64)
    assert x.min() >= 0
    assert x.max() < 1
    expected = len(x) / 100
    chi2 = ((np.histogram(x, 100, (0, 1))[0] - expected) ** 2 / expected).sum()
    assert 45 < chi2 < 165  # 99 degrees of freedom: 99 ± 4.7 standard deviations


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_keep_is_false_with_the_given_probability(device, p):
    kept = to_numpy(Generator(0).keep((16, 8, 25, 25), p))
    assert abs(kept.mean() - (1 - p)) < 4 * np.sqrt(p * (1 - p) / kept.size)


def test_keep_keeps_all_at_0_and_nothing_at_1(device):
    assert Generator(0).keep((1000,), 0).all()
    assert not Generator(0).keep((1000,), 1).any()


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_keep_refuses_what_is_no_probability(device, p):
    with pytest.raises(ValueError, match=rf"expected a probability p in \[0, 1\]; got {p}"):
        Generator(0).keep((3,), p)


def test_two_fills_on_the_device_share_no_number(fake_cupy):
    use("cupy")
    rng = Generator(0)
    first, second = rng.uniform((6,)).tolist(), rng.uniform((6,)).tolist()
    assert not set(first) & set(second)
    assert Generator(0).uniform((16,)).tolist()[:6] == first
    assert Generator(0).uniform((16,)).tolist()[8:14] == second  # whole blocks of 4 are used up


@pytest.mark.parametrize("shape", [(), (0,), (5,), (3000,), (7, 20000)], ids=str)
def test_a_draw_is_one_launch_and_moves_the_counter_once(fake_cupy, shape):
    """Whichever block comes last; all of them must have read the counter before."""
    if not emulator.AVAILABLE:
        pytest.skip(emulator.WHY_NOT)
    use("cupy")
    rng, n = Generator(3), math.prod(shape)
    for turn in range(3):
        before = LAUNCHES.copy()
        found = rng.uniform(shape)
        assert dict(LAUNCHES - before) == ({"minigen_random": 1} if n else {})
        expected = reference.uniform(turn * math.ceil(n / 4), 3, n)
        np.testing.assert_array_equal(found.get(), expected.reshape(shape))
        assert rng.device.counter == (turn + 1) * math.ceil(n / 4)


# ------------------------------------------------------------------------------------------------ philox.cu

PROGRAM = r"""
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include "philox.cu"
int main(int, char** a) {
    unsigned long long first = strtoull(a[1], 0, 10), key = strtoull(a[2], 0, 10), n = strtoull(a[3], 0, 10);
    for (unsigned long long i = 0; i < n; ++i)
        printf("%08x %.9g %.9g\n", word(first, key, i), uniform(word(first, key, i)), normal(first, key, i));
}
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """(first, key, n) -> words, uniform and normal numbers of philox.cu, compiled by g++."""
    if shutil.which("g++") is None:
        pytest.skip("no g++: philox.cu is tested where there is one")
    folder = tmp_path_factory.mktemp("philox")
    (folder / "main.cpp").write_text(PROGRAM)
    source = Path(gpu_random.SOURCE).parent
    subprocess.run(
        ["g++", "-D__device__=", "-Wall", "-Werror", f"-I{source}", folder / "main.cpp", "-o", folder / "philox"],
        check=True,
        timeout=60,
    )

    def run(first, key, n):
        program = [str(v) for v in (folder / "philox", first, key, n)]
        lines = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
        words, uniform, normal = zip(*[line.split() for line in lines])
        return [int(w, 16) for w in words], np.array(uniform, np.float32), np.array(normal, np.float32)

    return run


def test_the_kernel_gives_the_published_answer_for_zero(compiled):
    assert [f"{w:08x}" for w in compiled(0, 0, 4)[0]] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


@pytest.mark.parametrize(
    ("first", "key"),
    [(0, 0), (5, 1), (2**32 - 2, 2**32), (2**40 + 3, 2**64 - 1), (2**63, 0x299F31D0A4093822)],
    ids=range(5),
)
def test_the_kernel_agrees_with_an_independent_philox(compiled, first, key):
    """The reference gives the published answers (test_fake_cupy.py); counters pass 2³² here, keys use both words."""
    words, uniform, normal = compiled(first, key, 64)
    assert words == reference.words(first, key, 64).reshape(-1).tolist()
    np.testing.assert_array_equal(uniform, reference.uniform(first, key, 64))
    np.testing.assert_allclose(
        normal, reference.normal(first, key, 64), rtol=2e-5, atol=2e-6
    )  # float32 against float64


def test_the_generator_calls_the_kernel_with_its_seed_and_counter(fake_cupy):
    use("cupy")
    rng = Generator(2**40 + 7)
    rng.normal((10,))  # 3 blocks
    assert rng.uniform((5,)).tolist() == reference.uniform(3, 2**40 + 7, 5).tolist()
    # the kernel computes in float32, the reference in float64: some units in the last place of numbers about 1
    np.testing.assert_allclose(rng.normal((5,)).get(), reference.normal(5, 2**40 + 7, 5), rtol=1e-5, atol=1e-6)

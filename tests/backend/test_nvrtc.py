"""All CUDA C++ of minigen compiles to machine code for the GPUs it serves: by CUDA's run-time compiler, without a GPU.

The quick tests compile for the oldest and the newest architecture that the compiler knows (CUDA 13: 75 and more; CUDA
12.0: up to 90), and for 80, and so few variants of each file that each value of each constant occurs; the slow ones
compile all variants for all architectures, which takes minutes.
"""

import re
from functools import cache

import pytest
from backend import nvrtc
from backend.compiled_sources import file_of, recorded

from minigen.backend.gpu.compile import FOLDER

ARCHITECTURES = {60: "P100", 61: "GTX 10", 70: "V100", 75: "T4, RTX 20", 80: "A100", 86: "RTX 30"}
ARCHITECTURES |= {89: "RTX 40, L4", 90: "H100, H200", 100: "B200", 120: "RTX 50"}
AS_CUPY_DOES = "-ftz=true", "--device-as-default-execution-space"  # cupy/cuda/compiler.py, 13 and 14
needs_nvrtc = pytest.mark.skipif(not nvrtc.libraries(), reason=nvrtc.WHY_NOT)


@cache
def sources(architecture=90):
    """What the library compiles on a GPU of that architecture; all new ones are alike."""
    return recorded(str(min(architecture, 90)))


def few(variants):
    """Options such that each one of all `variants` is there: greedy."""
    missing, chosen = {o for options in variants for o in options}, []
    while missing:
        chosen.append(max(variants, key=lambda options: len(missing.intersection(options))))
        missing -= set(chosen[-1])
    return chosen


def variants(file, architecture, all=False):
    """(source, options) of a file, as the library asks for them."""
    asked = {options: source for source, options in sources(architecture)[0] if file_of(source) == file}
    return [(asked[options], options) for options in (asked if all else few(list(asked)))]


def elementwise():
    """All elementwise kernels as one source, each in a namespace of its own."""
    parts = []
    for i, source in enumerate(sources()[1]):
        source = re.sub(r'extern "C" (__global__ void \w+)', r"\1", source).replace("emu::fail", "outside")
        parts.append(f"namespace kernel_{i} {{\n{source}\n}}\n")
    return "template <class... A> void outside(const char*, A...) {}\n" + "".join(parts)


@cache
def compiler(path):
    return nvrtc.Compiler(path)


def compiled(path, source, architecture, options=()):
    """What ptxas says of each kernel, from a compiler that knows the architecture."""
    if architecture not in compiler(path).architectures:
        pytest.skip(f"CUDA {compiler(path).version} does not know sm_{architecture}")
    return compiler(path).compile(source, architecture, options + AS_CUPY_DOES)


def ends(path):
    """The oldest and the newest of ARCHITECTURES that the compiler knows, and 80."""
    known = compiler(path).architectures & ARCHITECTURES.keys()
    return min(known), 80, max(known)


def check(found):
    """What finds no register goes through memory, which is slow if it is much; a block has 48 KiB without asking."""
    assert found
    for name, use in found.items():
        assert use["spilled"] <= 32, (name, use)
        assert use["shared"] <= 48 << 10, (name, use)


FILES = sorted(path.name for path in FOLDER.glob("*.cu") if "__global__" in path.read_text())
LIBRARIES = [pytest.param(path, id=path.name) for path in nvrtc.libraries()] or [None]


@needs_nvrtc
@pytest.mark.parametrize("which", range(3), ids=["oldest", "80", "newest"])
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("path", LIBRARIES)
def test_a_file_compiles_and_its_numbers_stay_in_registers(path, file, which):
    architecture = ends(path)[which]
    for source, options in variants(file, architecture):
        check(compiled(path, source, architecture, options))


@needs_nvrtc
@pytest.mark.parametrize("path", LIBRARIES)
def test_the_elementwise_kernels_compile(path):
    check(compiled(path, elementwise(), ends(path)[0]))


@needs_nvrtc
@pytest.mark.parametrize("path", LIBRARIES)
def test_a_batch_is_rounded_after_the_product_and_again_after_the_sum(path):
    """As on the CPU. In PTX, ".rn" forbids what comes after to make an fma of the two."""
    ((source, options),) = variants("batches.cu", 80)
    found = compiler(path).ptx(source, 80, options + AS_CUPY_DOES)
    products, sums = (found.count(f"{f}.rn.ftz.f32") for f in ("mul", "add"))
    assert products == sums > 4
    assert "fma" not in found


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: f"sm_{a}")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("path", LIBRARIES)
def test_every_variant_compiles_for_every_architecture(path, file, architecture):
    for source, options in variants(file, architecture, all=True):
        found = compiled(path, source, architecture, options)
        print(file, *options[1:], *(f"{name} {use['registers']}" for name, use in sorted(found.items())))
        check(found)


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: f"sm_{a}")
@pytest.mark.parametrize("path", LIBRARIES)
def test_the_elementwise_kernels_compile_for_every_architecture(path, architecture):
    check(compiled(path, elementwise(), architecture))


@needs_nvrtc
@pytest.mark.parametrize("path", LIBRARIES)
def test_mistakes_are_found_in_c_and_in_ptx(path):
    for body, message in (("nonsense;", "nonsense"), ('asm("foo.bar;");', "foo"), ("float x = y;", '"y" is undefined')):
        with pytest.raises(nvrtc.CompileError, match=message):
            compiler(path).compile(f'extern "C" __global__ void f() {{ {body} }}', 80)


def test_what_ptxas_says_is_read():
    log = """ptxas info    : Compiling entry function 'f' for 'sm_80'
ptxas info    : Function properties for f
    16 bytes stack frame, 24 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 4096 bytes smem, 360 bytes cmem[0]"""
    assert nvrtc.used(log) == {"f": {"registers": 255, "spilled": 24, "shared": 4096}}


def test_every_kernel_of_the_folder_is_asked_for():
    """Else compiled_sources.py lacks a call, or nobody uses the kernel."""
    written = {
        (path.name, name)
        for path in FOLDER.glob("*.cu")
        for name in re.findall(
            r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(', path.read_text()
        )
    }
    assert {("igemm.cu", "igemm"), ("norm.cu", "batch_norm")} <= written
    assert written == {(file_of(source), name) for (source, _), names in sources()[0].items() for name in names}

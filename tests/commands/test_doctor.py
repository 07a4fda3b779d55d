"""`python -m minigen.doctor`: each thing that keeps a GPU from being used is named, with what to do."""

import pytest

from minigen import doctor
from minigen.backend.gpu import conv, driver
from minigen.backend.gpu.driver import Device, Driver, Machine

ADA = Device("Some Ada card", (8, 9), 24 << 30)
PASCAL = Device("Some Pascal card", (6, 1), 8 << 30)
TURING = Device("Some Turing card", (7, 5), 16 << 30)
MAXWELL = Device("Some Maxwell card", (5, 2), 4 << 30)


def machine(**changes):
    """A machine on which all is well, but for `changes`."""
    well = {
        "system": "Linux",
        "processor": "x86_64",
        "cards": 1,
        "driver": Driver(0, (13, 0), [ADA]),
        "wheels": {"cupy-cuda13x": "14.2.0"},
        "trouble": None,
        "kernels": None,
        "visible": None,
        "container": False,
    }
    return Machine(**well | changes)


def test_all_is_well():
    text, works = doctor.report(machine())
    assert works
    assert "ok  driver     Some Ada card, compute capability 8.9, 24 GiB" in text
    assert "The GPU works." in text


@pytest.mark.parametrize(
    ("changes", "reason", "advice"),
    [
        ({"system": "Darwin", "cards": None, "driver": None}, "Darwin: CuPy runs on Linux and Windows", "uses NumPy"),
        ({"cards": 0, "driver": None}, "no NVIDIA card", "uses NumPy"),
        ({"driver": None}, "driver is not installed", "Install NVIDIA's driver"),
        ({"driver": None, "container": True}, "driver is not installed", "--gpus all"),
        ({"cards": None, "driver": None}, "driver is not installed", "Install NVIDIA's driver"),
        ({"driver": Driver(100)}, "sees no GPU (CUDA error 100)", "--gpus all"),
        ({"driver": Driver(100), "visible": "-1"}, "sees no GPU", "CUDA_VISIBLE_DEVICES is '-1' and hides it"),
        ({"driver": Driver(0, (13, 0), []), "visible": ""}, "lists no GPU", "CUDA_VISIBLE_DEVICES is ''"),
        ({"driver": Driver(803)}, "different versions", "restart the machine"),
        ({"driver": Driver(999)}, "the driver failed (CUDA error 999)", "nvidia_uvm"),
        ({"driver": Driver(7)}, "the driver failed (CUDA error 7)", "Restart"),
        ({"driver": Driver(0, (11, 8), [ADA])}, "serves CUDA 11.8; CuPy needs 12.0", "525"),
        ({"driver": Driver(0, None, [ADA])}, "serves no CUDA that it names", "525"),
        ({"wheels": {}}, "not installed", '".[cuda13]"'),
        ({"wheels": {}, "driver": Driver(0, (12, 4), [ADA])}, "not installed", '".[cuda12]"'),
        ({"wheels": {}, "driver": Driver(0, (14, 1), [ADA])}, "not installed", '".[cuda13]"'),
        ({"wheels": {}, "driver": Driver(0, (13, 0), [PASCAL])}, "not installed", '".[cuda12]"'),  # CUDA 13 left it
        ({"driver": Driver(0, (12, 4), [ADA])}, "cupy-cuda13x 14.2.0 does not fit", "pip uninstall -y cupy-cuda13x"),
        ({"driver": Driver(0, (13, 0), [ADA, PASCAL])}, "cupy-cuda13x 14.2.0 does not fit", '".[cuda12]"'),
        ({"wheels": {"cupy-cuda11x": "13.4.0"}}, "cupy-cuda11x 13.4.0 does not fit", "pip uninstall -y cupy-cuda11x"),
        ({"wheels": {"cupy-cuda12x": "12.3.0"}}, "needs 13 or newer", '".[cuda13]"'),
        (
            {"wheels": {"cupy-cuda12x": "13.6.0", "cupy-cuda13x": "14.2.0"}},
            "several of them",
            "pip uninstall -y cupy-cuda12x cupy-cuda13x",
        ),
        (
            {"trouble": "RuntimeError: CuPy failed to load libnvrtc.so.13"},
            "libnvrtc",
            "cuda-toolkit[cublas,cudart,nvrt",
        ),
        ({"trouble": "OutOfMemoryError: out of memory"}, "out of memory", "nvidia-smi"),
        ({"kernels": "CompileException: nvrtc: error"}, "minigen's own fail: CompileException", "fault of minigen's"),
        ({"trouble": "ImportError: numpy.core"}, "numpy.core", "show_config"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(changes, reason, advice):
    text, works = doctor.report(machine(**changes))
    assert not works
    last, what_to_do = text.splitlines()[-2:]
    assert last.startswith("The GPU is not used: ") and reason in last
    assert advice in what_to_do


@pytest.mark.parametrize(
    ("wheels", "cuda"),
    [({"cupy-cuda12x": "13.6.0"}, (13, 0)), ({"cupy": "14.0.0"}, (12, 2)), ({"cupy-cuda13x": "13.6.0"}, (14, 0))],
)
def test_wheels_for_an_older_cuda_and_own_builds_are_accepted(wheels, cuda):
    assert doctor.report(machine(wheels=wheels, driver=Driver(0, cuda, [ADA])))[1]


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (ADA, None),
        (TURING, "--precision float32 or float16; it is too old for tf32, bfloat16"),
        (PASCAL, "--precision float32; it is too old for tf32, bfloat16, float16"),
        (MAXWELL, "products are cuBLAS's, in float32, and steps not captured as graphs"),
    ],
)
def test_what_an_old_card_cannot_do_is_said(card, said):
    text, works = doctor.report(machine(driver=Driver(0, (12, 4), [card]), wheels={"cupy-cuda12x": "13.6.0"}))
    assert works
    assert "ok  kernels    minigen's own compile and compute" in text
    assert [line for line in text.splitlines() if line.startswith("--")] == (
        [f"--  kernels    {card.name}: {said}"] if said else []
    )


def test_windows_has_no_list_of_cards_and_needs_none():
    assert doctor.report(machine(system="Windows", cards=None))[1]


# ------------------------------------------------------------------------------------------------ looking


class Library:
    """libcuda with two cards."""

    def __init__(self, init=0):
        self.init = init

    def cuInit(self, flags):
        return self.init

    def cuDriverGetVersion(self, out):
        out._obj.value = 12040
        return 0

    def cuDeviceGetCount(self, out):
        out._obj.value = 2
        return 0

    def cuDeviceGet(self, out, i):
        out._obj.value = 10 + i
        return 0

    def cuDeviceGetName(self, buffer, size, device):
        buffer.value = f"card {device.value}".encode()
        return 0

    def cuDeviceTotalMem_v2(self, out, device):
        out._obj.value = 3 << 33  # more than 32 bits
        return 0

    def cuDeviceGetAttribute(self, out, attribute, device):
        out._obj.value = {75: 9, 76: 1}[attribute]
        return 0


def test_the_driver_is_asked_for_its_cards():
    found = driver.ask_driver(Library())
    assert found == Driver(0, (12, 4), [Device(f"card {i}", (9, 1), 3 << 33) for i in (10, 11)])


def test_a_driver_that_does_not_start_says_why():
    assert driver.ask_driver(Library(init=803)) == Driver(803, (12, 4), [])


def test_cards_are_counted_on_the_bus(tmp_path):
    for name, vendor, kind in [("a", "0x10de", "0x030200"), ("b", "0x10de", "0x040300"), ("c", "0x8086", "0x030000")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor + "\n")
        (tmp_path / name / "class").write_text(kind + "\n")
    (tmp_path / "d").mkdir()  # a device that tells nothing
    assert driver.cards_on_the_bus(tmp_path) == 1  # not its sound, not the other vendor's
    assert driver.cards_on_the_bus(tmp_path / "none") is None


def test_what_cupy_says_is_reported_in_one_line(fake_cupy, monkeypatch):
    assert driver.try_cupy() is None

    def broken(*args, **options):
        raise RuntimeError("CuPy failed to load libnvrtc.so.13:\n  no such file")

    monkeypatch.setattr(fake_cupy, "arange", broken)
    said = "it finds a GPU, but cannot use it (RuntimeError: CuPy failed to load libnvrtc.so.13: no such file)"
    assert driver.try_cupy() == said
    monkeypatch.setattr(fake_cupy, "arange", lambda *args, **options: fake_cupy.ones(3))
    assert "came out as [2.0, 2.0, 2.0]" in driver.try_cupy()


def test_a_product_that_is_wrong_is_noticed(fake_cupy, monkeypatch):
    assert driver.try_kernels() is None
    monkeypatch.setattr(conv, "matmul", lambda a, b: 1.02 * (a @ b))
    assert driver.try_kernels() == "a matrix product is off by 2.0e-02 of its size"

    def fails(a, b):
        raise RuntimeError("no such\nkernel")

    monkeypatch.setattr(conv, "matmul", fails)
    assert driver.try_kernels() == "RuntimeError: no such kernel"


def test_the_command_tells_about_this_machine(capsys):
    with pytest.raises(SystemExit) as stop:
        doctor.main([])
    told = capsys.readouterr().out
    assert ("The GPU works." if stop.value.code == 0 else "The GPU is not used: ") in told

"""`python -m minigen.doctor`: is the GPU used, and if not, why not and what to do.

It looks, in this order, for a card, NVIDIA's driver, the CUDA version that it serves, the CuPy wheel that fits, the
libraries that CuPy needs, and a kernel of minigen's own. Exit status: 0 where the GPU works, else 1.
"""

import argparse
import sys
from dataclasses import dataclass

from .backend.gpu import sharing
from .backend.gpu.driver import look
from .backend.precision import PRECISIONS, possible

OLDEST_CUDA, NEWEST_CUDA = 12, 13  # those that CuPy 13 and 14 have wheels for
CUDA_13_CAPABILITY = 7, 5  # CUDA 13 no longer serves older cards

REPORT = "Train with --backend numpy, and report this with the lines above: it is a fault of minigen's."

INIT_ERRORS = {
    3: ("the driver was not initialised", "Restart the machine."),
    46: ("the GPU is in use by another process alone", "Wait for it, or ask for another compute mode."),
    100: ("the driver sees no GPU", "In a container, start it with --gpus all. Else: is the card seated and powered?"),
    802: ("the GPU is not ready", "On machines with NVSwitch, start nvidia-fabricmanager."),
    803: (
        "the driver in the kernel and its library are of different versions",
        "It was updated: restart the machine.",
    ),
    804: ("the driver is too old for this container's CUDA", "Update the driver, or use an older image."),
    999: ("the driver failed", "After a suspend: sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm. Else restart."),
}


@dataclass
class Finding:
    """A line of the report. ok: True, False (the reason why the GPU is not used), or None (only worth knowing)."""

    what: str
    ok: bool | None
    text: str
    advice: str = ""


def findings(machine):
    """[Finding], ending at the first that is False: what comes after it could not be known."""
    found = []
    for check in (card, driver, version, wheel, computing):
        found += check(machine)
        if any(f.ok is False for f in found):
            break
    return found


def card(machine):
    if machine.system not in ("Linux", "Windows"):
        text = f"{machine.system}: CuPy runs on Linux and Windows only"
        return [Finding("system", False, text, "Nothing to be done: minigen uses NumPy here.")]
    if machine.cards is None:
        return []
    if machine.cards == 0 and machine.driver is None:
        return [Finding("card", False, "no NVIDIA card on the PCI bus", "Nothing to be done: minigen uses NumPy here.")]
    return [Finding("card", True if machine.cards else None, f"{machine.cards} NVIDIA card(s) on the PCI bus")]


def driver(machine):
    if machine.driver is None:
        advice = "Install NVIDIA's driver (nvidia-smi then lists the card)."
        if machine.container:
            advice = "In a container, start it with --gpus all; the host needs NVIDIA's driver and container toolkit."
        return [Finding("driver", False, "NVIDIA's driver is not installed (no libcuda)", advice)]
    if machine.driver.error:
        text, advice = INIT_ERRORS.get(machine.driver.error, ("the driver failed", "Restart the machine."))
        return [Finding("driver", False, f"{text} (CUDA error {machine.driver.error})", hidden(machine) or advice)]
    if not machine.driver.devices:
        return [Finding("driver", False, "the driver lists no GPU", hidden(machine) or INIT_ERRORS[100][1])]
    return [
        Finding("driver", True, f"{d.name}, compute capability {d.capability[0]}.{d.capability[1]}, {gib(d.memory)}")
        for d in machine.driver.devices
    ]


def hidden(machine):
    """What to do where CUDA_VISIBLE_DEVICES may hide the GPU; "" where it does not."""
    if machine.visible is None:
        return ""
    return f"CUDA_VISIBLE_DEVICES is {machine.visible!r} and hides it: unset it."


def gib(size):
    return f"{size / 2**30:.0f} GiB"


def version(machine):
    cuda = machine.driver.cuda
    if cuda is None or cuda[0] < OLDEST_CUDA:
        served = f"CUDA {cuda[0]}.{cuda[1]}" if cuda else "no CUDA that it names"
        text = f"the driver serves {served}; CuPy needs {OLDEST_CUDA}.0 or newer"
        return [Finding("CUDA", False, text, "Update NVIDIA's driver to 525 or newer.")]
    return [Finding("CUDA", True, f"the driver serves CUDA {cuda[0]}.{cuda[1]}")]


def right_wheel(machine):
    """12 or 13: the CUDA of the wheel that fits this machine's driver and all of its cards."""
    old = any(d.capability < CUDA_13_CAPABILITY for d in machine.driver.devices)
    return OLDEST_CUDA if old else min(machine.driver.cuda[0], NEWEST_CUDA)


def wheel(machine):
    right = right_wheel(machine)
    install = f'pip install -e ".[cuda{right}]"'
    if not machine.wheels:
        return [Finding("CuPy", False, "not installed", install)]
    listed = ", ".join(f"{name} {number}" for name, number in machine.wheels.items())
    remove = f"pip uninstall -y {' '.join(machine.wheels)} && {install}"
    if len(machine.wheels) > 1:
        return [Finding("CuPy", False, f"{listed}: several of them, of which none works for sure", remove)]
    name, number = next(iter(machine.wheels.items()))
    if int(number.split(".")[0]) < 13:
        return [Finding("CuPy", False, f"{listed}: minigen needs 13 or newer", remove)]
    fits = [f"cupy-cuda{n}x" for n in range(OLDEST_CUDA, right + 1)] + ["cupy"]  # newer drivers serve older CUDA
    if name not in fits:
        return [Finding("CuPy", False, f"{listed} does not fit this driver and card; cupy-cuda{right}x does", remove)]
    return [Finding("CuPy", True, listed)]


def computing(machine):
    if machine.trouble is None:
        found = [Finding("computing", True, "CuPy compiles and computes")]
        if machine.kernels:
            return [*found, Finding("kernels", False, f"minigen's own fail: {machine.kernels}", REPORT)]
        found.append(Finding("kernels", True, "minigen's own compile and compute"))
        return [*found, *(Finding("kernels", None, text) for d in machine.driver.devices for text in lacks(d))]
    if "nvrtc" in machine.trouble or "cudart" in machine.trouble or ".h" in machine.trouble:
        right = right_wheel(machine)
        advice = f'CUDA\'s compiler is missing: pip install "cuda-toolkit[cublas,cudart,nvrtc]=={right}.*"'
    elif "OutOfMemory" in machine.trouble or "out of memory" in machine.trouble:
        advice = "Another process holds the GPU's memory: nvidia-smi lists it."
    else:
        advice = "python -c 'import cupy; cupy.show_config()' says more."
    return [Finding("computing", False, machine.trouble, advice)]


def lacks(device):
    """What an old card cannot do, in at most one sentence."""
    capability = 10 * device.capability[0] + device.capability[1]
    known = possible(capability)
    missing = [name for name in PRECISIONS if name not in known]
    if capability < sharing.OLDEST:
        yield f"{device.name}: products are cuBLAS's, in float32, and steps not captured as graphs"
    elif missing:
        yield f"{device.name}: --precision {' or '.join(known)}; it is too old for {', '.join(missing)}"


def report(machine):
    """(text, whether the GPU works)."""
    found = findings(machine)
    mark = {True: "ok", False: "NO", None: "--"}
    lines = [f"{mark[f.ok]}  {f.what:<10} {f.text}" for f in found]
    wrong = next((f for f in found if f.ok is False), None)
    if wrong is None:
        lines += ["", "The GPU works. Commands with --backend auto (the default) use it where it is faster."]
    else:
        lines += ["", f"The GPU is not used: {wrong.text}.", f"What to do: {wrong.advice}"]
    return "\n".join(lines), wrong is None


def main(argv=None):
    argparse.ArgumentParser(
        "python -m minigen.doctor",
        description=__doc__.split("\n\n")[0],
        epilog=__doc__.split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(argv)
    text, works = report(look())
    print(text)
    sys.exit(0 if works else 1)


if __name__ == "__main__":
    main()

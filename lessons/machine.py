"""What this machine does: the measurements of the lesson "The machine", for NumPy and, where it works, for CuPy.

    python lessons/machine.py                          all sections, both libraries side by side
    python lessons/machine.py gemm fusion              some of them
    python lessons/machine.py --backend numpy

One thread, and BLAS held to one, except in the section `threads`. A time is the least of several: what the machine
can do when nothing else disturbs it. On a GPU a round ends with a synchronisation.
"""

import argparse
import datetime
import os
import platform
import sys
from pathlib import Path

import numpy as np
from measurements.arithmetic import gemm, numbers, roofline
from measurements.calls import graph, overhead, threads
from measurements.library import Library
from measurements.memory import caches, fusion, layout, pages, pages_child

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = {f.__name__: f for f in (layout, caches, pages, fusion, numbers, gemm, threads, overhead, graph, roofline)}


def libraries(backend, *options):
    """NumPy, and CuPy if it is asked for or works."""
    import minigen as mg

    found = [Library(np, *options)]
    if backend != "numpy":
        try:
            found.append(Library(mg.use("cupy"), *options))
        except mg.BackendError as error:
            if backend == "cupy":
                sys.exit(str(error))
    return found


def better(value, other, unit):
    return max(value, other) if unit.endswith("/s") else min(value, other)


def measure(sections, libs, rounds):
    """{section: {(title, unit): {library: value}}}, the best of so many rounds, minutes apart."""
    found = {name: {} for name in sections}
    for lib in libs * rounds:
        use(lib)
        for name in sections:
            for title, value, unit in SECTIONS[name](lib):
                row = found[name].setdefault((title, unit), {})
                row[lib.name] = better(value, row.get(lib.name, value), unit)
    return found


def table(found, libs):
    """Print one table a section, a column a library."""
    for name, rows in found.items():
        if not rows:
            continue
        print(f"\n{name:<56}" + "".join(f"{lib.name:>12}" for lib in libs))
        for (title, unit), values in rows.items():
            cells = (f"{values[lib.name]:>12.4g}" if lib.name in values else f"{'—':>12}" for lib in libs)
            print(f"  {title:<54}" + "".join(cells) + f"  {unit}")


def use(lib):
    import minigen as mg

    mg.use("cupy" if lib.gpu else "numpy")


def device(libs):
    """The machine, in a line or two."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    yield f"{datetime.date.today()}, {model}, Python {platform.python_version()}, NumPy {np.__version__}"
    for lib in libs:
        if lib.gpu:
            name = lib.xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
            tf32 = os.environ.get("CUPY_TF32", "0")
            yield f"{name}, CuPy {lib.xp.__version__}, CUPY_TF32={tf32} (1: float32 products by TF32 tensor cores)"


def main(argv=None):
    p = argparse.ArgumentParser("python lessons/machine.py", description=__doc__.splitlines()[0])
    p.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (default: all)")
    p.add_argument("--backend", choices=("auto", "numpy", "cupy"), default="auto", help="(default: auto)")
    p.add_argument("--rounds", type=int, default=3, help="of all sections; the best of each row counts (default: 3)")
    p.add_argument("--quick", action="store_true", help="tiny arrays: whether it runs, not how fast")
    p.add_argument("--pages-child", action="store_true", help=argparse.SUPPRESS)
    args = p.parse_args(argv)
    if unknown := set(args.sections) - set(SECTIONS):
        p.error(f"no section {sorted(unknown)[0]!r}. Known: {', '.join(SECTIONS)}.")
    sys.path.insert(0, str(ROOT))
    import threadpoolctl

    import minigen as mg

    threads_before = mg.get_threads()
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        mg.set_threads(1)
        try:
            if args.pages_child:
                return pages_child(Library(np, args.quick))
            libs = libraries(args.backend, args.quick)
            print(*device(libs), sep="\n")
            table(measure(args.sections or list(SECTIONS), libs, 1 if args.quick else args.rounds), libs)
        finally:
            mg.set_threads(threads_before)
            mg.use("numpy")


if __name__ == "__main__":
    main()

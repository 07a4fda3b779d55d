"""`python -m minigen.bench`: how long a training step takes, here and in PyTorch.

Examples:
  python -m minigen.bench                                  all workloads, against PyTorch where it is installed
  python -m minigen.bench --workloads dcgan --batch 64     one row
  python -m minigen.bench --against steps.py               and another contender: see benchmarks/contender.py
  python -m minigen.bench --overhead                       what an op costs beyond its arithmetic
  python -m minigen.bench --backend cupy                   on a GPU: checked, timed, taken apart; see benchmarks/gpu.py
  python -m minigen.bench --backend cupy --tiles           how to share out its products; see benchmarks/gpu_tiles.py

Times are medians over interleaved rounds of a step: forward, backward and Adam. A GAN step updates D and G once each.
"""

import argparse
import importlib.util
import os
import statistics
import sys
from pathlib import Path

from .benchmarks import gpu, gpu_tiles, overhead
from .benchmarks.rounds import ContenderError, ratio, run_rounds
from .run import RunError, save_json

TITLES = {
    "dcgan": "DCGAN 28×28",
    "vae64": "conv VAE 64×64×3",
    "mlpvae": "MLP VAE 784-400-20",
    "mlpgan": "MLP GAN 64-128-784",
}
CONVOLUTIONAL = ("dcgan", "vae64")
AVX2_CORES = ("haswell", "zen")  # values of OPENBLAS_CORETYPE that hold OpenBLAS to AVX2
HOLD_TORCH_TO_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
BUSY = 0.05  # share of the processors used by others above which a measurement is not worth much


def parser():
    p = argparse.ArgumentParser(
        "python -m minigen.bench",
        description=__doc__.split("\n\n")[0],
        epilog=__doc__.split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = p.add_argument
    add("--workloads", nargs="+", choices=[*TITLES, *gpu.ONLY], help="which nets (default: all of the backend)")
    add("--batch", nargs="+", type=int, default=[64, 128], help="batch sizes (default: 64 128)")
    add("--rounds", type=int, default=9, help="turns of each contender (default: 9)")
    add("--steps", type=int, help="steps in a turn (default: as many as take about 0.3 s)")
    add("--against", metavar="FILE.py", action="append", default=[], help="a script to compare with; may be repeated")
    add("--no-torch", action="store_true", help="leave PyTorch out")
    add(
        "--like-for-like",
        action=argparse.BooleanOptionalAction,
        help="hold PyTorch to AVX2 as well (default: when OPENBLAS_CORETYPE holds OpenBLAS to it)",
    )
    add("--json", metavar="FILE", help="write the rows there")
    add("--overhead", action="store_true", help="measure single ops on 8×8 arrays instead")
    on_gpu = p.add_argument_group("on a GPU (batch sizes, rounds and PyTorch's layouts are fixed there)")
    add = on_gpu.add_argument
    add("--backend", choices=("numpy", "cupy"), default="numpy", help="cupy: on the GPU (default: numpy)")
    add("--precision", nargs="+", choices=gpu.PRECISIONS, default=gpu.PRECISIONS, help="of products (default: all)")
    add("--minutes", type=float, default=9.0, help="it ends within so many (default: 9)")
    add("--tiles", action="store_true", help="instead: time every way to share out each product of the steps")
    add("--rehearse", action="store_true", help="tiny nets, on the CPU, with the stand-in for CuPy of the tests")
    return p


def holds_torch(args):
    """Whether PyTorch is to use AVX2 only."""
    if args.like_for_like is not None:
        return args.like_for_like
    return os.environ.get("OPENBLAS_CORETYPE", "").lower() in AVX2_CORES


def contenders(args, workload, batch):
    """[(name, command, environment)] for a row: minigen, PyTorch in each memory layout, and the scripts named."""

    def command(name):
        return [sys.executable, "-m", "minigen.benchmarks.contender", name, workload, str(batch)]

    found = [("minigen", command("minigen"), {})]
    if with_torch(args):
        # MINIGEN_MALLOC=0: PyTorch runs as its users run it.
        environment = {"MINIGEN_MALLOC": "0", **(HOLD_TORCH_TO_AVX2 if holds_torch(args) else {})}
        names = ("torch", "torch-channels-last") if workload in CONVOLUTIONAL else ("torch",)
        found += [(name, command(name), environment) for name in names]
    found += [(Path(file).stem, [sys.executable, file, workload, str(batch)], {}) for file in args.against]
    return found


def with_torch(args):
    return not args.no_torch and importlib.util.find_spec("torch") is not None


def measure(args, workload, batch):
    """One row: what is written to the JSON file. Times in ms, memory in MiB."""
    times, memory, settings, others = run_rounds(contenders(args, workload, batch), args.rounds, args.steps)
    ms = {name: statistics.median(values) for name, values in times.items()}
    best = min((name for name in ms if name.startswith("torch")), key=ms.get, default=None)
    return {
        "name": f"{workload}-{batch}",
        "workload": workload,
        "batch": batch,
        "ms": ms,
        "ratio": ratio(times, "minigen", best) if best else None,  # to PyTorch's best layout
        "best_torch": best,
        "ratios": {name: ratio(times, "minigen", name) for name in ms if name != "minigen"},
        "memory": memory,
        "others": others,  # share of the processors that other processes used
        "settings": settings,
    }


def table(args):
    """The columns: [(title, function from a row to its entry)]."""
    rows = [contenders(args, workload, 0) for workload in args.workloads]
    names = [name for name, *_ in max(rows, key=len)]
    columns = [("training step, ms", lambda row: f"{TITLES[row['workload']]}, batch {row['batch']}")]
    columns += [(name, lambda row, name=name: number(row["ms"].get(name), ".2f")) for name in names]
    if with_torch(args):
        columns.append(("/torch", lambda row: number(row["ratio"], ".2f")))
    for name in (Path(file).stem for file in args.against):
        columns.append((f"/{name}", lambda row, name=name: number(row["ratios"][name], ".2f")))
    columns.append(("peak memory, MiB", lambda row: "/".join(number(row["memory"].get(name), ".0f") for name in names)))
    return columns


def number(value, form):
    return "-" if value is None else format(value, form)


def print_line(entries, titles):
    """The first entry on the left of its column, the others on the right."""
    widths = [max(9, len(t) + 2) for t in titles[1:]]
    print(f"{entries[0]:<31}" + "".join(f"{e:>{w}}" for e, w in zip(entries[1:], widths)), flush=True)


def notes(args, rows):
    """What the times depend on, in sentences."""
    own, lines = rows[-1]["settings"]["minigen"], []
    core = own["openblas_coretype"]
    lines.append(
        f"minigen: {own['blas']} {own['blas_version']} for {own['blas_architecture']}, OPENBLAS_CORETYPE "
        f"{core or 'not set'}; {own['threads']} thread(s), each with {own['blas_threads']} of BLAS; malloc "
        f"{'tuned' if own['malloc_tuned'] else 'as it is'}."
    )
    if not with_torch(args):
        lines.append("To compare with PyTorch: pip install torch")
        return lines
    other = rows[-1]["settings"]["torch"]
    held = " ".join(f"{k}={v}" for k, v in HOLD_TORCH_TO_AVX2.items()) if holds_torch(args) else "not held back"
    lines.append(
        f"PyTorch {other['torch']}: {other['instructions']} ({held}); {other['threads']} thread(s); malloc as it is."
    )
    lines.append("/torch is minigen's time in units of PyTorch's in its better memory layout: below 1 is faster.")
    if (core or "").lower() in AVX2_CORES:
        lines.append(
            "Like for like: OpenBLAS is held to AVX2 and so is PyTorch."
            if holds_torch(args)
            else "NOT like for like: OPENBLAS_CORETYPE holds OpenBLAS to AVX2, PyTorch may use all instructions."
        )
    elif holds_torch(args):
        lines.append("NOT like for like: PyTorch is held to AVX2, OpenBLAS is not.")
    return lines


def busy(rows):
    """A warning where other processes took much of the processors."""
    worst = max((row["others"] or 0 for row in rows), default=0)
    if worst < BUSY:
        return []
    return [
        f"Other processes used up to {worst:.0%} of the processors: do not trust these times. PyTorch's threads wait "
        f"for each other at every op and suffer most."
    ]


def main(argv=None):
    args = parser().parse_args(argv)
    of_backend = gpu.WORKLOADS if args.backend == "cupy" else list(TITLES)
    args.workloads = args.workloads or of_backend
    elsewhere = [w for w in args.workloads if w not in of_backend]
    if elsewhere:
        sys.exit(f"python -m minigen.bench: {', '.join(elsewhere)}: not measured with --backend {args.backend}.")
    if args.rounds < 1 or min(args.batch) < 2 or (args.steps is not None and args.steps < 1):
        sys.exit("python -m minigen.bench: expected --rounds and --steps of at least 1, --batch of at least 2.")
    for file in args.against:
        if not Path(file).is_file():
            sys.exit(f"python -m minigen.bench: --against {file}: there is no such file.")
    if args.backend == "cupy":
        args.no_torch |= args.tiles or not with_torch(args)
        gpu.measure(args, gpu_tiles.TilesBench if args.tiles else gpu.Bench)
        return
    rows = overhead.report() if args.overhead else compare(args)
    if args.json:
        try:
            save_json(args.json, rows)
        except RunError as error:
            sys.exit(f"python -m minigen.bench: {error}")


def compare(args):
    """Measure all rows and print them, each as soon as it is there."""
    columns, rows = table(args), []
    titles = [title for title, _ in columns]
    print_line(titles, titles)
    try:
        for workload in args.workloads:
            for batch in args.batch:
                rows.append(measure(args, workload, batch))
                print_line([entry(rows[-1]) for _, entry in columns], titles)
    except ContenderError as error:
        sys.exit(f"python -m minigen.bench: {error}")
    print("", *notes(args, rows), *busy(rows), sep="\n")
    return rows


if __name__ == "__main__":
    main()

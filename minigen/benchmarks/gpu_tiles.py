"""`python -m minigen.bench --backend cupy --tiles`: how the products of the workloads are best shared out.

`share` in backend/gpu/sharing.py chooses by an estimate what a block computes (a tile) and how many blocks share the
depth of a result (parts). Here each product of each workload's step is timed with every tile, and with the parts that
the estimate likes best for it. What comes out is how much time better choices would save, and with what `speed` of
each tile the estimate would be right: figures for TILES.
"""

import concurrent.futures
import functools
import statistics
import time
from unittest.mock import patch

from ..backend.gpu import conv, sharing
from ..backend.gpu import measure as device
from .gpu import Bench
from .gpu_processes import processors
from .gpu_report import TITLES, say

PARTS = 3  # so many for each tile
TIMES, REPEATS = 3, 20  # a time is the median of so many, each of so many launches
FILLER = 1 << 30  # bytes that the device copies while the launches are queued up
LARGE = 100  # units of time that an estimate must be for the speed of its tile to show
COMPILING = 0.5  # share of the time that the compilers may take
LOSSES = 5  # products that are printed

# ------------------------------------------------------------------------------------------------ on the device


class Products:
    """Stands in for `conv._product`: does the same, and keeps one call of each kind.

    found: {(role, image's shape, result's shape, axes): [calls, arguments]}
    """

    def __init__(self):
        self.found, self.product = {}, conv._product

    def __enter__(self):
        self.patch = patch.object(conv, "_product", self)
        self.patch.start()
        return self

    def __exit__(self, *error):
        self.patch.stop()

    def __call__(self, role, image, matrix, shape, axes, *others):
        arguments = role, image, matrix, shape, axes, *others
        self.found.setdefault((role, image.shape, shape, axes), [0, arguments])[0] += 1
        return self.product(*arguments)


def products(step, repeats=REPEATS):
    """[{"role", "MNK", "phases", "calls", "chosen", "times": [{"tile", "slabs", "parts", "cost", "us"}]}] of a step.

    repeats: launches that are timed together; 0: what is needed is only compiled, and "us" is None.
    """
    with Products() as seen:
        step()
    rows = []
    for (role, *_), (calls, arguments) in seen.found.items():
        product, works = functools.partial(conv._product, *arguments), []
        with_choices(lambda work: works.append(work) or sharing.share(work), product)  # noqa: B023
        (work,), times = works, []
        for choice in candidates(work):
            tile, slabs, parts = choice
            spent = with_choices(lambda _: choice, lambda: microseconds(product, repeats))  # noqa: B023
            cost = sharing.cost(choice, work)
            times.append({"tile": tile[:4], "slabs": slabs, "parts": parts, "cost": cost, "us": spent})
        first = times.index(min(times, key=lambda t: t["cost"]))
        row = {"role": role, "MNK": work[:3], "phases": work.phases, "calls": calls, "chosen": first}
        rows.append(row | {"times": times})
    return rows


def candidates(work):
    """What is tried for a product: for each tile the cheapest choices."""
    found = sorted(sharing.choices(work), key=lambda choice: sharing.cost(choice, work))
    return [c for tile in sharing.tiles(work.wide, work.gpu) for c in [c for c in found if c[0] == tile][:PARTS]]


def with_choices(share, work):
    """`work()`, while `share` chooses for every product."""
    conv._launch.cache_clear()
    try:
        with patch.object(conv, "share", share):
            return work()
    finally:
        conv._launch.cache_clear()


def microseconds(launch, repeats):
    """What the device takes for `launch()`, in a full queue."""
    launch()  # compiles
    if not repeats:
        return None
    began = time.perf_counter()
    launch()
    host = time.perf_counter() - began
    found = []
    for _ in range(TIMES):
        device.occupy(2 * repeats * host, FILLER if repeats > 1 else 1)
        begin = device.mark()
        for _ in range(repeats):
            launch()
        end = device.mark()
        end.synchronize()
        found.append(1e3 * device.between(begin, end) / repeats)
    return statistics.median(found)


# ------------------------------------------------------------------------------------------------ the measurement


class TilesBench(Bench):
    """Compiles everything, in many processes at a time; then times one workload after the other."""

    def run(self):
        self.describe()
        until = COMPILING * self.clock.left() + self.clock.spent()
        with concurrent.futures.ThreadPoolExecutor(processors()) as pool:
            pairs = [(w, p) for p in self.precisions for w in self.args.workloads]
            for compiled in [pool.submit(self.compile_tiles, *pair, until) for pair in pairs]:
                compiled.result()
        for precision in self.precisions:
            for workload in self.args.workloads:
                with self.trouble(f"{workload}, {precision}"):
                    rows = self.ask(self.minigen, self.clock.left(), workload, precision)
                    self.found["tiles"].append({"workload": workload, "precision": precision, "products": rows})
                    print_losses(self.found["tiles"][-1])
            print_speeds(precision, self.found["tiles"])
        self.found["seconds"] = self.clock.spent()

    def ask(self, worker, limit, workload, precision, **options):
        return worker.ask("tiles", limit=limit, precision=precision, **self.options_of(workload), **options)

    def compile_tiles(self, workload, precision, until):
        worker = self.worker("minigen")
        try:
            with self.trouble(f"compiling {workload}, {precision}"):
                self.ask(worker, until - self.clock.spent(), workload, precision, repeats=0)
        finally:
            worker.close()


def print_losses(found):
    """How long the products of a step take as they are shared out, and with the best choices that were tried."""
    rows = found["products"]
    spent = lambda choice: sum(row["calls"] * choice(row)["us"] for row in rows)
    now, least = spent(chosen), spent(best)
    title = f"{TITLES[found['workload']]}, {found['precision']}"
    say(f"{title}: products of a step {now:.0f} µs; {least:.0f} µs with the best choices ({1 - least / now:.0%} less)")
    lost = lambda row: row["calls"] * (chosen(row)["us"] - best(row)["us"])
    for row in sorted(filter(lost, rows), key=lost, reverse=True)[:LOSSES]:
        what = f"{row['calls']:>3}×  {row['role']:<8}{'×'.join(map(str, row['MNK'])):<18}"
        a, b = (f"{t['us']:>8.1f} µs, {'×'.join(map(str, t['tile']))} / {t['parts']}" for t in (chosen(row), best(row)))
        say(f"  {what}{a:<36} → {b}")


def chosen(row):
    return row["times"][row["chosen"]]


def best(row):
    return min(row["times"], key=lambda t: t["us"])


def speeds(rows):
    """{(BM, BN): (the speed with which its estimates would be right, µs in a unit of time, from how many products)}.

    Relative to the first tile, as TILES has them; only from products that are large enough to show it.
    """
    found = {}
    for t in (t for row in rows for t in row["times"]):
        if t["cost"] >= LARGE:
            found.setdefault(tuple(t["tile"][:2]), []).append(t["us"] / t["cost"])
    units = {tile: statistics.median(found[tile]) for tile in found}
    first = units.get(sharing.TILES[0][:2])
    return {
        tile[:2]: (tile.speed * first / units[tile[:2]], units[tile[:2]], len(found[tile[:2]]))
        for tile in sharing.TILES
        if first and tile[:2] in units
    }


def print_speeds(precision, found):
    rows = [row for part in found if part["precision"] == precision for row in part["products"]]
    for tile, (speed, unit, n) in speeds(rows).items():
        say(f"{precision}, tile {'×'.join(map(str, tile))}: speed {speed:.2f} from {n} times; a unit is {unit:.2f} µs")

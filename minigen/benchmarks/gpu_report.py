"""What gpu.py prints: rows as they come, and everything once more, shortened, at the end."""

TITLES = {
    "dcgan64": "DCGAN 64×64×3",
    "dcgan": "DCGAN 28×28",
    "vae64": "conv VAE 64×64×3",
    "mlpvae": "MLP VAE",
    "wgangp": "WGAN-GP 28×28",
}
COLUMNS = {
    "minigen eager": "eager",
    "minigen graph": "graph",
    "torch eager": "t eager",
    "torch channels-last": "t c-l",
    "torch graph": "t graph",
    "torch channels-last graph": "t c-l gr",
    "torch compile": "t comp",
    "torch compile graph": "t comp gr",
}
LONGEST = 6  # rows of a breakdown that are printed


def say(*lines):
    print(*lines, sep="\n", flush=True)


def number(value, form=".3g"):
    return "-" if value is None else format(value, form)


def print_machine(found):
    facts = lambda d: ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in d.items())
    say(f"minigen: {facts(found['device'])}", f"PyTorch: {facts(found['torch']) or 'left out'}")


# ------------------------------------------------------------------------------------------------ correctness


def print_checks(checks):
    """The worst of each group, and everything that failed."""
    groups = {}
    for check in checks:
        groups.setdefault(check["group"], []).append(check)
    say(
        "",
        "Relative errors against float64, in memory that was filled with NaN; the largest for each that is allowed:",
    )
    for group, found in groups.items():
        wrong = sum(not c["ok"] for c in found)
        say(f"  {group:<10}{len(found):>4} checks, {f'{wrong} FAILED' if wrong else 'all right'}; {worst(found)}")
    for line in failures(checks):
        say(line)


def worst(found):
    """The largest error for each that is allowed, which is one for each kind of check and precision."""
    largest = {}
    for c in found:
        if c["error"] is not None and c["allowed"]:
            largest[c["allowed"]] = max(largest.get(c["allowed"], 0.0), c["error"])
    return ", ".join(f"{error:.1e} (allowed {allowed:.1e})" for allowed, error in sorted(largest.items()))


def failures(checks):
    return [
        f"  !!!! WRONG: {c['what']}: error {number(c['error'], '.2e')}, allowed {c['allowed']:.0e}. {c['where']}"[:260]
        for c in checks
        if not c["ok"]
    ]


def print_ceilings(found):
    if found["ceilings"]:
        rates = ", ".join(f"{k} {v / 1e12:.3g} T/s" for k, v in found["ceilings"].items())
        say("", f"The device: {rates} (a large copy, read and written; large products of PyTorch's).")


# ------------------------------------------------------------------------------------------------ steps


def print_titles():
    titles = "".join(f"{t:>9}" for t in COLUMNS.values())
    say("", f"{'step, ms':<32}{titles}{'/best':>7}{'/eager':>7}{'floor':>7}{'MiB held':>12}")


def print_row(found, row):
    say(line_of(row))
    for name, error in row["errors"].items():
        say(f"     {name}: {error}"[:200])
    for name, facts in row["facts"].items():
        if facts.get("note"):
            say(f"     {name}: {facts['note']}"[:300])


def line_of(row):
    mark = "" if row["trusted"] else "!"
    title = f"{mark}{TITLES[row['workload']]} {row['batch']} {row['precision']}"
    times = "".join(f"{number(row['ms'].get(name), '.3f'):>9}" for name in COLUMNS)
    floor = max(row["floor"].values()) if row["floor"] else None
    held = "/".join(number(row["facts"].get(row[who], {}).get("MiB"), ".0f") for who in ("own", "best"))
    ratios = "".join(f"{number(row[k], '.2f'):>7}" for k in ("/best", "/eager"))
    return f"{title:<32}{times}{ratios}{number(floor, '.3f'):>7}{held:>12}"


def spread(rows):
    """The largest distance of a round from the median, as a share of it."""
    shares = [abs(t - r["ms"][n]) / r["ms"][n] for r in rows for n, times in r["rounds"].items() for t in times if t]
    return max(shares, default=0.0)


# ------------------------------------------------------------------------------------------------ within a step


def print_breakdown(found, breakdown):
    total, peak = breakdown["step_us"], found["ceilings"].get(breakdown["precision"])
    inside = sum(c["us"] for c in breakdown["calls"])
    say(
        f"{breakdown['workload']}, {breakdown['precision']}: eager step {total:.0f} µs on the device, {inside:.0f} in "
        f"these kernels, the rest CuPy's own; {breakdown['host_us']:.0f} µs on the host"
    )
    for call in breakdown["calls"][:LONGEST]:
        rate, moved = call["flops"] / call["us"] / 1e6, call["bytes"] / call["us"] / 1e3
        of_peak = f" ({1e12 * rate / peak:.0%})" if peak and rate else ""
        speed = f"{rate:.1f} TFLOP/s{of_peak}, " if rate else ""
        where = f"{call['kernel']} {call['shapes']}"[:64]
        begin = f"  {call['us']:>8.1f} µs {call['us'] / total:>4.0%} {call['calls']:>5.3g}×"
        say(f"{begin}  {where:<64} {speed}{moved:.0f} GB/s")


def print_profile(profile):
    busy, launches = (sum(k[what] for k in profile["kernels"]) for what in ("us", "launches"))
    say(
        f"{profile['workload']}, {profile['precision']}: graph step {profile['step_us']:.0f} µs, kernels {busy:.0f} µs "
        f"in {launches:.0f} launches"
    )
    for kernel in profile["kernels"][:LONGEST]:
        name, share = kernel["kernel"][:70], kernel["us"] / max(busy, 1e-9)
        say(f"  {kernel['us']:>8.1f} µs {share:>4.0%} {kernel['launches']:>5.3g}×  {name}")


# ------------------------------------------------------------------------------------------------ the end


def print_summary(found):
    """Shortest last: whoever sees only the end of the output sees the times."""
    first = found["rows"][0]["precision"] if found["rows"] else None
    say("", "Where the time of an eager step goes, by calls (events around each):")
    for breakdown in found["breakdown"]:
        if breakdown["precision"] == first:
            print_breakdown(found, breakdown)
    say("", "Where the time of a graph step goes, by kernels (CUPTI):")
    for profile in found["profile"]:
        if profile["precision"] == first:
            print_profile(profile)
    wrong, rows = failures(found["checks"]), found["rows"]
    say("", f"{len(found['checks'])} checks, {len(wrong)} failed.", *wrong[:12])
    print_titles()
    for row in rows:
        say(line_of(row))
    if found["rehearsal"]:
        say("A rehearsal: nothing here says how fast anything is.")
    if any(not row["trusted"] for row in rows):
        say("! marks workloads with a failed check (WRONG above): find out why before a time of theirs is used.")
    say(
        "MiB held: by the allocators of the two that /best compares.",
        "/best, /eager: minigen's graph (else eager) step over PyTorch's fastest and its eager one; below 1 is faster.",
        "bfloat16: PyTorch's autocast also stores activations in 16 bits, minigen in float32. c-l: channels-last.",
        f"Medians of rounds in turns, of which one is at most {spread(rows):.0%} off. {found.get('seconds', 0):.0f} s.",
        *(f"!! {trouble}"[:200] for trouble in found["troubles"][:8]),
    )

"""`python -m minigen.gradcheck my_layer.py`: are the derivatives of my ops and Modules right, and if not, why?"""

import argparse
import difflib
import importlib.util
import os
import re
import sys
import warnings
from pathlib import Path

from .. import backend
from ..backend import BackendError
from .showing.output import UsageError, can_be_written, write, write_pictures

PROGRAM = "python -m minigen.gradcheck"
HELP = """\
Every op and Module that the files define is checked on inputs of many shapes and memory layouts: the first and second
derivative in float64; then results and gradients in float32, which may differ by 1e-4 of the largest element, and by
ten times what rounding the inputs does; then, where there is a GPU, all of it on the GPU and against the CPU (1e-9 in
float64, 1e-4 in float32). Inputs come from shape annotations (x: "N C H W"), from the file's examples(), a function
that returns {name: inputs}, or are inferred; see the beginning of minigen/gradcheck/drawing/discover.py.

Examples:
  python -m minigen.gradcheck my_layer.py                     everything in a file
  python -m minigen.gradcheck my_layer.py --only Swish -v     one of it, at length
  python -m minigen.gradcheck my_layer.py --html report.html  with pictures of what is wrong
  python -m minigen.gradcheck minigen                         the engine itself

Exit status: 0 all right; 1 something is wrong; 2 nothing is wrong as far as could be seen, but something could not be
checked (no inputs that fit, a file that does not import, stopped by Ctrl-C), or the command line is not right. What
examples() says has no derivative, {name: None}, needs no check.
"""


def main(argv=None):
    args = parser().parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that knows no Greek must not end the report
        sys.stdout.reconfigure(errors="replace")
    if importlib.util.find_spec("hypothesis") is None:
        _refuse('hypothesis, which draws the shapes, is not installed. Get it by: pip install "minigen[test]"')
    from .drawing.discover import DiscoverError

    try:
        sys.exit(run(args))
    except DiscoverError as error:
        _refuse(re.sub(r"^discover\('(.*?)'\): ", r"\1: ", str(error)))
    except (BackendError, UsageError) as error:
        _refuse(error)
    except KeyboardInterrupt:
        _refuse("stopped before anything was checked.")
    except BrokenPipeError:  # `| head` has read enough; nor may Python flush the rest when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)


def _refuse(sentence):
    print(f"{PROGRAM}: {sentence}", file=sys.stderr)
    sys.exit(2)


def parser():
    p = argparse.ArgumentParser(
        PROGRAM, description=__doc__, epilog=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = p.add_argument
    add("files", nargs="+", metavar="FILE", help="a Python file, or the name of a module or package")
    add("--only", action="append", metavar="NAME", help="check only what has this name; may be repeated")
    add("--draws", type=_whole(1), default=25, help="inputs drawn for each (default: 25)")
    add("--order", type=int, choices=(1, 2), default=2, help="of the derivatives (default: 2)")
    add("--seed", type=_whole(0), default=0, help="of the random directions (default: 0)")
    add("--backend", choices=("auto", "numpy", "cupy"), default="auto", help="auto: also on the GPU, if there is one")
    add("--png", metavar="FOLDER", help="a picture for each that is wrong: numeric, analytic, error")
    add("--html", metavar="FILE", help="all of it as one page, with pictures and sources")
    add("-v", "--verbose", action="store_true", help="also the notes on what is right, and where a check broke down")
    return p


def _whole(least):
    def convert(text):
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}; got {text!r}.")
        return int(text)

    return convert


def run(args):
    """Check, print, write; returns the exit status."""
    from .showing.table import summary

    if args.html:
        can_be_written("--html", Path(args.html))
    if args.png:
        can_be_written("--png", Path(args.png), folder=True)
    backend.use("numpy")
    gpu = args.backend != "numpy" and _gpu(args.backend)
    pairs, unseen = _targets(args, gpu)
    verdicts = _judged(pairs, args)
    missing = len(pairs) - len(verdicts)
    _say(verdicts, unseen, gpu, args)
    print(f"\n{summary(verdicts, missing)}")
    status = _status(verdicts, missing)
    try:
        _write(verdicts, gpu, args, summary(verdicts, missing))
    except OSError as error:
        print(f"{PROGRAM}: {error.filename} could not be written: {error.strerror}.", file=sys.stderr)
        return status or 2
    return status


def _status(verdicts, missing):
    words = {v.word for v in verdicts}
    return 1 if "wrong" in words else 2 if missing or "unchecked" in words or "right" not in words else 0


def _gpu(wanted):
    """Whether there is a GPU. Raises BackendError where one is wanted and there is none."""
    try:
        backend.use("cupy")
    except BackendError:
        if wanted == "cupy":
            raise
        return False
    finally:
        backend.use("numpy")
    return True


def _targets(args, gpu):
    """[(Target, the same on the GPU or None)] of all files, or those of --only; names of functions that are none."""
    from .drawing.discover import discover
    from .showing.parity import default

    found, unseen = [], []
    for file in args.files:
        targets = discover(file, unseen)
        twins = [None] * len(targets)
        if gpu:
            with default("cupy"):
                twins = discover(file)
        found += zip(targets, twins, strict=True)
    if not args.only:
        return found, unseen
    names = dict.fromkeys(t.name for t, _ in found)
    for wanted in args.only:
        if wanted in unseen:
            raise UsageError(
                f'--only {wanted}: a function without shapes. Give its inputs, as in def {wanted}(x: "N C"), or in '
                f'examples(): {{"{wanted}": ("N C", ...)}}.'
            )
        if not any(_is_called(name, wanted) for name in names):
            close = difflib.get_close_matches(wanted, names, 1)
            there = f"There are: {', '.join(list(names)[:20])}{', ...' if len(names) > 20 else '.'}"
            guess = f"Did you mean {close[0]!r}?" if close else there
            raise UsageError(f"--only {wanted}: nothing of that name is there. {guess}")
    return [pair for pair in found if any(_is_called(pair[0].name, wanted) for wanted in args.only)], []


def _is_called(name, wanted):
    """`conv2d: grouped` is called so, and conv2d."""
    return wanted in (name, name.partition(":")[0])


def _judged(pairs, args):
    """The Verdicts; on Ctrl-C those so far. On a terminal a line shows what is being checked."""
    from tqdm import tqdm

    from .showing.verdict import judge

    verdicts = []
    line = tqdm(pairs, disable=not sys.stderr.isatty(), leave=False, unit="target", dynamic_ncols=True)
    with line, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a NaN is diagnosed, not warned of
        try:
            for target, twin in line:
                line.set_description(target.name)
                verdicts.append(judge(target, twin, args.draws, args.order, args.seed))
        except KeyboardInterrupt:
            line.close()
            if not verdicts:
                raise
    return verdicts


def _say(verdicts, unseen, gpu, args):
    """The table, and beneath it remarks, what is wrong and what was not checked."""
    from .showing.table import diagnosis, not_looked_at, reason, remarks, table

    if args.verbose:
        for v in verdicts:
            refused = f", {len(v.target.refused)} refused" if v.target.refused else ""
            print(f"{v.target.name}: {v.target.how or 'no inputs'}; {v.draws} cases{refused}")
            if v.word == "right":
                print(f"    last: {v.case}", *v.report.notes, sep="\n    ")
            if v.trace:
                print(v.trace)
    print(table(verdicts, gpu))
    if args.backend != "numpy" and not gpu:
        print("(No GPU here: checked on the CPU.)")
    said = [*remarks(verdicts), *not_looked_at(unseen)]
    if said:
        print("", *said, sep="\n")
    for v in verdicts:
        if v.word in ("wrong", "unchecked"):
            print(f"\n{diagnosis(v) if v.wrong else reason(v)}")


def _write(verdicts, gpu, args, summary):
    """The files of --png and --html."""
    if not (args.png or args.html):
        return
    from .showing.page import page
    from .showing.pictures import picture

    pictures = [picture(v) if v.wrong else None for v in verdicts]
    if args.png:
        write_pictures(Path(args.png), verdicts, pictures)
    if args.html:
        write(Path(args.html), page(", ".join(args.files), verdicts, pictures, summary, gpu))


if __name__ == "__main__":
    main()

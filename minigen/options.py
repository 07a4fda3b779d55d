"""The command line of `python -m minigen.train`: common options, and each model's own, from its keyword arguments."""

import argparse
import inspect
import math
import sys

from .backend.precision import PRECISIONS
from .models import MODELS, find_model

USAGE = """\
Examples:
  python -m minigen.train gan                          built-in characters, no network, no GPU
  python -m minigen.train gan --data mnist             the digits of MNIST
  python -m minigen.train vae --data photos/ --size 64 --channels 3 --net conv --likelihood gaussian
  python -m minigen.train --resume runs/gan-glyphs     go on where a run stopped
"""


def whole(least):
    """A converter of command-line text to an int ≥ least."""

    def convert(text):
        if not text.strip().lstrip("+-").isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}; got {text!r}.")
        return int(text)

    return convert


def number(accepts, rule):
    """A converter of command-line text to a finite float that `accepts` finds right."""

    def convert(text):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and accepts(value)):
            raise argparse.ArgumentTypeError(f"expected a number {rule}; got {text!r}.")
        return value

    return convert


POSITIVE = number(lambda v: v > 0, "above 0")
NOT_NEGATIVE = number(lambda v: v >= 0, "of at least 0")
DECAY = number(lambda v: 0 <= v < 1, "in [0, 1)")


def model_options(model):
    """[(name, default, help)] of a model's keyword-only arguments, all but `rng` and what the data decide.

    The help is what the class's docstring, or a base's, says after `name:`, continuation lines included.
    """
    helps = {}
    for base in reversed(model.__mro__):
        helps |= _named_paragraphs(inspect.cleandoc(base.__doc__ or ""))
    return [
        (p.name, p.default, helps.get(p.name, ""))
        for p in inspect.signature(model).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.name not in ("rng", "classes")
    ]


def _named_paragraphs(text):
    """{name: text} of the lines `name: text`, each with the indented lines that follow it."""
    found, name = {}, None
    for line in text.splitlines():
        head, colon, rest = line.partition(": ")
        if colon and head.isidentifier():
            name, found[head] = head, rest
        elif name and line.startswith("    "):
            found[name] += " " + line.strip()
        else:
            name = None
    return found


def parser(model=None):
    """The command line; with the options of `model`, once it is known."""
    cls = MODELS.get(model)
    p = argparse.ArgumentParser(
        "python -m minigen.train",
        f"python -m minigen.train {model or 'MODEL'} [options]",
        description=inspect.getdoc(cls).splitlines()[0] if cls else f"Train a model: {', '.join(MODELS)}.",
        epilog=None if cls else USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    default = lambda name: f" (default: {getattr(cls, name):g})" if cls else ""
    add = p.add_argument
    add("model", nargs="?", help=f"one of {', '.join(MODELS)}; MODEL --help shows its own options")
    add("--data", default="glyphs", help="glyphs (default), digits, mnist, fashion_mnist, cifar10, or a path of images")
    add("--size", type=whole(4), help="resize images to SIZE x SIZE (default: as they are)")
    add("--channels", type=int, choices=(1, 3), help="1 grey, 3 colour (default: as they are)")
    add(
        "--backend",
        default="auto",
        choices=("auto", "numpy", "cupy"),
        help="where arrays live (auto, the default: where a short trial is faster; --resume: as before)",
    )
    text = "what the factors of products are rounded to: float32 (default, exact), tf32, bfloat16, float16"
    add("--precision", default="float32", choices=PRECISIONS, help=text)
    length = p.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=POSITIVE, help=f"passes over the data{default('epochs')}")
    length.add_argument("--steps", type=whole(1), help="batches in all, instead of --epochs")
    add("--batch-size", type=whole(1), help=f"images a step{default('batch_size')}")
    add("--lr", type=POSITIVE, help=f"learning rate of Adam{default('lr')}")
    decays = f" (default: {'yes' if cls.decay else 'no'})" if cls else ""
    text = f"let the learning rate fall linearly to 0 over the run{decays}"
    add("--decay", action=argparse.BooleanOptionalAction, help=text)
    add("--average", type=DECAY, help=f"decay of the average of weights that draws; 0: none{default('average')}")
    add("--clip", type=POSITIVE, help="bound of the gradient's norm (default: none)")
    add("--flip", action="store_true", help="mirror images at random")
    add("--seed", type=whole(0), default=0, help="of weights, noise and data order (default: 0)")
    add("--out", help="folder of the run (default: runs/MODEL-DATA)")
    add("--resume", metavar="RUN", help="go on with the run in this folder; --epochs or --steps may extend it")
    text = "on the GPU, replay training steps as CUDA graphs (default: where it can be done; --graph: or stop)"
    add("--graph", action=argparse.BooleanOptionalAction, help=text)
    add("--debug", action="store_true", help="stop at the op that makes the first NaN; up to twice as slow")
    add("--quiet", action="store_true", help="no progress bar")
    if cls:
        own = p.add_argument_group(f"options of {model}")
        for name, value, text in model_options(cls):
            least = 1 if value else 0  # where the default is 0 or None, 0 can be said
            kind = {int: whole(least), type(None): whole(least), float: NOT_NEGATIVE}.get(type(value), type(value))
            text = (text if value is None else f"{text} (default: {value})").replace("%", "%%")
            own.add_argument(f"--{name.replace('_', '-')}", type=kind, default=value, help=text)
    return p


def parse(argv):
    """(arguments, names of the model's own options). Exits with one clear sentence for anything wrong."""
    known, _ = parser().parse_known_args([a for a in argv if a not in ("-h", "--help")])
    if known.resume:
        return _resuming(argv), []
    if known.model is None:
        parser().print_help()
        sys.exit(0 if {"-h", "--help"} & set(argv) else 2)
    try:
        cls = find_model(known.model)
    except KeyError as error:
        sys.exit(f"python -m minigen.train {known.model}: {error.args[0]}")
    return parser(known.model).parse_args(argv), [name for name, _, _ in model_options(cls)]


def _resuming(argv):
    """The arguments of a --resume: what the run was begun with cannot be changed any more, but for its length."""
    p = parser()
    args = p.parse_args(argv)
    changed = [
        "MODEL" if name == "model" else f"--{name.replace('_', '-')}"
        for name, value in vars(args).items()
        if name not in ("resume", "epochs", "steps", "backend", "graph", "debug", "quiet")
        and value != p.get_default(name)
    ]
    if changed:
        p.error(
            f"--resume goes on with what the run was begun with, and takes only --epochs, --steps, --backend, --graph, "
            f"--debug and --quiet; got {', '.join(changed)}."
        )
    return args

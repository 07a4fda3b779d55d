"""`python -m minigen.train MODEL`: train a model on a data set, into a run folder.

Examples:
  python -m minigen.train gan                          built-in characters, no network, no GPU
  python -m minigen.train gan --data mnist             the digits of MNIST
  python -m minigen.train vae --data photos/ --size 64 --channels 3 --net conv --likelihood gaussian
  python -m minigen.train --resume runs/gan-glyphs     go on where a run stopped
"""

import argparse
import inspect
import sys
from pathlib import Path

from . import backend
from .backend import BackendError, Generator
from .data import DataError, load
from .loop import Training, TrainingError, fit
from .metrics import evaluate
from .models import MODELS, find_model
from .progress import Progress
from .run import RunError, RunFolder, load_checkpoint, load_config, save_json


def model_options(model):
    """[(name, default, help)] of a model's keyword-only arguments; the help is the docstring line `name: help`."""
    lines = inspect.getdoc(model).splitlines()
    lines += [line for base in model.__mro__[1:] if base.__doc__ for line in inspect.getdoc(base).splitlines()]
    options = []
    for p in inspect.signature(model).parameters.values():
        if p.kind is p.KEYWORD_ONLY and p.name != "rng":
            text = next((line.split(": ", 1)[1] for line in lines if line.startswith(f"{p.name}: ")), "")
            options.append((p.name, p.default, text))
    return options


def parser(model=None):
    """The command line; with the options of `model`, once it is known."""
    usage = f"python -m minigen.train {model or 'MODEL'} [options]"
    epilog = None if model else __doc__.split("\n", 2)[2]
    p = argparse.ArgumentParser(
        "python -m minigen.train",
        usage,
        description=f"Train {'a model' if model is None else model}: {', '.join(MODELS)}."
        if model is None
        else inspect.getdoc(MODELS[model]).splitlines()[0],
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = p.add_argument
    add("model", nargs="?", help=f"one of {', '.join(MODELS)}; MODEL --help shows its own options")
    add("--data", default="glyphs", help="glyphs (default), digits, mnist, fashion_mnist, cifar10, or a path of images")
    add("--size", type=int, help="resize images to SIZE x SIZE (default: as they are)")
    add("--channels", type=int, choices=(1, 3), help="1 grey, 3 colour (default: as they are)")
    add("--backend", default="auto", choices=("auto", "numpy", "cupy"), help="where arrays live (default: auto)")
    defaults = f" (default: {MODELS[model].epochs})" if model else ""
    length = p.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, help=f"passes over the data{defaults}")
    length.add_argument("--steps", type=int, help="batches in all, instead of --epochs")
    for name, text in (("batch_size", "images a step"), ("lr", "learning rate of Adam")):
        default = f" (default: {getattr(MODELS[model], name):g})" if model else ""
        add(f"--{name.replace('_', '-')}", type=int if name == "batch_size" else float, help=text + default)
    average = f" (default: {MODELS[model].average:g})" if model else ""
    add("--average", type=float, help=f"decay of the moving average of weights that draws; 0: none{average}")
    add("--clip", type=float, help="bound of the gradient's norm (default: none)")
    add("--flip", action="store_true", help="mirror images at random")
    add("--seed", type=int, default=0, help="of weights, noise and data order (default: 0)")
    add("--out", help="folder of the run (default: runs/MODEL-DATA)")
    add("--resume", metavar="RUN", help="go on with the run in this folder; --epochs or --steps may extend it")
    add("--debug", action="store_true", help="stop at the op that makes the first NaN; about twice as slow")
    add("--quiet", action="store_true", help="no progress bar")
    if model:
        own = p.add_argument_group(f"options of {model}")
        for name, default, text in model_options(MODELS[model]):
            kind = type(default) if not isinstance(default, bool) else lambda s: s.lower() in ("1", "true", "yes")
            own.add_argument(
                f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{text} (default: {default})"
            )
    return p


def parse(argv):
    """(arguments, names of the model's own options). Exits with one clear sentence for anything wrong."""
    known, _ = parser().parse_known_args([a for a in argv if a not in ("-h", "--help")])
    if known.resume:
        return parser().parse_args(argv), []
    if known.model is None:
        parser().print_help()
        sys.exit(0 if {"-h", "--help"} & set(argv) else 2)
    try:
        find_model(known.model)
    except KeyError as error:
        sys.exit(f"python -m minigen.train {known.model}: {error.args[0]}")
    return parser(known.model).parse_args(argv), [name for name, _, _ in model_options(MODELS[known.model])]


COMMON = ("data", "size", "channels", "epochs", "steps", "batch_size", "lr", "average", "clip", "flip", "seed")


def config_of(args, own):
    """What the run folder remembers: enough to build everything again."""
    return {"model": args.model, **{k: getattr(args, k) for k in COMMON}, "options": {k: getattr(args, k) for k in own}}


def build(config, split="train"):
    """(model, dataset) as configured; the model's generator is seeded by the run's."""
    dataset = load(config["data"], split, config["size"], config["channels"])
    options = dict(config["options"])
    if "classes" in options:
        options["classes"] = len(dataset.classes)
    return MODELS[config["model"]](dataset.shape, **options, rng=Generator(config["seed"] + 1)), dataset


def training_of(config, model, dataset):
    from .data import horizontal_flip

    return Training(
        model,
        dataset,
        batch_size=config["batch_size"],
        lr=config["lr"],
        seed=config["seed"],
        average=config["average"],
        clip=config["clip"],
        augment=horizontal_flip if config["flip"] else None,
    )


def free_folder(args):
    """The folder of a new run: as asked for, or the first free one of runs/gan-glyphs, runs/gan-glyphs-2, ..."""
    if args.out:
        if Path(args.out).exists() and (not Path(args.out).is_dir() or any(Path(args.out).iterdir())):
            raise RunError(
                f"--out {args.out}: exists and is not empty. Choose another, or go on with --resume {args.out}."
            )
        return Path(args.out)
    base = Path("runs") / f"{args.model}-{Path(args.data).stem}"
    candidates = [base, *(base.with_name(f"{base.name}-{i}") for i in range(2, 1000))]
    return next(c for c in candidates if not c.exists())


def restore_run(folder, split="train"):
    """(config, training) of a run folder, as its checkpoint left it."""
    config = load_config(folder)
    model, dataset = build(config, split)
    training = training_of(config, model, dataset)
    arrays, numbers = load_checkpoint(Path(folder) / "checkpoint.npz")
    training.restore(arrays, numbers)
    return config, training


def run(args, own):
    xp = backend.use(args.backend)
    if args.resume:
        folder = Path(args.resume)
        config, training = restore_run(folder)
        if args.epochs or args.steps:
            config |= {"epochs": args.epochs, "steps": args.steps}
    else:
        folder, config = free_folder(args), config_of(args, own)
        model, dataset = build(config)
        training = training_of(config, model, dataset)
    model, length = training.model, len(training.loader)
    steps = config["steps"] if config["steps"] is not None else round((config["epochs"] or model.epochs) * length)
    test = load(config["data"], "test", config["size"], config["channels"])
    device = "CPU (NumPy)" if xp.__name__ == "numpy" else "GPU (CuPy)"
    print(f"{config['model']}, {model.num_parameters():,} parameters, on {config['data']}, {device} → {folder}")
    if training.steps >= steps:
        raise RunError(f"{folder}: already trained for {training.steps} steps. Pass more --steps or --epochs to go on.")
    observers = [RunFolder(folder, config, test), *([] if args.quiet else [Progress()])]
    if args.debug:
        from .debug import debug

        with debug():
            fit(model, None, steps=steps, training=training, observers=observers)
    else:
        fit(model, None, steps=steps, training=training, observers=observers)
    if training.steps < steps:
        print(f"Stopped at step {training.steps} of {steps}. Go on: python -m minigen.train --resume {folder}")
        return
    with training.averaged():
        result = evaluate(model, test)
    for name, (value, unit) in result.items():
        print(f"test {name}: {value:.4g} {unit}")
    save_json(folder / "result.json", {name: {"value": v, "unit": u} for name, (v, u) in result.items()})
    print(f"Look at {folder}/samples. More images: python -m minigen.sample {folder}")


def main(argv=None):
    args, own = parse(sys.argv[1:] if argv is None else argv)
    try:
        run(args, own)
    except (BackendError, DataError, RunError, TrainingError, ValueError, MemoryError) as error:
        if isinstance(error, ValueError) and not isinstance(error, DataError) and args.debug:
            raise
        sys.exit(f"python -m minigen.train: {error}")


if __name__ == "__main__":
    main()

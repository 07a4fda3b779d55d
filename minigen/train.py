"""`python -m minigen.train MODEL`: train a model on a data set, into a run folder. Its options are in `options.py`."""

import sys
from pathlib import Path

from . import backend
from .backend import BackendError, Generator
from .backend.capturing import NotCapturable
from .choose import FIRST_TIME, choose
from .data import DataError, load
from .logged import TrainingError
from .loop import Training, fit, total_steps
from .metrics import evaluate
from .models import find_model
from .options import parse
from .progress import Notes, Progress
from .run import RunError, RunFolder, load_checkpoint, load_config, save_json

COMMON = (
    *("data", "size", "channels", "epochs", "steps", "batch_size", "lr", "decay", "average", "clip", "flip", "seed"),
    "precision",
)
CONFIG = ("model", "options", "backend", *COMMON)  # what a run folder must hold


def config_of(args, own):
    """What the run folder remembers: enough to build everything again."""
    return {"model": args.model, **{k: getattr(args, k) for k in COMMON}, "options": {k: getattr(args, k) for k in own}}


def data_of(config, split="train"):
    """The Dataset as configured."""
    return load(config["data"], split, config["size"], config["channels"])


def model_of(config, dataset):
    """The model as configured; its generator is seeded by the run's."""
    model = find_model(config["model"])
    options = config["options"] | ({"classes": len(dataset.classes)} if model.labels else {})
    if "categories" in options and options["categories"] is None:
        options["categories"] = len(dataset.classes)
    return model(dataset.shape, **options, rng=Generator(config["seed"] + 1))


def training_of(config, dataset):
    """A new Training, as configured, on the default device; its precision is that of the process from here on."""
    from .data import horizontal_flip

    backend.set_precision(config["precision"])
    return Training(
        model_of(config, dataset),
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
    config = load_config(folder, CONFIG)
    arrays, numbers = load_checkpoint(Path(folder) / "checkpoint.npz")
    try:
        training = training_of(config, data_of(config, split))
        training.restore(arrays, numbers)
    except DataError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        what = error.args[0] if error.args else error
        raise RunError(f"{folder}: configuration and checkpoint do not fit together ({what}).") from error
    return config, training


def backend_of(folder):
    """The device that a run was trained on: "numpy" or "cupy"."""
    return load_config(folder, CONFIG)["backend"]


def take_device_of(folder, name):
    """Make the device `name` the default; "auto": that of the run, or the CPU where there is no GPU any more."""
    if name == "auto" and backend_of(folder) == "numpy":
        name = "numpy"
    backend.use(name)  # where "auto" is CuPy if it works


def take_device(name, build=None):
    """Make it the default; its name. "auto": the faster one for the Training that `build` makes, and it says why."""
    if name != "auto":
        backend.use(name)
        if name == "cupy":
            print(FIRST_TIME)
        return name
    name, why = choose(build, tell=print)
    if why:
        print(why)
    return name


def run(args, own):
    if args.resume:
        folder = Path(args.resume)
        name = take_device(backend_of(folder) if args.backend == "auto" else args.backend)
        config, training = restore_run(folder)
        config["backend"] = name
        if args.epochs is not None or args.steps is not None:
            config |= {"epochs": args.epochs, "steps": args.steps}
    else:
        folder, config = free_folder(args), config_of(args, own)
        dataset = data_of(config)
        config["backend"] = take_device(args.backend, lambda: training_of(config, dataset))
        training = training_of(config, dataset)
    model, steps = training.model, total_steps(training, config["steps"], config["epochs"])
    if model.decay if config["decay"] is None else config["decay"]:
        training.decay_steps = steps
    test = data_of(config, "test")
    device = "CPU (NumPy)" if backend.default().__name__ == "numpy" else "GPU (CuPy)"
    print(f"{config['model']}, {model.num_parameters():,} parameters, on {config['data']}, {device} → {folder}")
    if training.steps >= steps:
        raise RunError(f"{folder}: already trained for {training.steps} steps. Pass more --steps or --epochs to go on.")
    training.use_graph(args.graph)
    observers = [RunFolder(folder, config, test), Notes(), *([] if args.quiet else [Progress()])]
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
    if (folder / "samples").exists():
        print(f"Look at {folder}/samples. More images: python -m minigen.sample {folder}")


def main(argv=None):
    args, own = parse(sys.argv[1:] if argv is None else argv)
    try:
        run(args, own)
    except (BackendError, DataError, NotCapturable, RunError, TrainingError, ValueError, MemoryError) as error:
        if isinstance(error, ValueError) and not isinstance(error, DataError) and args.debug:
            raise
        sys.exit(f"python -m minigen.train: {error}")
    except FloatingPointError as error:  # from --debug: it names op and layer
        sys.exit(f"python -m minigen.train: {error}")
    except KeyboardInterrupt:
        print("python -m minigen.train: interrupted.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()

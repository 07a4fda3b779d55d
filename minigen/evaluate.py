"""`python -m minigen.evaluate RUN`: measure a trained model on test data; with --judge, what a classifier says of it.

python -m minigen.train classifier --data mnist
python -m minigen.evaluate runs/gan-mnist --judge runs/classifier-mnist
"""

import argparse
import sys

import numpy as np

from .backend import BackendError
from .data import DataError
from .metrics import diversity, evaluate, judge
from .models import Classifier
from .options import number, whole
from .run import RunError, draw
from .train import data_of, restore_run, take_device_of


def main(argv=None):
    p = argparse.ArgumentParser("python -m minigen.evaluate", description=__doc__.splitlines()[0])
    p.add_argument("run", help="folder of the run")
    p.add_argument("--judge", metavar="RUN", help="folder of a trained classifier, which looks at generated images")
    p.add_argument("-n", type=whole(1), default=2000, help="how many images it looks at (default: 2000)")
    share = number(lambda v: 0 <= v <= 1, "in [0, 1]")
    p.add_argument("--threshold", type=share, default=0.9, help="probability that counts as sure (default: 0.9)")
    p.add_argument("--backend", default="auto", choices=("auto", "numpy", "cupy"), help="auto: as it was trained")
    args = p.parse_args(argv)
    try:
        run(args)
    except (BackendError, DataError, RunError, ValueError) as error:
        sys.exit(f"python -m minigen.evaluate: {error}")


def run(args):
    take_device_of(args.run, args.backend)
    config, training = restore_run(args.run)
    test = data_of(config, "test")
    with training.averaged() as model:
        for name, (value, unit) in evaluate(model, test).items():
            print(f"test {name}: {value:.5g} {unit}")
        if args.judge:
            consult(args, draw(model, args.n), test, config["model"])


def consult(args, pixels, test, model):
    """Print what the classifier of the run args.judge says of `pixels` (n, H, W, C), bytes; and how varied they are."""
    if pixels is None:
        raise RunError(f"{args.run}: the model {model!r} draws no images to judge.")
    config, training = restore_run(args.judge)
    shape = (pixels.shape[3], *pixels.shape[1:3])
    if not isinstance(training.model, Classifier):
        raise RunError(f"--judge {args.judge}: expected the run of a classifier; got {config['model']!r}.")
    if training.model.shape != shape:
        raise RunError(f"--judge {args.judge}: judges images of shape {training.model.shape}, not {shape}.")
    images = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255
    with training.averaged() as classifier:
        verdict = judge(classifier, images, args.threshold)
    classes = data_of(config, "test").classes
    print(f"judge: {verdict.confident:.1%} of {args.n} images have a class probability of at least {args.threshold}")
    shares = ", ".join(f"{c} {p:.1%}" for c, p in zip(classes, verdict.classes))
    print(f"judge: of these, {shares}; entropy {verdict.entropy:.3f} of {np.log(len(verdict.classes)):.3f} nats")
    print(
        f"diversity: {diversity(images, test.images / 255):.3f} of that of test images (distance to the nearest other)"
    )


if __name__ == "__main__":
    main()

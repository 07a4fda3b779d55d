"""`python -m minigen.sample RUN`: new images of a trained model (or, of an autoencoder, reconstructions)."""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

from .backend import BackendError
from .data import DataError
from .options import whole
from .pictures import save_grid
from .run import RunError, draw, written_whole
from .train import data_of, restore_run, take_device_of


def main(argv=None):
    p = argparse.ArgumentParser("python -m minigen.sample", description=__doc__)
    p.add_argument("run", help="folder of the run, such as runs/gan-glyphs")
    p.add_argument("-n", type=whole(1), default=64, help="how many images (default: 64)")
    p.add_argument("--seed", type=whole(0), default=0, help="of the noise (default: 0)")
    p.add_argument("--out", help="PNG file for the grid, or .npy for the bytes (n, H, W, C) (default: RUN/sample.png)")
    p.add_argument("--columns", type=whole(1), help="images to a row of the grid (default: √n)")
    p.add_argument("--backend", default="auto", choices=("auto", "numpy", "cupy"), help="auto: as it was trained")
    args = p.parse_args(argv)
    try:
        print(f"wrote {sample(args)}")
    except (BackendError, DataError, RunError, ValueError) as error:
        sys.exit(f"python -m minigen.sample: {error}")


def sample(args):
    take_device_of(args.run, args.backend)
    config, training = restore_run(args.run)
    test = data_of(config, "test")
    columns = args.columns or math.ceil(math.sqrt(args.n))
    with training.averaged() as model:
        images = draw(model, args.n, test, args.seed, columns)
    if images is None:
        raise RunError(f"{args.run}: the model {config['model']!r} draws no images.")
    out = Path(args.out or Path(args.run) / "sample.png")
    with written_whole(out) as name:
        if out.suffix == ".npy":
            np.save(name, images)
        else:
            save_grid(images, name, columns)
    return out


if __name__ == "__main__":
    main()

"""Inputs for `python -m minigen.gradcheck minigen`: of what takes more than arrays of floats of a usual shape.

The rest, most ops and layers, is inferred. A model's losses are functions of the parameters that they train.
"""

import numpy as np
from hypothesis import strategies as st

from . import models, nn, ops
from .backend import Generator, asarray
from .testing import Loss, convolutions, poolings, transposed_convolutions

seeds = st.integers(0, 999)


def examples():
    """{name: inputs}, see `minigen.gradcheck.drawing.discover`."""
    return {**_elementwise(), **_losses(), **_rearranging(), **_images(), **_norms(), **_layers(), **_models()}


def integers(below, *shape):
    """A strategy of int64 arrays from 0 to below − 1."""
    return seeds.map(lambda seed: asarray(np.random.default_rng(seed).integers(0, below, shape)))


def distinct(*shape):
    """A strategy of permutations along axis 0: indices that name no place twice."""
    return seeds.map(lambda seed: asarray(np.random.default_rng(seed).random(shape).argsort(axis=0)))


def places(shape, kernel_size):
    """A strategy of the places of the maxima in images of this shape, as max_pool2d returns them."""
    pool = lambda x: ops.max_pool2d(x, kernel_size, return_indices=True)[1]
    return seeds.map(lambda seed: pool(asarray(np.random.default_rng(seed).standard_normal(shape))))


def _elementwise():
    return {
        "pow": ("N C", st.sampled_from([2, 3, 1.0])),
        "pow: exponents": (lambda x, y: ops.pow(ops.exp(x), y), "N C", "C"),
        "pow: of a number": (lambda y: ops.pow(2.0, y), "N C"),
        "clip": ("N C", {"min": -0.5, "max": 0.5}),
        "where": (integers(2, 3, 4).map(lambda c: c > 0), "3 4", "4"),
        "astype": ("N C", {"dtype": "float64"}),
        "argmax": None,
        "argmin": None,
        "one_hot": None,
        "power_iteration": None,
        "gelu": ("N C",),
        "gelu: tanh": ("N C", {"approximate": "tanh"}),
        "softmax": ("N C H W", {"axis": st.integers(-4, 3)}),
        "log_softmax": ("N C H W", {"axis": st.integers(-4, 3)}),
        "std": ("N C H", {"axis": st.sampled_from([None, 0, (1, 2)])}),
        **{
            name: ("N C H", {"axis": st.sampled_from([None, 1, (0, -1)]), "keepdims": st.booleans()})
            for name in ("sum", "mean", "var", "max", "min", "logsumexp")
        },
    }


def _losses():
    reduction = {"reduction": st.sampled_from(["mean", "sum", "none"])}
    return {
        "mse_loss": ("N C", "N C", reduction),
        "l1_loss": ("N C", "N C", reduction),
        "binary_cross_entropy_with_logits": ("N C", "N C", reduction),
        "cross_entropy": ("4 5", integers(5, 4), reduction | {"label_smoothing": st.sampled_from([0.0, 0.1])}),
        "cross_entropy: probabilities": ("N C", "N C"),
        "cross_entropy: images": ("2 3 4 5", integers(3, 2, 4, 5), {"ignore_index": 1}),
        "gaussian_kl": ("N D", "N D"),
        "embedding": (integers(4, 3, 2), "4 D"),
        "dropout": (lambda x: ops.dropout(x, 0.4, rng=Generator(3)), "N C"),
    }


def _rearranging():
    return {
        "reshape": ("6 4", {"shape": st.sampled_from([(4, -1), (24,), (2, 3, 4)])}),
        "flatten": ("N C H W", {"start_dim": st.integers(0, 3)}),
        "squeeze": ("N 1 C 1", {"axis": st.sampled_from([None, 1, -1])}),
        "unsqueeze": ("N C", {"axis": st.integers(-3, 2)}),
        "permute": ("N C H W", {"dims": st.permutations(range(4)).map(tuple)}),
        "transpose": ("N C H W", {"dim0": st.integers(-4, 3), "dim1": st.integers(-4, 3)}),
        "flip": ("N C H", {"axis": st.sampled_from([0, -1, (0, 2)])}),
        "broadcast_to": ("3 1", {"shape": st.sampled_from([(3, 4), (2, 3, 1), (2, 3, 5)])}),
        "concatenate": (lambda x, y: ops.concatenate([x, y, x], axis=1), "N C", "N D"),
        "stack": (lambda x, y: ops.stack([x, y], axis=-1), "N C", "N C"),
        "split": ("5 C", {"split_size_or_sections": st.sampled_from([2, 5, [1, 4], [2, 2, 1]])}),
        "pad": ("N C 4 5", {"pad": st.tuples(*[st.integers(-1, 3)] * 4), "value": 0.5}),
        "pad: modes": (
            "N C 4 5",
            {"pad": st.tuples(*[st.integers(0, 3)] * 4), "mode": st.sampled_from(["reflect", "replicate", "circular"])},
        ),
        "getitem": ("4 5", {"index": st.sampled_from([0, (slice(None, None, -2), 1), (None, ..., slice(1, 4))])}),
        "getitem: indices": ("4 5", {"index": integers(4, 6)}),
        "gather": ("4 5", {"axis": 0, "index": integers(4, 3, 5)}),
        "scatter_add": (lambda x, i, y: ops.scatter_add(x, 0, i, y), "4 5", integers(4, 3, 5), "3 5"),
        "scatter": (lambda x, i, y: ops.scatter(x, 0, i[:3], y), "4 5", distinct(4, 5), "3 5"),  # one of four is left
    }


def _images():
    sizes = {"size": st.tuples(st.integers(1, 7), st.integers(1, 7)), "align_corners": st.booleans()}
    return {
        "matmul": ("N K", "K M"),
        "matmul: batches": ("B N K", "B K M"),
        "matmul: vectors": ("K", "K"),
        "linear": ("N C", "O C", "O"),
        "linear: sequences": ("N L C", "O C", "O"),
        "channel_sum": ("N C H W",),
        "conv2d": convolutions(),
        "conv2d: same": ("N C H W", "O C kh kw", "O", {"padding": "same"}),
        "conv_transpose2d": transposed_convolutions(),
        "max_pool2d": poolings(dilated=True),
        "avg_pool2d": poolings(),
        "max_unpool2d": ("2 3 2 2", places((2, 3, 4, 4), 2), {"kernel_size": 2}),
        "interpolate": ("N C H W", sizes | {"mode": "bilinear"}),
        "interpolate: nearest": ("N C H W", {"scale_factor": st.sampled_from([2, 3, (1, 2)])}),
    }


def _norms():
    running = {"running_mean": asarray(np.array([0.5, -1.0, 0.1])), "running_var": asarray(np.array([0.5, 2.0, 1.0]))}
    singular = {"u": asarray(np.array([0.6, 0.0, 0.8])), "v": asarray(np.array([0.5, 0.5, 0.5, 0.5]))}
    return {
        "batch_norm": (lambda x, w, b: ops.batch_norm(x, None, None, w, b, training=True), "N C H W", "C", "C"),
        "batch_norm: running": (
            lambda x, w, b: ops.batch_norm(x, **running, weight=w, bias=b),
            *("N 3 H W", "3", "3"),
        ),
        "layer_norm": (lambda x, w, b: ops.layer_norm(x, w.shape, w, b), "N C H W", "H W", "H W"),
        "instance_norm": (lambda x, w, b: ops.instance_norm(x, weight=w, bias=b), "N C H W", "C", "C"),
        "group_norm": (lambda x, w, b: ops.group_norm(x, 2, w, b), "N 4 H W", "4", "4"),
        "spectral_norm": ("3 2 2", singular),
    }


def _layers():
    rng = lambda: Generator(0)  # the same weights each time
    return {
        "Conv2d": (lambda: nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2, rng=rng()), "N 4 H W"),
        "ConvTranspose2d": (
            lambda: nn.ConvTranspose2d(4, 6, (3, 2), 2, padding=1, output_padding=1, groups=2, rng=rng()),
            "N 4 H W",
        ),
        "Embedding": (lambda: nn.Embedding(5, 3, rng=rng()), integers(5, 2, 4)),
        "Flatten": ("N C H W",),
        "Reshape": (nn.Reshape(3, 2), "N 6"),
        "MaxPool2d": (nn.MaxPool2d(2, stride=1), "N C 4 5"),
        "MaxUnpool2d": (nn.MaxUnpool2d(2), "2 3 2 2", places((2, 3, 4, 4), 2)),
        "AvgPool2d": (nn.AvgPool2d(2, stride=1), "N C 4 5"),
        "Upsample": (nn.Upsample(scale_factor=2, mode="bilinear"), "N C H W"),
        "Sequential": (lambda C: nn.Sequential(nn.Dense(C, 4, rng=rng()), ops.tanh, nn.Dense(4, 2, rng=rng())), "N C"),
        "BatchNorm2d": ("N num_features H W",),
        "BatchNorm2d: evaluation": (lambda C: nn.BatchNorm2d(C).eval(), "N C H W"),
        "LayerNorm": (lambda W: nn.LayerNorm(W), "N H W"),
        "GroupNorm": (nn.GroupNorm(2, 4), "N 4 H W"),
        # In training u and v follow the weight, and are constants by definition.
        "SpectralNorm": (lambda C: nn.SpectralNorm(nn.Dense(C, 3, rng=rng()), rng=rng()).eval(), "N C"),
        "SpectralNorm: transposed": (lambda: nn.SpectralNorm(nn.ConvTranspose2d(2, 3, 2, rng=rng())).eval(), "N 2 4 4"),
    }


def _models():
    shape, rng = (1, 8, 8), Generator(1)
    x, labels = rng.uniform((3, *shape)), rng.integers(0, 3, 3)
    dense, conv = {"hidden": 5}, {"net": "conv", "width": 2}
    ae = lambda **options: models.AE(shape, code=2, **options, rng=Generator(0))
    vae = lambda **options: models.VAE(shape, latent=2, **options, rng=Generator(0))
    gan = lambda: models.GAN(shape, latent=3, categories=2, **conv, rng=Generator(0))
    wgan = lambda: models.WGANGP(shape, latent=3, critic_norm="layer", **conv, rng=Generator(0))
    classifier = lambda: models.Classifier(shape, width=2, hidden=4, classes=3, rng=Generator(0))
    return {
        "AE": (lambda: ae(**dense), "N 1 8 8"),
        "AE: loss": lambda: Loss(ae(**dense), "loss", x),
        "AE: unpool": lambda: Loss(ae(**conv, upsample="unpool"), "loss", x),
        "PoolingNet": (lambda: ae(**conv, upsample="unpool").net, "2 1 8 8"),
        "VAE: loss": lambda: Loss(vae(**dense), "loss", x),
        "VAE: gaussian": lambda: Loss(vae(**conv, likelihood="gaussian"), "loss", x),
        "GAN: D": lambda: Loss(gan(), "D", x),
        "GAN: G": lambda: Loss(gan(), "G", x),
        "WGANGP: D": lambda: Loss(wgan(), "D", x),
        "WGANGP: G": lambda: Loss(wgan(), "G", x),
        "Classifier": (classifier, "4 1 8 8"),
        "Classifier: loss": lambda: Loss(classifier(), "loss", x, labels),
        "Loss": lambda: Loss(vae(**dense, likelihood="gaussian"), "loss", x),
    }

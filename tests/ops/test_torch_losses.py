"""Losses against PyTorch's, with all their options: value, first and second derivative."""

import numpy as np
import pytest
from torch_oracle import agree, normal, torch

from minigen import ops

F = torch.nn.functional
X = normal(3, 5)
REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


@REDUCTIONS
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
def test_regression_losses(name, reduction):
    f, g = getattr(ops, name), getattr(F, name)
    agree(lambda x, t: f(x, t, reduction=reduction), lambda x, t: g(x, t, reduction=reduction), X, normal(3, 5, seed=3))


@REDUCTIONS
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("pos_weighted", [False, True])
def test_binary_cross_entropy_with_logits(reduction, weighted, pos_weighted):
    weight, pos = np.abs(normal(3, 5)) if weighted else None, np.abs(normal(5)) if pos_weighted else None
    theirs = {"weight": weight, "pos_weight": pos}
    theirs = {k: None if v is None else torch.tensor(v) for k, v in theirs.items()}
    target = np.random.default_rng(0).random((3, 5))
    f, g = ops.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits
    agree(
        lambda x, t: f(x, t, weight, reduction, pos),
        lambda x, t: g(x, t, reduction=reduction, **theirs),
        *(X, target),
    )


@REDUCTIONS
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [-100, 2])
@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 3, 2)])
def test_cross_entropy_of_classes(reduction, smoothing, weighted, ignored, shape):
    target = np.random.default_rng(0).integers(0, 4, (shape[0], *shape[2:]))
    weight = np.array([0.5, 1.0, 2.0, 0.1]) if weighted else None
    options = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": ignored}
    agree(
        lambda x: ops.cross_entropy(x, target, weight, **options),
        lambda x: F.cross_entropy(x, torch.tensor(target), None if weight is None else torch.tensor(weight), **options),
        normal(*shape),
    )


@REDUCTIONS
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 3, 2)])
def test_cross_entropy_of_probabilities(reduction, smoothing, weighted, shape):
    target = np.random.default_rng(0).dirichlet(np.ones(4), (shape[0], *shape[2:]))
    target = np.moveaxis(target, -1, 1).copy()
    weight = np.array([0.5, 1.0, 2.0, 0.1]) if weighted else None
    options = {"reduction": reduction, "label_smoothing": smoothing}
    agree(
        lambda x, t: ops.cross_entropy(x, t, weight, **options),
        lambda x, t: F.cross_entropy(x, t, None if weight is None else torch.tensor(weight), **options),
        *(normal(*shape), target),
    )

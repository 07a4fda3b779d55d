"""On the GPU images stay channels-last through a step: what copies them into another order, or reads them in strides.

It has to be done where a dense layer meets images: features stand in the order (C, H, W) there, as in PyTorch, so that
weights can be exchanged. Each pass through such a place may reorder once on the way in and once on the way back.
"""

import pytest
from backend import emulator
from backend.fake_cupy import installed
from backend.order_changes import order_changes
from training_cases import MODEL_CASES, images, make

from minigen import Training
from minigen.backend import set_precision, use
from minigen.backend.gpu import conv
from minigen.data.augment import horizontal_flip
from minigen.metrics import evaluate
from minigen.models.nets import pyramid
from minigen.run import draw

pytestmark = pytest.mark.skipif(not emulator.AVAILABLE, reason=emulator.WHY_NOT)

SHAPE, LEAST = (3, 12, 12), 500  # elements: less than any image or feature map of a batch, and than most weights
CONV = [case for case in MODEL_CASES if "dense" not in case and case != "vae gaussian"]
OPTIONS = {"clip": 1.0, "average": 0.99, "augment": horizontal_flip}


# How often a step passes by such a place, there and back; three times D and once G, for GANs
PASSES = {"gan conv": 4, "gan d_norm none": 4, "vae conv": 2, "ae conv": 2, "ae unpool": 2, "classifier": 1}


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    with installed(products="emulated") as cupy:
        use("cupy")
        no_products = lambda role, image, matrix, shape, *args: cupy.zeros(shape, "float32")  # emulated, they take long
        monkeypatch.setattr(conv, "_product", no_products)
        yield
        set_precision("float32")


def changes(case, shape, **options):
    """(Changes of the steps in which every objective is due once, Changes of drawing and measuring afterwards)."""
    data = images(10, shape)
    training = Training(make(case, shape), data, batch_size=10, graph=False, **options)
    with order_changes(LEAST) as steps:
        for _ in range(max(o.every for o in training.objectives)):
            training.step()
    with training.averaged() as model, order_changes(LEAST) as use:
        draw(model, 10, data)
        evaluate(model, data)
    return steps, use


def told(changes):
    return "\n".join(f"{c.shape} {c.bytes} bytes: {c.lines}" for c in changes)


@pytest.mark.parametrize("case", CONV)
def test_images_are_reordered_only_where_a_dense_layer_meets_them(case):
    c, h, w = pyramid(SHAPE, 6)[-1] if case != "classifier" else (8, 3, 3)
    steps, use = changes(case, SHAPE)
    elsewhere = [e for e in (*steps, *use) if e.shape[1:] not in ((c, h, w), (h, w, c), (c * h * w,))]
    assert not elsewhere, told(elsewhere)
    assert len(steps) <= 2 * PASSES.get(case, len(steps)), told(steps)


@pytest.mark.parametrize("case", [case for case in MODEL_CASES if case not in CONV])
def test_dense_nets_of_grey_images_reorder_nothing(case):
    for found in changes(case, (1, 12, 12)):
        assert not found, told(found)


def test_clipping_averages_augmentation_and_loss_scaling_reorder_nothing_more():
    set_precision("float16")
    steps, _ = changes("gan conv", SHAPE, **OPTIONS)
    assert len(steps) <= 2 * PASSES["gan conv"], told(steps)

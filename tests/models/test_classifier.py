"""The classifier learns what can be learnt, gives probabilities, and reports what it measures."""

import numpy as np
import pytest
from training_cases import images, make

from minigen import Training
from minigen.metrics import evaluate

X = images(9)
PIXELS = X.images.astype(np.float32) / 255


def test_it_learns_to_tell_bars_of_three_heights():
    model, data = make("classifier"), images(60)
    training = Training(model, data, batch_size=20, lr=5e-3)
    for _ in range(60):
        training.step()
    result = evaluate(model, images(30, seed=9))
    assert result["accuracy"][0] == 1.0
    assert result["cross entropy"][0] < 0.3


def test_probabilities_are_positive_and_sum_to_1():
    p = make("classifier").probabilities(PIXELS).numpy()
    assert p.shape == (9, 3)
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)


def test_probabilities_are_those_of_evaluation_and_leave_the_mode():
    model = make("classifier")
    a, b = model.probabilities(PIXELS).numpy(), model.probabilities(PIXELS).numpy()
    assert np.array_equal(a, b)  # no dropout
    assert model.training
    model.eval().probabilities(PIXELS)
    assert not model.net.training


def test_accuracy_counts_the_images_whose_largest_logit_is_right():
    model = make("classifier").eval()
    logits = model(PIXELS).numpy()
    measured = model.measure(PIXELS, X.labels)
    assert int(measured["accuracy"][0]) == (logits.argmax(1) == X.labels).sum()
    picked = logits[np.arange(9), X.labels] - np.log(np.exp(logits.astype(np.float64)).sum(1))
    assert float(measured["cross entropy"][0]) == pytest.approx(-picked.sum(), rel=1e-5)


def test_at_the_start_all_classes_are_about_as_likely():
    loss = make("classifier").loss(PIXELS, X.labels)["cross entropy"]
    assert float(loss) == pytest.approx(np.log(3), abs=0.8)

"""The autoencoder's error, its code, and that a linear one does as well as principal components."""

import numpy as np
import pytest
from training_cases import images, make

from minigen import Generator, Training, tensor
from minigen.metrics import evaluate, pca_error
from minigen.models import AE
from minigen.models.ae import squared_error
from minigen.nn import Dense
from minigen.ops import max_pool2d, relu
from minigen.optim.schedules import cosine

X = images(6).images.astype(np.float32) / 255


def test_the_error_is_summed_over_pixels_and_averaged_over_images():
    model = make("ae dense")
    expected = ((model(X).numpy().astype(np.float64) - X) ** 2).sum((1, 2, 3)).mean()
    assert float(model.loss(tensor(X))["error"]) == pytest.approx(expected, rel=1e-5)
    value, unit = model.measure(X, None)["squared error"]
    assert (float(value), unit) == (pytest.approx(6 * expected, rel=1e-5), "per image")


def test_squared_error_is_of_each_image():
    assert squared_error(tensor(np.zeros((2, 3, 2, 2))), tensor(np.full((2, 3, 2, 2), 0.5))).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("case", ["ae dense", "ae conv", "ae unpool"])
def test_an_image_becomes_a_code_of_as_many_numbers_as_asked_for(case):
    assert make(case).encode(tensor(X)).shape == (6, 6)


class LinearAE(AE):
    """g(f(x)) without any nonlinearity: the best it can do is to project on the leading principal components."""

    def __init__(self, shape, code):
        super().__init__(shape, code=code, rng=Generator(0))
        size = int(np.prod(shape))
        self.f, self.g = Dense(size, code, rng=self.rng), Dense(code, size, rng=self.rng)

    def forward(self, x):
        return self.g(self.f(x.reshape(len(x), -1))).reshape(len(x), *self.shape)


def test_a_linear_autoencoder_reaches_the_error_of_principal_components_and_no_less():
    data = images(40)
    model = LinearAE(data.shape, 3)
    training = Training(model, data, batch_size=40, lr=cosine(0.02, 1000))
    for _ in range(1000):
        training.step()
    error, floor = evaluate(model, data)["squared error"][0], pca_error(data, data, 3)
    assert floor * (1 - 1e-4) <= error <= floor * 1.02


def test_unpooling_returns_values_to_the_places_of_the_maxima():
    model = make("ae unpool")
    code, places = model.net.encode(tensor(X))
    assert code.shape == (6, 6)
    h = relu(model.net.down[0](tensor(X)))
    assert np.array_equal(np.asarray(places[0]), np.asarray(max_pool2d(h, 2, return_indices=True)[1]))


@pytest.mark.parametrize("options", [{"upsample": "pixelshuffle"}, {"net": "dense", "upsample": "unpool"}])
def test_an_upsampling_that_does_not_exist_is_refused(options):
    with pytest.raises(ValueError, match='expected upsample "transpose", or "unpool" with --net conv; got'):
        AE((1, 12, 12), **options)

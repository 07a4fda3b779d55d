"""Random inputs for every kernel of `kernels.GPU`, by name: what `gpu_check` holds against NumPy in float64."""

import numpy as np

from ..backend import portable
from ..backend.optim_kernels import adam_numbers, sgd_numbers

PAIR = (2, 2), (1, 1), (1, 1)  # stride, padding, dilation
POOL = (3, 2), (2, 2), (1, 0), (1, 1)  # kernel, stride, padding, dilation: windows overlap in one axis


def cases(seed, large=1):
    """{name: [arguments]}; NumPy arrays of float32, images channels-last. large: factor of the batch."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        x = rng.standard_normal(shape, np.float32)
        return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x  # shapes are given as they lie in memory

    positive = lambda *shape: normal(*shape) ** 2 + np.float32(0.1)
    N = 8 * large
    image, other, rows = normal(N, 15, 13, 36), normal(N, 15, 13, 36), normal(N, 100)
    g, probability = normal(N, 100), np.exp(normal(N, 100))
    probability /= probability.sum(axis=1, keepdims=True)
    x, w, w_few, bias = normal(N, 14, 12, 64), normal(48, 4, 4, 64), normal(48, 5, 3, 3), normal(48)
    y, few = normal(N, 7, 6, 48), normal(N, 15, 13, 3)
    one, whole = normal(N, 1, 1, 100), normal(100, 4, 4, 64)
    classes = rng.integers(0, 36, (N, 15, 13))
    pooled, places = portable.max_pool2d(image, *POOL, (8, 6))
    n = 1000 * large + 7
    pixels = lambda c: rng.integers(0, 256, (2 * N, 15, 13, c), np.uint8)
    order = rng.permutation(2 * N)
    vectors = lambda k: tuple(normal(n) for _ in range(k))
    adam = np.float32(adam_numbers(3, 1e-3, 0.5, 0.999, 1e-8, 0.01))
    of_g = lambda *more: [(normal(N, 15, 13, 36), image, *more), (g, rows, *more)]
    of_out = lambda f: [(g, f(rows)), (normal(N, 15, 13, 36), f(image))]
    return {
        "conv2d": [
            (x, w, bias, *PAIR, 1),
            (x, w, bias, *PAIR, 1, None, 0.2),
            (few, w_few, None, (2, 2), (2, 1), (1, 1), 1),
        ],
        "conv2d_x": [
            (y, w, (14, 12), *PAIR, 1, normal(64)),
            (y, w, (14, 12), *PAIR, 1, normal(64), 0.0),
            (one, whole, (4, 4), (1, 1), (0, 0), (1, 1), 1),
        ],
        "conv2d_w": [(x, y, (4, 4), *PAIR, 1), (few, normal(N, 15, 13, 48), (5, 3), (1, 1), (2, 1), (1, 1), 1)],
        "matmul": [
            (rows, normal(50, 100).T, normal(50)),
            (rows, normal(50, 100).T, normal(50), 0.2),
            (normal(N, 36), normal(36, 100)),
            (rows.T, normal(N, 70)),
            (normal(3, 20, 30), normal(3, 30, 10)),
        ],
        "channel_sum": [(image,), (rows,)],
        "batch_norm": [
            (image, normal(36), normal(36), 1e-5),
            (image, normal(36), normal(36), 1e-5, 0.2, (normal(36), positive(36), np.array(3), 0.1)),
            (rows, None, None, 1e-5, 0.0, (normal(100), positive(100), None, 0.1)),
        ],
        "batch_norm_grad": [
            (normal(N, 15, 13, 36), image, normal(36), normal(36), normal(36), positive(36), 1e-5),
            (normal(N, 15, 13, 36), image, normal(36), normal(36), normal(36), positive(36), 1e-5, 0.2),
            (g, rows, None, None, normal(100), positive(100), 1e-5, 0.0),
        ],
        "leaky_relu": [(image, 0.2), (rows, 0)],
        "leaky_relu_grad": [(other, image, 0.2), (g, rows, 0)],
        "leaky_relu_bias_grad": [(other, image, 0.2), (g, rows, 0)],
        **{name: [(image,), (rows,)] for name in ("tanh", "sigmoid", "silu", "gelu")},
        "tanh_grad": of_out(np.tanh),
        "sigmoid_grad": of_out(lambda v: 1 / (1 + np.exp(-v))),
        "masked": [(image, rng.random((N, 36, 15, 13)) < 0.7, 1 / 0.7)],
        "softplus": [(image, 1.0), (rows, 2.0)],
        "softplus_grad": of_g(2.0),
        "elu": [(image, 1.0)],
        "elu_grad": of_g(0.5),
        "silu_grad": of_g(),
        "gelu_grad": of_g(),
        "bce_logits": [(image, positive(N, 15, 13, 36)), (rows, 1.0)],
        "bce_logits_grad": [(g, rows, positive(N, 100)), (g, rows, 0.0)],
        "gaussian_kl": [(rows, g)],
        "gaussian_kl_grad": [(g, rows)],
        "update_running": [(normal(36), positive(36), 0.1, 1.01, normal(36), positive(36))],
        "total": [(image, None, False), (image, (0, 2, 3), False), (rows, 1, True)],
        "average": [(image, (1, 2, 3), True), (rows, 0, False)],
        **{name: [(rows, 1), (image, 1)] for name in ("softmax", "log_softmax")},
        "softmax_grad": [(g, probability, 1)],
        "log_softmax_grad": [(g, np.log(probability), 1)],
        "normalize": [(rows, 1, 1e-5), (image, (1, 2, 3), 1e-5)],
        "normalize_grad": [(g, rows, portable_normalize(rows), 1, 1e-5)],
        "pick": [(image, classes), (rows, rng.integers(0, 100, N))],
        "place": [(normal(N, 15, 13, 1)[:, 0], classes, 36)],
        "max_pool2d": [(image, *POOL, (8, 6))],
        "unpool": [(pooled, places, (15, 13), POOL), (pooled, places, (15, 13))],
        "gather_plane": [(image, places)],
        "sum_pool2d": [(image, *POOL[:3], (8, 6))],
        "sum_pool2d_x": [(pooled, *POOL[:3], (15, 13))],
        "adam": [(*vectors(3), positive(n), adam, 0.5, 0.999, 0.01, decoupled) for decoupled in (False, True)],
        "sgd": [(*vectors(3), np.float32(sgd_numbers(2, 0.1, 0.9, 0.1)), 0.9, nesterov, 0.01) for nesterov in (0, 1)],
        "rmsprop": [(*vectors(2), positive(n), normal(n), np.float32([0.01]), 0.99, 1e-8, 0.9, 0.01)],
        "ema": [(*vectors(2), np.float32([0.05]))],
        "store": [(np.zeros(k, np.float32), tuple(float(v) for v in normal(k))) for k in (3, 20)],
        "deal_images": [(pixels(c), order, 3, 2 / 255, -1.0, normal(N, 15, 13, c)) for c in (1, 4)],
        "deal_labels": [(rng.integers(0, 10, 2 * N), order, 3, np.zeros(N, np.int64))],
        "gather": [([normal(k) for k in range(1, 20)], np.zeros(190, np.float32))],
    }


def portable_normalize(x):
    return ((x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)).astype(np.float32)

"""Functions that are right, and suspicious all the same: what must not be accused."""

import numpy as np
from exhibit import channels_last, innocent, normal, positive

from minigen import ops
from minigen.autograd import Tensor, detach, op

X = normal(4, 3)

# ------------------------------------------------------------------------------------------------ near a kink


@innocent(np.concatenate([1e-4 * normal(50), normal(500)]).reshape(11, 50))
def relu_near_its_kink(x):
    """Fifty of the elements lie closer to 0 than the usual steps of a difference."""
    return ops.relu(x)


@innocent(np.random.default_rng(0).permutation(150).reshape(1, 3, 5, 10) * 0.01)
def pooling_of_close_values(x):
    """All values are distinct, by little: windows overlap, and most pixels receive nothing."""
    return ops.max_pool2d(x, 3, stride=1, padding=1)


@innocent(np.array([0.5, 0.0, -0.3]))
def absolute_at_zero(x):
    """|x| at 0 with the derivative 0: what a central difference says, too."""
    return ops.abs(x)


@innocent(np.array([[0.3, 0.7, 0.7, 0.1]]))
@op(x=lambda g, x: g[:, None] * np.eye(x.shape[1], dtype=x.dtype)[x.argmax(axis=1)])
def maximum_of_equals(x):
    """A maximum that two elements share; argmax names the first of them, which is as good as any."""
    return x.max(axis=1)


@innocent(np.array([[0.3, -0.7], [0.0, 0.0]]))
def relu_of_zeros(x):
    """Half of the elements on the kink."""
    return ops.relu(x)


@innocent(normal(20, 5))
def clip_mostly_saturated(x):
    """Nine elements of ten have the derivative 0."""
    return ops.clip(x, min=-0.1, max=0.1)


@innocent(X)
def every_element_saturated(x):
    """Behind a relu that is closed for all of them."""
    return ops.relu(x - 100.0) + 0.0 * x


@innocent(30 * normal(4, 5))
def saturated_sigmoid(x):
    """Slopes from ¼ down to 10⁻³⁰."""
    return ops.sigmoid(x)


# ------------------------------------------------------------------------------------------------ sizes


@innocent(1e6 * X)
def large_inputs(x):
    """Inputs of 10⁶, results of 10¹⁸."""
    return x**3 + x * x


@innocent(1e-8 * X)
def tiny_inputs(x):
    """Inputs of 10⁻⁸, results of 10⁻¹⁶."""
    return x * x + 1e-8 * x


@innocent(X)
def far_larger_than_1(x):
    """Results of 10¹²."""
    return 1e12 * ops.tanh(x)


@innocent(X)
def far_smaller_than_1(x):
    """Results of 10⁻²⁰."""
    return 1e-20 * ops.tanh(x)


@innocent(X)
def on_a_large_offset(x):
    """The result is 10⁴ and varies by 1."""
    return ops.tanh(x) + 1e4


@innocent(normal(100_000))
def sum_of_many(x):
    """A sum of 10⁵ squares."""
    return (x * x).sum()


@innocent(normal(100_000))
def mean_of_many(x):
    """Each element's gradient is 10⁻⁵ of the whole."""
    return ops.exp(x).mean()


@innocent(700 * X + 500)
def logsumexp_of_large_numbers(x):
    """exp of any of them alone would overflow."""
    return ops.logsumexp(x, axis=1)


@innocent(X, 1e6 * normal(3))
def inputs_of_unlike_size(x, y):
    """One input is a million times as large as the other."""
    return ops.tanh(x) * y


@innocent(np.concatenate([1e-3 * positive(10), 1e2 * positive(10, seed=1)]))
def logarithms_of_unlike_sizes(x):
    """The usual steps would take the small elements below 0."""
    return ops.log(x)


@innocent(np.concatenate([1e-6 * positive(5), 1e3 * positive(5, seed=1)]))
def roots_of_unlike_sizes(x):
    """A step that the large elements can feel would take the small ones far below 0."""
    return x.sqrt()


@innocent(X)
def many_waves(x):
    """sin(100·x): every step of a hundredth goes round a sixth of the circle."""
    return ops.sin(100.0 * x)


@innocent(np.array(0.3))
def a_single_number(x):
    """Of shape ()."""
    return ops.exp(x) / (1 + x * x)


@innocent(np.zeros((3, 0)))
def no_elements(x):
    """An empty batch."""
    return ops.tanh(x)


@innocent(np.zeros((4, 3)))
def zeros(x):
    """A point at which the derivative of the square is 0, and the inputs have no size."""
    return x * x + ops.sin(x)


@innocent(np.ones((4, 3)))
def equal_elements(x):
    """All alike: transposed, shifted and permuted gradients look the same."""
    return x**3


@innocent(X.astype(np.float32), dtype="float32")
def network_in_float32(x):
    """Honest tolerances for seven digits."""
    return ops.softmax(ops.tanh(x @ X.T.astype(np.float32)), axis=1)


# ------------------------------------------------------------------------------------------------ odd, by design


@innocent(X, np.array([2, 0, 2, 1, 2]))
def integers(x, index):
    """An integer input, with rows that are named twice and one that is not named."""
    return ops.getitem(x, index) ** 2


@innocent(X, X)
def one_input_ignored(x, unused):
    """A layer that takes a condition and does not use it: a note at most."""
    return ops.tanh(x)


@innocent(X)
def detached_where_it_changes_nothing(x):
    """log-sum-exp by hand: the maximum is a constant by design, as it cancels."""
    top = detach(x.max(axis=1, keepdims=True))
    return (x - top).exp().sum(axis=1, keepdims=True).log() + top


@op(x=lambda g: 0.0 * g)
def _floor(x):
    return np.floor(x)


@innocent(np.floor(4 * X) + 0.3)
def floor_between_its_steps(x):
    """Constant by steps, with the derivative 0; the steps are far away."""
    return x * _floor(x)


@op(x=lambda g: g)
def _view(x):
    return x


@innocent(X)
def a_view_of_the_input(x):
    """The result shares its memory with the input, and the VJP returns g itself."""
    return _view(x) + _view(x)


@innocent(X)
def symmetric(x):
    """xᵀx: its gradient of a symmetric cotangent is symmetric."""
    return x.T @ x


@op(x=lambda g, x: (g[0] if g[0] is not None else 0.0) + (g[1] * 2 * x if g[1] is not None else 0.0))
def _value_and_square(x):
    return x + 0.0, x * x


@innocent(X)
def one_output_of_two(x):
    """The other output receives no cotangent, and the VJP knows it."""
    return _value_and_square(x)[1]


@innocent(normal(2, 3, 4, 4), normal(4))
def outputs_of_two_sizes(x, y):
    """A tuple: an image of 10⁶ and a number of 10⁻⁶."""
    return 1e6 * ops.tanh(x), 1e-6 * ops.exp(y).sum()


@innocent(channels_last(normal(2, 3, 6, 6)), channels_last(normal(4, 3, 3, 3)))
def convolution_in_channels_last(x, weight):
    """The layout that the engine prefers."""
    return ops.conv2d(x, weight, stride=2, padding=1)


@innocent(positive(3, 4), normal(3, 4))
def power_with_tensor_exponent(x, y):
    """Both of its inputs are differentiated, through a logarithm."""
    return x**y


@innocent(Tensor(X))
def a_tensor_as_input(x):
    """Not an array, and without a gradient of its own."""
    return ops.gelu(x)

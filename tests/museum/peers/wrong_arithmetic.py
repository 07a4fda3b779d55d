"""Faults of the first derivative: factors, places, sums, terms."""

from fault import fault
from layers import (
    BIAS,
    IMAGES,
    KERNEL,
    POSITIVE,
    SQUARE,
    X,
    add_bias,
    centre,
    conv,
    conv_w,
    conv_x,
    cube,
    elu,
    matmul,
    max_pool,
    mean_square,
    permute,
    product,
    rng,
    softmax,
    twice,
)

# ------------------------------------------------------------------------------------------------ wrong numbers


@fault("constant factor", cube, X)
def cube_without_its_three(F, g, x):
    return g * x**2


@fault("constant factor", mean_square, X)
def mean_without_one_over_n(F, g, x):
    return g * 2 * x


@fault("constant factor", lambda F, x: F.log(x) / 2.302585092994046, POSITIVE)
def log10_with_a_rounded_constant(F, g, x):
    """1/ln 10 = 0.4342944…, typed with five digits: wrong by one in 100,000."""
    return g * 0.43429 / x


@fault("constant factor", lambda F, w: 1e-6 * F.sum(w * w, None, False), X)
def weight_decay_without_its_two(F, g, w):
    """Gradients of 1e-6: below every absolute tolerance of 1e-5."""
    return g * 1e-6 * w


@fault("factor of an input", cube, X)
def cube_with_x_forgotten(F, g, x):
    return g * 3 * x


@fault("forgotten cotangent", cube, X)
def cube_without_g(F, g, x):
    return 0 * g + 3 * x**2


@fault("forgotten cotangent", cube, X)
def absurd_cube(F, g, x):
    """The gradient that a known checker let pass."""
    return 0 * g + 1234.5


@fault("forgotten cotangent", lambda F, x: F.sum(x**3, None, False), X)
def loss_without_g(F, g, x):
    """Right wherever the loss is the last thing computed, g = 1."""
    return 0 * g + 3 * x**2


@fault("unknown", lambda F, x: F.log(1 + F.exp(x)), X)
def softplus_with_tanh(F, g, x):
    return g * F.tanh(x)


# ------------------------------------------------------------------------------------------------ wrong places


@fault("transposed", matmul, X, SQUARE)
def dense_not_transposed(F, g, x, w):
    return g @ w, F.transpose(x) @ g


@fault("flipped", conv, IMAGES, KERNEL)
def conv_kernel_flipped(F, g, x, w):
    found = conv_w(F, g, x, w)
    return conv_x(F, g, x, w), F.concat([found[2:3], found[1:2], found[0:1]], 0)


@fault("shifted", conv, IMAGES, KERNEL)
def conv_shifted_by_one(F, g, x, w):
    found = conv_x(F, g, x, w)
    return F.concat([found[:, 7:], found[:, :7]], 1), conv_w(F, g, x, w)


@fault("permuted", permute, IMAGES[:, :5])
def permutation_not_inverted(F, g, x):
    return permute(F, g)


@fault("swapped inputs", product, X, X[::-1] + 1)
def product_swapped(F, g, x, y):
    return g * x, g * y


# ------------------------------------------------------------------------------------------------ sums and terms


@fault("missing sum", add_bias, X, BIAS)
def bias_of_the_first_row(F, g, x, b):
    return 1 * g, g[0]


@fault("missing sum", twice, X)
def upsampling_gives_one_of_two(F, g, x):
    return g[:, ::2]


@fault("extra sum", product, X, rng.standard_normal((4, 1)))
def row_scale_summed_over_rows(F, g, x, s):
    return g * s, F.sum(g * x, None, False) + 0 * s


@fault("overlap assigned", conv, IMAGES, KERNEL)
def conv_overlap_assigned(F, g, x, w):
    """x̄[windows] = instead of +=: the last window that covers a place wins."""
    return F.concat([w[0:1] * g, w[1:] * g[:, 5:]], 1), conv_w(F, g, x, w)


@fault("missing term", centre, X)
def centring_without_the_mean(F, g, x):
    return 1 * g


@fault("missing term", softmax, X)
def softmax_without_the_sum(F, g, x):
    return g * softmax(F, x)


@fault("partly wrong", elu, X)
def elu_zero_below_zero(F, g, x):
    return F.where(F.positive(x), g, g * 0)


@fault("partly wrong", max_pool, IMAGES)
def max_pooling_gives_to_all(F, g, x):
    return twice(F, g)

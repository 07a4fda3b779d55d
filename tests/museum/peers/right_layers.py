"""Right ones, which no checker may accuse."""

from fault import fault
from layers import (
    IMAGES,
    KERNEL,
    WIDE,
    X,
    conv,
    conv_w,
    conv_x,
    cube,
    matmul,
    softmax,
    spread,
    standardise,
    standardise_x,
)


@fault("right", cube, X)
def right_cube(F, g, x):
    return g * 3 * x**2


@fault("right", matmul, X, WIDE)
def right_dense(F, g, x, w):
    return g @ F.transpose(w), F.transpose(x) @ g


@fault("right", conv, IMAGES, KERNEL)
def right_conv(F, g, x, w):
    return conv_x(F, g, x, w), conv_w(F, g, x, w)


@fault("right", softmax, X)
def right_softmax(F, g, x):
    y = softmax(F, x)
    return y * (g - F.sum(g * y, 1, True))


@fault("right", standardise, X)
def right_batch_norm(F, g, x):
    return standardise_x(F, g, x, spread(F, x))

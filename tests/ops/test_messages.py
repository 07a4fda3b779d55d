"""What the ops say when they are called wrongly: the callable, the rule, the values, and the likely fix."""

import numpy as np
import pytest

from minigen import ops

Z = np.zeros
IMAGE, KERNEL = Z((2, 3, 8, 8)), Z((4, 3, 3, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.conv2d(Z((2, 8, 8, 3)), KERNEL),
            "conv2d: expected x of shape (N, 3, H, W) for a weight of shape (4, 3, 3, 3) and groups=1; got (2, 8, 8, "
            "3). Images are channels-first: x.transpose(0, 3, 1, 2).",
        ),
        (lambda: ops.conv2d(IMAGE, KERNEL, Z(3)), "conv2d: expected bias of shape (4,); got (3,)."),
        (lambda: ops.conv2d(IMAGE, KERNEL, stride=0), "expected stride ≥ 1, dilation ≥ 1, padding ≥ 0; got stride=(0"),
        (lambda: ops.conv2d(IMAGE, KERNEL, stride=1.5), "stride: expected an int or a pair of ints; got 1.5."),
        (lambda: ops.conv2d(IMAGE, KERNEL, padding=(1, 2, 3)), "padding: expected an int or a pair of ints; got (1"),
        (lambda: ops.conv2d(IMAGE, KERNEL, padding="same", stride=2), 'padding="same" needs stride 1; got (2, 2).'),
        (lambda: ops.conv2d(IMAGE[:, :, :2], KERNEL), "conv2d: the kernel must fit into the padded image; got x of"),
        (lambda: ops.conv2d(Z((2, 9, 8, 8)), KERNEL, groups=3), "groups must divide the 4 kernels; got groups=3"),
        (lambda: ops.conv_transpose2d(IMAGE, KERNEL), "conv_transpose2d: expected x of shape (N, 4, H, W)"),
        (
            lambda: ops.conv_transpose2d(Z((2, 4, 8, 8)), KERNEL, output_padding=1),
            "output_padding must be smaller than the stride or the dilation; got output_padding (1, 1)",
        ),
        (
            lambda: ops.conv_transpose2d(Z((2, 4, 1, 1)), KERNEL, padding=2),
            "conv_transpose2d: the output would have size (-1, -1)",
        ),
        (lambda: ops.linear(IMAGE, Z((5, 192))), "Flatten images first: x.reshape(len(x), -1)."),
        (lambda: ops.max_pool2d(IMAGE[0], 2), "max_pool2d: expected x of shape (N, C, H, W); got (3, 8, 8)."),
        (lambda: ops.max_pool2d(IMAGE, 2, padding=2), "expected padding of at most half the kernel"),
        (lambda: ops.avg_pool2d(IMAGE, 9), "avg_pool2d: the window must fit into the image"),
        (
            lambda: ops.max_unpool2d(Z((1, 1, 2, 2)), np.full((1, 1, 2, 2), 20), 2),
            "the indices reach beyond an image of size (4, 4); pass the output_size that was pooled.",
        ),
        (lambda: ops.interpolate(IMAGE), "interpolate: expected either size or scale_factor."),
        (lambda: ops.interpolate(IMAGE, 4, mode="cubic"), 'expected mode "nearest" or "bilinear"; got \'cubic\'.'),
        (lambda: ops.interpolate(IMAGE, scale_factor=0.1), "the result would have size (0, 0)"),
        (lambda: ops.pad(IMAGE, (1, 2, 3)), "pad: expected up to 8 widths in pairs"),
        (lambda: ops.pad(IMAGE, (8, 0), "reflect"), "'reflect' borders must be narrower than the axis; got (8, 0)"),
        (lambda: ops.pad(IMAGE, (1, 0), "mirror"), "got 'mirror'"),
        (lambda: ops.split(Z((5, 2)), [2, 2]), "split: expected sizes that add up to 5, the length of axis 0; got [2"),
        (lambda: ops.clip(IMAGE), "clip: expected min, max or both; got neither."),
        (lambda: ops.gelu(IMAGE, "erf"), 'gelu: expected approximate="none" or "tanh"; got \'erf\'.'),
        (lambda: ops.leaky_relu(IMAGE, negative_slope=2), "leaky_relu: expected a slope in [0, 1]; got 2."),
        (
            lambda: ops.mse_loss(Z((6, 1)), Z(6)),
            "mse_loss: expected a target of the shape of x, or a number; got x: (6",
        ),
        (lambda: ops.l1_loss(Z((6, 1)), Z(6)), "l1_loss: expected a target of the shape of x"),
        (lambda: ops.layer_norm(IMAGE, 3), "layer_norm: expected x of shape (..., 3); got (2, 3, 8, 8)."),
        (lambda: ops.group_norm(IMAGE, 2), "group_norm: num_groups must divide the channels; got num_groups=2"),
        (lambda: ops.batch_norm(Z((1, 3)), None, None, training=True), "expected more than 1 value per channel"),
        (lambda: ops.instance_norm(Z((2, 3, 1, 1))), "expected more than 1 position per channel"),
        (lambda: ops.dropout(IMAGE, 1.5), "dropout: expected a probability p in [0, 1]; got 1.5."),
        (
            lambda: ops.cross_entropy(Z((2, 3)), np.array([0, 3])),
            "cross_entropy: expected classes in [0, 3); got 0 to 3.",
        ),
        (
            lambda: ops.cross_entropy(Z((2, 3)), np.array([[0], [1]])),
            "expected target of shape (2,) with integer classes, or of shape (2, 3) with probabilities; got (2, 1) int",
        ),
        (
            lambda: ops.binary_cross_entropy_with_logits(Z((4, 1)), Z(4)),
            "binary_cross_entropy_with_logits: expected target of shape (4, 1), as x; got (4,).",
        ),
    ],
)
def test_a_wrong_call_is_explained(call, message):
    with pytest.raises(ValueError, match=r"\w+: ") as caught:
        call()
    assert message in str(caught.value)


def test_an_embedding_index_out_of_range_is_named():
    with pytest.raises(IndexError, match=r"embedding: expected indices in \[0, 3\); got 1 to 3\."):
        ops.embedding(np.array([1, 3]), Z((3, 2)))


def test_what_is_no_array_is_named():
    with pytest.raises(TypeError, match=r"expected an array or a Tensor; got builtins\.list"):
        ops.exp([1.0, 2.0])

"""A residual network for images, in its form for small ones: each block learns what it adds to what came in.

    image -> conv 3x3, filters -> 3 groups of blocks, with filters, 2 filters, 4 filters -> mean of the map -> dense
    block:  x -> conv 3x3 -> normalize -> relu -> conv 3x3 -> normalize -> + x -> relu

The first block of the second and third group halves height and width by its stride, and a convolution 1x1 takes its x
to that shape.

Source: He et al. 2016, Deep residual learning for image recognition (section 4.2, the networks for CIFAR-10, of 6n + 2
layers for n blocks a group, whose shortcuts have no weights); Ioffe and Szegedy 2015, Batch normalization.
"""

from typing import Any

import keras

from hvdedge import tasks
from hvdedge.errors import InputError
from hvdedge.options import Count

EXAMPLES = ("images",)
GROUPS = 3
LEAST = 4  # pixels a side, of which the last group sees one
MOMENTUM = 0.9  # of the moving mean and variance: with 0.99 they need hundreds of steps, which small data do not take


def build(spec: dict[str, Any], *, blocks: Count = 1, filters: Count = 16, seed: int = 0) -> keras.Model:
    """Return a residual network from images to one logit a class.

    Args:
        spec: what extract wrote of the features: `input_shape` (height, width, channels) and `classes`.
        blocks: of each of the three groups; 3 are the network of 20 layers.
        filters: of the first group; the second has twice as many, the third four times.
    Raises:
        InputError: where an image is too small to be halved twice.
    """
    shape = tuple(spec["input_shape"])
    if len(shape) != 3 or min(shape[:2]) < LEAST:
        raise InputError(
            f"train.model: received resnet for features of shape {shape}, allowed: (height, width, channels) from "
            f"{LEAST} x {LEAST}"
        )
    seeds = keras.random.SeedGenerator(seed)

    def weights() -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(seed=int(keras.random.randint((), 0, 2**31 - 1, seed=seeds)))

    def convolved(x: Any, count: int, size: int, stride: int = 1) -> Any:
        layer = keras.layers.Conv2D(
            count, size, stride, padding="same", use_bias=False, kernel_initializer=weights()
        )  # the normalization behind it has a bias
        return keras.layers.BatchNormalization(momentum=MOMENTUM)(layer(x))

    image = keras.Input(shape)
    x = keras.layers.ReLU()(convolved(image, filters, 3))
    for number in range(GROUPS * blocks):
        group, place = divmod(number, blocks)
        count, stride = filters * 2**group, 2 if group and not place else 1
        added = keras.layers.ReLU()(convolved(x, count, 3, stride))
        added = convolved(added, count, 3)
        if stride > 1:
            x = convolved(x, count, 1, stride)
        x = keras.layers.ReLU()(keras.layers.Add()([x, added]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(*tasks.find(spec).output_shape, kernel_initializer=weights())(x))

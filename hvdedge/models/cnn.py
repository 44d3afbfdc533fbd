"""The convolutional network of the classic MNIST examples: conv32-conv64-pool-dropout-dense128-dropout.

    image -> conv 3x3, 32 -> conv 3x3, 64 -> max pool 2x2 -> dropout -> dense 128 -> dropout -> dense classes

Source: LeCun et al. 1998, Gradient-based learning applied to document recognition; the layer sizes are those of the
MNIST example that Keras and PyTorch ship.
"""

from typing import Any

import keras

from hvdedge import tasks
from hvdedge.errors import InputError
from hvdedge.options import Count, Fraction

EXAMPLES = ("images",)


def build(
    spec: dict[str, Any], *, filters: Count = 32, hidden: Count = 128, dropout: Fraction = 0.25, seed: int = 0
) -> keras.Model:
    """Return a network from images to one logit a class.

    Args:
        spec: what extract wrote of the features: `input_shape` (height, width, channels) and `classes`.
        filters: of the first convolution; the second has twice as many.
        hidden: units of the dense layer.
        dropout: share of the pooled units left out in a training step; of the dense units twice that, at most 0.9.
    Raises:
        InputError: where an image is too small for two 3x3 convolutions and the pooling.
    """
    shape = tuple(spec["input_shape"])
    if len(shape) != 3 or min(shape[:2]) < 6:
        raise InputError(
            f"train.model: received cnn for features of shape {shape}, allowed: (height, width, channels) from 6 x 6"
        )
    seeds = keras.random.SeedGenerator(seed)

    def weights() -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=int(keras.random.randint((), 0, 2**31 - 1, seed=seeds)))

    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(filters, 3, activation="relu", kernel_initializer=weights()),
            keras.layers.Conv2D(2 * filters, 3, activation="relu", kernel_initializer=weights()),
            keras.layers.MaxPooling2D(2),
            keras.layers.Dropout(dropout, seed=seed),
            keras.layers.Flatten(),
            keras.layers.Dense(hidden, activation="relu", kernel_initializer=weights()),
            keras.layers.Dropout(min(2 * dropout, 0.9), seed=seed + 1),
            keras.layers.Dense(*tasks.find(spec).output_shape, kernel_initializer=weights()),
        ]
    )

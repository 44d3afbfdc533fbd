"""Half precision: weights in 16 bits on disk, computed with in float32.

    float16     5 bits of exponent, 10 of fraction: three decimal digits, up to 65,504
    bfloat16    8 bits of exponent, 7 of fraction: two digits, as far as float32 reaches

Source: IEEE 754-2019 (binary16); Kalamkar et al. 2019, A study of BFLOAT16 for deep learning training.
"""

from typing import Literal

import numpy as np
import tensorflow as tf

from hvdedge.compressed import CompressedModel
from hvdedge.errors import InputError
from hvdedge.retraining import Retraining

ORDER = 4  # behind what trains on in float32


def compress(
    model: CompressedModel, data: Retraining, *, type: Literal["float16", "bfloat16"] = "float16"
) -> CompressedModel:
    """Collective. Round each weight to the nearest number that 16 bits hold, and store these.

    Args:
        model: changed in place.
    Raises:
        InputError: where a weight is larger than float16 can tell.
    """
    for weight in model.learnt:
        rounded = tf.cast(tf.cast(np.asarray(weight), type), tf.float32)
        if not np.isfinite(rounded).all():
            raise InputError(
                f"compress.half_precision.type: received {type!r} for {weight.path}, which reaches "
                f"{np.abs(weight).max():.3g}, allowed: 'bfloat16'; change it"
            )
        weight.assign(rounded)
    model.code_weights()
    return model

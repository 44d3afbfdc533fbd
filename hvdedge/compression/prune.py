"""Magnitude pruning: the smallest weights become zero, so that the stored file shrinks.

Source: Han et al. 2015, Learning both weights and connections for efficient neural networks.
"""

import numpy as np

from hvdedge.compressed import CompressedModel
from hvdedge.options import Fraction


def compress(model: CompressedModel, data: np.ndarray, *, sparsity: Fraction = 0.5) -> CompressedModel:
    """Set the share `sparsity` of each kernel's weights, the smallest by magnitude, to zero; biases stay.

    Args:
        model: changed in place.
        data: training rows, not used, as nothing is trained on.
    """
    for weight in model.model.trainable_weights:
        values = np.array(weight)
        if values.ndim < 2:
            continue
        zeros = int(sparsity * values.size)
        mask = np.ones(values.size, bool)
        mask[np.argsort(np.abs(values), axis=None, kind="stable")[:zeros]] = False
        weight.assign(values * mask.reshape(values.shape))
    return model

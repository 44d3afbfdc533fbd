"""Entropy coding: what is frequent in the file takes fewer bits; the last step of a chain.

Places of weights that are not zero are told as differences, codes of shared weights packed; Zstandard's Huffman and
finite-state coders make these, and the rest of the file, small. What is loaded back is the same bit for bit.

Source: Huffman 1952, A method for the construction of minimum-redundancy codes; Collet and Kucherawy 2021, Zstandard
compression (RFC 8878).
"""

import dataclasses

from hvdedge.compressed import CompressedModel
from hvdedge.retraining import Retraining

ORDER = 6  # the last: of the file


def compress(model: CompressedModel, data: Retraining) -> CompressedModel:
    """Return the model to be stored with its weights entropy coded; no option, as nothing is lost or chosen."""
    return dataclasses.replace(model, coding="entropy")

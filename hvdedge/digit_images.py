"""The 1,797 handwritten digits that scikit-learn ships, read without importing it, which would cost a second.

Source: Alpaydin and Kaynak 1998, Optical recognition of handwritten digits (UCI), test set, as in scikit-learn.
"""

import gzip
import importlib.util
import pathlib

import numpy as np

from hvdedge.errors import InputError


def load_digits(reader: str) -> np.ndarray:
    """Return int64 (1797, 65): 64 pixels, 0 to 16, and the digit.

    Args:
        reader: the name of the one that asks, for errors.
    Raises:
        InputError: where scikit-learn is not there.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise InputError(
            f"prepare.reader: received {reader!r}, whose data is part of scikit-learn; pip install scikit-learn"
        )
    path = pathlib.Path(package.origin).parent / "datasets/data/digits.csv.gz"
    try:
        with gzip.open(path) as file:
            return np.loadtxt(file, np.int64, delimiter=",")
    except OSError as error:
        raise InputError(f"{path}: received no digits ({error.strerror}); install scikit-learn again") from None

"""Models as Keras files, written layer by layer, the same bytes for the same weights."""

import functools
import json
import pathlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np


def write(model: keras.Model, path: pathlib.Path, values: Callable[[int], np.ndarray] | None = None) -> None:
    """Write a model for `keras.saving.load_model`, without the time and the memory addresses that Keras puts in.

    Args:
        values: gives the value of the variable of each place in the model, which has none itself; they are asked for
            as they are written, a layer's at once.
    """
    config = json.dumps(keras.saving.serialize_keras_object(model))
    numbers: dict[str, int] = {}
    config = re.sub(
        r'(?<="shared_object_id": )\d+',
        lambda address: str(numbers.setdefault(address[0], len(numbers))),
        config,
    )
    metadata = json.dumps({"keras_version": keras.__version__, "date_saved": ""})
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        weights = pathlib.Path(folder) / "model.weights.h5"
        if values is not None:
            for place, variable in enumerate(model.variables):  # Keras asks initializers for what is not there yet
                variable._initializer = functools.partial(_asked, values, place)
        model.save_weights(weights)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (("metadata.json", metadata), ("config.json", config)):
                archive.writestr(zipfile.ZipInfo(name), content)
            with (
                open(weights, "rb") as file,
                archive.open(zipfile.ZipInfo(weights.name), "w", force_zip64=True) as target,
            ):
                shutil.copyfileobj(file, target)


def _asked(values: Callable[[int], np.ndarray], place: int, shape: Sequence[int], dtype: str | None = None) -> Any:
    return keras.ops.convert_to_tensor(values(place), dtype)

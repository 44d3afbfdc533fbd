"""First values of a slice of a weight, drawn without the rest of it, distributed as a slice of the whole's would be.

The variance that Glorot, He and LeCun give follows the number of inputs and outputs of the whole layer. Orthogonal
matrices are orthogonal slice by slice, of numbers as large as those of the whole.

Source: Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

FROM_INPUTS, FROM_OUTPUTS = "fan_in", "fan_out"


def drawn(initializer: Any, whole: Sequence[int], held: Sequence[np.ndarray], seed: Sequence[int]) -> Any | None:
    """Return the first values of a slice; None where those that a weight of its shape gets are right.

    Args:
        initializer: of Keras, of the whole weight, or any other function.
        whole: its shape.
        held: the places of each axis that the slice has.
        seed: what sets apart this weight and this rank.
    """
    shape = [len(places) for places in held]
    if isinstance(initializer, keras.initializers.Identity):
        return initializer.gain * (held[0][:, None] == held[1][None, :]).astype(np.float32)
    config: dict[str, Any] = getattr(initializer, "get_config", dict)()
    if "seed" not in config:
        return None
    config["seed"] = int(np.random.default_rng(seed).integers(2**31))
    kind = type(initializer)
    if isinstance(initializer, keras.initializers.VarianceScaling):
        full = {"scale": initializer.scale, "mode": initializer.mode, "distribution": initializer.distribution}
        full["scale"] *= _fan(shape, initializer.mode) / _fan(whole, initializer.mode)
        config, kind = full | {"seed": config["seed"]}, keras.initializers.VarianceScaling
    if isinstance(initializer, keras.initializers.Orthogonal):
        config["gain"] *= math.sqrt(_longest(shape) / _longest(whole))
    return kind.from_config(config)(shape)


def _longest(shape: Sequence[int]) -> int:
    """Return the longer side of the matrix that Keras makes orthogonal: a number in it has a variance of 1 / that."""
    return max(math.prod(shape[:-1]), shape[-1])


def _fan(shape: Sequence[int], mode: str) -> float:
    """Return of how many inputs, outputs or both a variance is made, as Keras counts them."""
    field = math.prod(shape[:-2])
    inputs, outputs = (shape[0], shape[0]) if len(shape) == 1 else (shape[-2] * field, shape[-1] * field)
    wanted = {FROM_INPUTS: inputs, FROM_OUTPUTS: outputs}
    return max(1.0, wanted.get(mode, (inputs + outputs) / 2))

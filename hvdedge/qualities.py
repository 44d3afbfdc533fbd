"""The measures that a search may go by: whether more of one is better, and where it is found.

The rows that judge a trial are those for validation, so that the test rows judge what was chosen, once.
"""

import pathlib

from hvdedge.errors import InputError
from hvdedge.methods import unknown

RISING = ("accuracy", "precision", "recall", "f1", "auc", "average_precision", "nmi", "ari", "r2")
FALLING = ("loss", "mse", "mae", "rmse")
COSTS_RISING = ("examples_per_second",)
COSTS_FALLING = ("step_seconds", "bytes_per_step", "idle_share", "parameters", "steps")
VALIDATION = "validation_"  # before the names of measures over these rows
COSTS = (*COSTS_RISING, *COSTS_FALLING)
ALL = (*RISING, *FALLING, *COSTS)


def find(path: pathlib.Path, name: str) -> str:
    """Return the measure that a pipeline names as `tune.metric`, without what says that validation rows judge.

    Raises:
        InputError: where there is none of this name.
    """
    found = name.removeprefix(VALIDATION)
    if found not in ALL:
        raise InputError(unknown(f"{path}: tune.metric", name, ALL))
    return found


def rises(name: str) -> bool:
    """Tell whether more of a measure is better."""
    return name in (*RISING, *COSTS_RISING)


def is_cost(name: str) -> bool:
    """Tell whether a measure is of what training costs, not of what it reaches."""
    return name in COSTS

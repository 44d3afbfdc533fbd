"""Options drawn at random, each for itself, none twice.

Source: Bergstra and Bengio 2012, Random search for hyper-parameter optimization.
"""

from typing import Literal

import optuna

from hvdedge.options import Natural, Several
from hvdedge.proposals import Proposals
from hvdedge.search_space import Options, Space


def search(
    space: Space,
    first: Options | None,
    rises: bool,
    seed: int,
    trials: int,
    epochs: int,
    *,
    early_ending: Literal["asha", "never"] = "asha",
    min_epochs: Natural = 0,
    reduction_factor: Several = 3,
) -> Proposals:
    """Draw options at random; end trials early that lag behind.

    Args:
        early_ending: asha compares trials at epochs min_epochs * reduction_factor**rung and goes on with the best
            1 / reduction_factor of those that came there so far.
        min_epochs: 0: a ninth of the epochs.
    """
    return Proposals(
        *(space, first, rises, seed),
        lambda seed: optuna.samplers.RandomSampler(seed=seed),
        *(early_ending, min_epochs, reduction_factor, epochs),
    )

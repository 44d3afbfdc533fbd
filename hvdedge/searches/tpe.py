"""Options by what the trials so far reached: likely ones under the better trials, unlikely ones under the rest.

The first trials, a third of them or ten, are drawn at random. Trials that still run count as bad ones, so that others,
which run at the same time, are not drawn beside them.

Source: Bergstra et al. 2011, Algorithms for hyper-parameter optimization (tree-structured Parzen estimators).
"""

from typing import Literal

import optuna

from hvdedge.options import Natural, Several
from hvdedge.proposals import Proposals
from hvdedge.search_space import Options, Space

RANDOM_SHARE, MOST_RANDOM = 3, 10


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
    """Draw options near those of the best trials so far; end trials early that lag behind.

    Args:
        early_ending: asha compares trials at epochs min_epochs * reduction_factor**rung and goes on with the best
            1 / reduction_factor of those that came there so far.
        min_epochs: 0: a ninth of the epochs.
    """
    drawn = min(MOST_RANDOM, 1 + trials // RANDOM_SHARE)
    return Proposals(
        *(space, first, rises, seed),
        lambda seed: optuna.samplers.TPESampler(n_startup_trials=drawn, seed=seed),
        *(early_ending, min_epochs, reduction_factor, epochs),
    )

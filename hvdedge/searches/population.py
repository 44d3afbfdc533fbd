"""Population-based training: trials train side by side, and weak ones go on from the weights of strong ones.

All trials, the members of the population, are trained in turns of `interval` epochs, the one that is least far first.
Before its next turn a member that is among the worst fifth, by the value of its last turn, takes over weights, state of
the optimizer and options of one of the best fifth; of the options each is then made 1.2 times larger or smaller, moved
to a neighbour in its list, or, with `resample`, drawn anew. So options change while training goes on.

Source: Jaderberg et al. 2017, Population based training of neural networks (truncation selection; perturb, resample).
"""

import math
import random
from collections.abc import Iterable

from hvdedge.options import Count, Share
from hvdedge.search_space import Choice, Options, Range, Space
from hvdedge.trials import Copy, Trial

WHILE_TRAINING = True  # read from the source: options change then
SHARE = 0.2
FACTORS = (1 / 1.2, 1.2)


def search(
    space: Space,
    first: Options | None,
    rises: bool,
    seed: int,
    trials: int,
    epochs: int,
    *,
    interval: Count = 1,
    resample: Share = 0.25,
) -> "Population":
    """Train a population in turns; weak members copy weights and changed options of strong ones.

    Args:
        interval: epochs of a turn.
        resample: the chance that an option is drawn anew, not changed a little.
    """
    return Population(space, first, rises, seed, interval, resample)


class Population:
    """A search whose trials change their options while they train."""

    changes_while_training = True

    def __init__(self, space: Space, first: Options | None, rises: bool, seed: int, interval: int, resample: float):
        self._space, self._first, self._sign, self._seed = space, first, 1 if rises else -1, seed
        self._interval, self._resample = interval, resample

    def recall(self, trials: Iterable[Trial]) -> None:
        """Take in the trials of a run that was broken off: all is in the ledger."""

    def propose(self, number: int) -> Options | None:
        """Return the options of a new member."""
        if number == 0 and self._first is not None:
            return self._first
        drawing = random.Random(f"{self._seed} {number}")
        return {key: _drawn(one, drawing) for key, one in self._space.items()}

    def until(self, trial: Trial, epochs: int) -> int:
        """Return up to which epoch a member is trained now, of `epochs` in all."""
        return min(epochs, (trial.epochs // self._interval + 1) * self._interval)

    def renew(self, trial: Trial, others: Iterable[Trial]) -> int | None:
        """Change the options of a weak member to those of a strong one, a little changed; return that one's number."""
        rated = sorted(
            (one for one in others if one.value is not None and one.state != "failed"),
            key=lambda one: (self._sign * (one.value or 0.0), -one.number),
        )
        share = math.ceil(SHARE * len(rated))
        able = [
            one for one in rated[-share:] if one is not trial and not one.has_ended
        ]  # others leave nothing to learn
        if not able or trial not in rated[:share]:
            return None
        drawing = random.Random(f"{self._seed} {trial.number} {trial.epochs}")
        strong = drawing.choice(able)
        trial.options = {key: self._changed(key, value, drawing) for key, value in strong.options.items()}
        trial.copies.append(Copy(strong.kept_epochs, strong.number, trial.options))
        return strong.number

    def goes_on(self, trial: Trial) -> bool:
        """Tell whether a trial goes on after the newest value of its curve: each does."""
        return True

    def end(self, trial: Trial) -> None:
        """Take in that a trial ended: all is in the ledger."""

    def _changed(self, key: str, value: object, drawing: random.Random) -> object:
        one = self._space[key]
        if drawing.random() < self._resample:
            return _drawn(one, drawing)
        if isinstance(one, Choice):
            place = one.place(value) + drawing.choice((-1, 1))
            return one.values[min(max(place, 0), len(one) - 1)]
        factor = drawing.choice(FACTORS)
        moved = one.nearest(float(value) * factor)  # type: ignore[arg-type]
        if moved == value and one.unit:  # too small a change for its steps
            moved = one.nearest(float(value) + math.copysign(one.unit, factor - 1))  # type: ignore[arg-type]
        return moved


def _drawn(one: Choice | Range, drawing: random.Random) -> object:
    if isinstance(one, Choice):
        return drawing.choice(one.values)
    if one.log:
        return one.nearest(math.exp(drawing.uniform(math.log(one.low), math.log(one.high))))
    return one.nearest(drawing.uniform(one.low, one.high))

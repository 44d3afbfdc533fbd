"""Trials whose options Optuna proposes, one after the other, and which end early where others are ahead of them.

Early ending is asynchronous successive halving: at epochs min_epochs * reduction_factor**rung a trial goes on only if
it is among the best 1 / reduction_factor of those that came so far, or the best of fewer, and nobody waits for others.
It is the variant that stops: where the paper lets a trial rest, and go on should it be among the best later, this one
ends it. What is compared at a trial's last epoch would end nothing, so it is not.

What Optuna knows is in memory, and is told again from the ledger of a run that was broken off. Each proposal is drawn
with a seed of its number, so that a run that goes on does not draw again what it drew first.

Source: Li et al. 2020, A system for massively parallel hyperparameter tuning (ASHA); Akiba et al. 2019, Optuna.
"""

import random
from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from hvdedge.search_space import MOST_COMBINATIONS, Choice, Options, Range, Space, all_options, combinations
from hvdedge.trials import Trial

TRIES = 20
"""How often a combination is drawn that was not drawn before, until the rest of a small space is gone through."""


class Proposals:
    """A search whose trials are trained once, each with the options that it began with."""

    changes_while_training = False

    def __init__(
        self,
        space: Space,
        first: Options | None,
        rises: bool,
        seed: int,
        sampler: Callable[[int], optuna.samplers.BaseSampler],
        early_ending: Literal["asha", "never"],
        min_epochs: int,
        reduction_factor: int,
        epochs: int,
    ):
        """`first`: the options of the first trial; `sampler`: makes the one that draws with a seed."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        min_epochs = min_epochs or max(1, epochs // 9)
        halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=min_epochs, reduction_factor=reduction_factor)
        pruner = halving if early_ending == "asha" else optuna.pruners.NopPruner()
        self._study = optuna.create_study(direction="maximize" if rises else "minimize", pruner=pruner)
        self._space, self._first, self._seed, self._sampler = space, first, seed, sampler
        self._epochs = epochs
        self._distributions = {key: _distribution(one) for key, one in space.items()}
        self._known: dict[int, optuna.trial.Trial] = {}
        self._seen: set[str] = set()

    def recall(self, trials: Iterable[Trial]) -> None:
        """Take in the trials of a run that was broken off."""
        for trial in trials:
            params = {key: self._coded(key, value) for key, value in trial.options.items()}
            self._know(trial.number, params)
            curve, trial.curve = trial.curve, []
            for epoch, value in curve:
                trial.curve.append((epoch, value))
                self.goes_on(trial)
            if trial.has_ended:
                self.end(trial)

    def propose(self, number: int) -> Options | None:
        """Return the options of a new trial, which no other has; None where there are no more."""
        if not self._known and self._first is not None:
            params = {key: self._coded(key, value) for key, value in self._first.items()}
            self._know(number, params)
            return self._first
        if len(self._seen) >= combinations(self._space):
            return None
        for attempt in range(TRIES):
            drawn = int(np.random.SeedSequence([self._seed, number, attempt]).generate_state(1)[0])
            self._study.sampler = self._sampler(drawn)
            asked = self._study.ask(self._distributions)
            options = {key: self._value(key, value) for key, value in asked.params.items()}
            if repr(options) not in self._seen:
                self._remember(number, asked, options)
                return options
            self._study.tell(asked, state=TrialState.FAIL)
        if combinations(self._space) >= MOST_COMBINATIONS:
            return None
        left = [options for options in all_options(self._space) if repr(options) not in self._seen]
        options = random.Random(self._seed + number).choice(left)
        self._know(number, {key: self._coded(key, value) for key, value in options.items()})
        return options

    def until(self, trial: Trial, epochs: int) -> int:
        """Return up to which epoch a trial is trained now, of `epochs` in all."""
        return epochs

    def renew(self, trial: Trial, others: Iterable[Trial]) -> int | None:
        """Return the number of the trial whose weights this one is to take over; None where it keeps its own."""
        return None

    def goes_on(self, trial: Trial) -> bool:
        """Tell whether a trial goes on after the newest value of its curve."""
        known, (epoch, value) = self._known[trial.number], trial.curve[-1]
        known.report(value, epoch)
        return epoch >= trial.options.get("train.epochs", self._epochs) or not known.should_prune()

    def end(self, trial: Trial) -> None:
        """Take in that a trial ended."""
        known = self._known[trial.number]
        if trial.state == "complete" and trial.value is not None:
            self._study.tell(known, trial.value)
        else:
            pruned = trial.state == "pruned" and trial.curve
            self._study.tell(known, state=TrialState.PRUNED if pruned else TrialState.FAIL)

    def _know(self, number: int, params: dict[str, bool | int | float | str]) -> None:
        self._study.enqueue_trial(params)
        asked = self._study.ask(self._distributions)
        self._remember(number, asked, {key: self._value(key, value) for key, value in asked.params.items()})

    def _remember(self, number: int, asked: optuna.trial.Trial, options: Options) -> None:
        self._known[number] = asked
        self._seen.add(repr(options))

    def _coded(self, key: str, value: object) -> bool | int | float | str:
        """Return what stands for a value in Optuna, which knows no lists: its place among those of a choice."""
        one = self._space[key]
        if isinstance(one, Choice):
            return one.place(value)
        return value  # type: ignore[return-value]

    def _value(self, key: str, coded: object) -> object:
        one = self._space[key]
        return one.values[coded] if isinstance(one, Choice) else one.nearest(coded)  # type: ignore[call-overload, arg-type]


def _distribution(one: Choice | Range) -> BaseDistribution:
    if isinstance(one, Choice):
        return CategoricalDistribution(tuple(range(len(one.values))))
    high = one.low + (len(one) - 1) * one.unit if one.unit else one.high
    if one.is_whole:
        return IntDistribution(int(one.low), int(high), log=one.log, step=int(one.unit or 1))
    return FloatDistribution(float(one.low), float(high), log=one.log, step=one.step)

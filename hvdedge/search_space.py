"""What a search may choose: for each dotted key of a pipeline a list of values, or a range of numbers."""

import itertools
import math
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from hvdedge.errors import InputError

Value = bool | int | float | str | tuple
Options = dict[str, Any]
"""Dotted key -> the value that a trial has for it."""
MOST_COMBINATIONS = 100_000
SPELLED = "a list of values, or {low, high} with log or step"


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Value, ...]

    @property
    def examples(self) -> tuple[Value, ...]:
        """Values that stand for all: if these are allowed, so are the others."""
        return self.values

    def __contains__(self, value: Value) -> bool:
        return value in self.values

    def __len__(self) -> int:
        return len(self.values)

    def place(self, value: Any) -> int:
        """Return where a value, a list as JSON or as Python has it, stands among the others."""
        return self.values.index(tuple(value) if isinstance(value, list) else value)

    def all(self) -> tuple[Value, ...]:
        return self.values


@dataclass(frozen=True)
class Range:
    """A number between two, both included; whole where `is_whole`, and `step` apart from `low` on if it is given."""

    low: float
    high: float
    log: bool
    step: float | None
    is_whole: bool

    @property
    def examples(self) -> tuple[float, ...]:
        """Values that stand for all: if these are allowed, so are the others."""
        return self.low, self.high

    @property
    def unit(self) -> float:
        """What two neighbours are apart; 0 where there is none between any two numbers."""
        return self.step or (1 if self.is_whole and not self.log else 0)

    def __contains__(self, value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / (self.unit or 1)
        return not self.unit or abs(steps - round(steps)) < 1e-9

    def __len__(self) -> int:
        """How many numbers there are; more than can be gone through where they are not counted."""
        return int((self.high - self.low) / self.unit + 1e-9) + 1 if self.unit else MOST_COMBINATIONS

    def all(self) -> Iterator[float]:
        assert self.unit
        return (self.nearest(self.low + number * self.unit) for number in range(len(self)))

    def nearest(self, value: float) -> float:
        """Return the number of this range that is nearest to `value`."""
        value = min(max(value, self.low), self.high)
        if self.unit:
            value = self.low + min(round((value - self.low) / self.unit), len(self) - 1) * self.unit
        return round(value) if self.is_whole else value


Dimension = Choice | Range
Space = dict[str, Dimension]


class _Given(msgspec.Struct, forbid_unknown_fields=True):
    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None


def parse(path: pathlib.Path, given: Any) -> Space:
    """Return the space that a pipeline gives as `tune.space`; keys may be quoted, or tables in tables.

    Raises:
        InputError: where it is empty, or a key has neither a list nor a range.
    """
    if not isinstance(given, dict) or not given:
        raise InputError(
            f"{path}: tune.space: received {given or 'nothing'!r}, allowed: keys of the pipeline, each with {SPELLED}; "
            'name one, such as "train.learning_rate" = {low = 1e-4, high = 1e-2, log = true}'
        )
    return {key: _dimension(f"{path}: tune.space.{key}", value) for key, value in _flat(given)}


def _flat(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and not value.keys() & {"low", "high", "log", "step"} and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def _dimension(where: str, value: Any) -> Dimension:
    if isinstance(value, list):
        if not value or len({repr(one) for one in value}) < len(value):
            raise InputError(f"{where}: received {value!r}, allowed: a list of different values; change it")
        return Choice(tuple(tuple(one) if isinstance(one, list) else one for one in value))
    try:
        found = msgspec.convert(value, _Given)
    except msgspec.ValidationError as error:
        why = f" ({error})" if isinstance(value, Mapping) else ""
        raise InputError(f"{where}: received {value!r}{why}, allowed: {SPELLED}; change it") from None
    if not (math.isfinite(found.low) and math.isfinite(found.high) and found.low < found.high):
        raise InputError(f"{where}: received {value!r}, allowed: a low below its high, both finite; change them")
    if found.log and (found.low <= 0 or found.step is not None):
        raise InputError(f"{where}: received {value!r}, allowed with log: a low above 0 and no step; change it")
    if found.step is not None and not 0 < found.step <= found.high - found.low:
        raise InputError(f"{where}: received {value!r}, allowed: a step above 0 that fits between them; change it")
    numbers = [found.low, found.high, *([found.step] if found.step is not None else [])]
    is_whole = all(isinstance(number, int) for number in numbers)
    return Range(found.low, found.high, found.log, found.step, is_whole)


def as_written(space: Space) -> dict[str, Any]:
    """Return a space as TOML would hold it."""
    return {
        key: list(one.values)
        if isinstance(one, Choice)
        else {"low": one.low, "high": one.high, "log": one.log} | ({"step": one.step} if one.step else {})
        for key, one in space.items()
    }


def combinations(space: Space) -> int:
    """Return how many combinations of values there are, or MOST_COMBINATIONS where they are more than that."""
    return min(math.prod(len(one) for one in space.values()), MOST_COMBINATIONS)


def all_options(space: Space) -> Iterator[Options]:
    """Yield all combinations of a space that has fewer than MOST_COMBINATIONS."""
    for values in itertools.product(*(one.all() for one in space.values())):
        yield dict(zip(space, values, strict=True))

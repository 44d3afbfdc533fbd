"""Which of the unique column combinations is meant as the key of the table: those that look like one first.

A set of columns may be unique by chance. Three things speak for a key, each from 0 to 1, and their mean is the score:

    length     1 / columns
    value      1 / max(1, longest values together - 7 characters): a key is short enough to be typed
    position   (1 / (1 + columns left of the first one) + 1 / (1 + other columns between first and last)) / 2

No key has empty cells, so a set with one comes after all that have none, whatever its score.

Source: Papenbrock and Naumann 2017, Data-driven schema normalization (primary key selection).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hvdedge.coded import Coded

TYPED = 7  # characters more than which a key's values rarely have


@dataclass(frozen=True)
class Key:
    """A unique set of columns, by number, and what speaks for it; `missing` are the empty cells of its columns."""

    columns: tuple[int, ...]
    length: float
    value: float
    position: float
    missing: int

    @property
    def score(self) -> float:
        return (self.length + self.value + self.position) / 3


def rank(coded: Coded, sets: Iterable[Sequence[int]]) -> list[Key]:
    """Return the sets of columns, of which each rises, the likeliest key first; of equal ones the shorter."""
    keys = [_key(coded, tuple(columns)) for columns in sets]
    return sorted(keys, key=lambda key: (key.missing > 0, -key.score, len(key.columns), key.columns))


def _key(coded: Coded, columns: tuple[int, ...]) -> Key:
    if not columns:
        return Key(columns, 1.0, 1.0, 1.0, 0)
    longest = sum(coded.longest[column] for column in columns)
    between = columns[-1] - columns[0] + 1 - len(columns)
    position = (1 / (1 + columns[0]) + 1 / (1 + between)) / 2
    missing = sum(coded.missing[column] for column in columns)
    return Key(columns, 1 / len(columns), 1 / max(1, longest - TYPED), position, missing)

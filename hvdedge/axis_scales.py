"""Where values of any kind stand on an axis, from 0 at its beginning to 1 at its end, and what is written there.

Numbers stand in proportion, or by their logarithm where positive ones span more than two decades. A few numbers that
come again and again, as those of a list to choose from, stand at equal distances, as do texts.
Importing this costs matplotlib.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

from hvdedge.plot_style import STEPS
from hvdedge.report_tables import Column, plain
from hvdedge.runs import number

NAN = float("nan")
MOST_LEVELS = 6
MOST_TICKS = 12
FARTHEST = 1e100
"""Numbers beyond it have no place: they would leave no room for the others, and their distances overflow."""


@dataclass(frozen=True)
class Scale:
    """An axis; `ticks` are (place, text) from its beginning on.

    Attributes:
        kind: how its values are placed.
        place: the place of a value, 0 to 1; NaN for what has none.
    """

    kind: str
    place: Callable[[Any], float]
    ticks: list[tuple[float, str]]


def scale_of(values: Iterable[Any], column: Column, *, has_levels: bool = True, is_log: bool | None = None) -> Scale:
    """Return the axis on which these values of a column have room; None has no place.

    Args:
        has_levels: whether a few numbers that come again may stand at equal distances.
        is_log: whether the axis is logarithmic; None: where positive numbers span more than two decades.
    """
    known = [value for value in values if value is not None]
    if any(number(value) is None for value in known):
        return _levels(sorted({plain(value): value for value in known}.items()), column)
    numbers = [float(value) for value in known if abs(value) <= FARTHEST]
    different = sorted(set(numbers))
    is_few = has_levels and len(different) <= MOST_LEVELS and len(different) < len(numbers)
    if is_few or len(different) < 2:
        return _levels([(value, value) for value in different], column)
    if different[0] > 0 and (different[-1] / different[0] > 100 if is_log is None else is_log):
        return _logarithmic(different[0], different[-1], column)
    return _linear(different[0], different[-1], column)


def _levels(levels: list[tuple[Any, Any]], column: Column) -> Scale:
    """At equal distances, in this order: numbers by themselves, anything else by its text."""
    places = {name: at / (len(levels) - 1) if len(levels) > 1 else 0.5 for at, (name, _) in enumerate(levels)}
    is_text = any(isinstance(name, str) for name in places)
    every = math.ceil(len(levels) / MOST_TICKS) or 1
    ticks = [(places[name], column.text(value)) for name, value in levels[::every]]
    return Scale(
        "levels",
        lambda value: NAN if value is None else places.get(plain(value) if is_text else float(value), NAN),
        ticks,
    )


def _linear(low: float, high: float, column: Column) -> Scale:
    """From a round number to a round number."""
    rounds = [float(tick) for tick in MaxNLocator(nbins=4, steps=STEPS).tick_values(low, high)]
    low, high = min(low, rounds[0]), max(high, rounds[-1])
    digits = math.log10(max(abs(low), abs(high)) / (rounds[1] - rounds[0])) if len(rounds) > 1 else 0.0
    ticks = [((tick - low) / (high - low), _text(tick, column, digits)) for tick in rounds]
    return Scale("linear", lambda value: _inside(value, lambda known: (known - low) / (high - low)), ticks)


def _logarithmic(low: float, high: float, column: Column) -> Scale:
    """From the least to the greatest, with the powers of ten between them."""
    first, span = math.log10(low), math.log10(high) - math.log10(low)
    powers = range(math.ceil(first), math.floor(math.log10(high)) + 1)
    every = math.ceil(len(powers) / MOST_LEVELS)
    rounds = [10.0**power for power in powers[:: every or 1]]
    if len(rounds) < 2:
        rounds = [low, high]
    ticks = [((math.log10(tick) - first) / span, _text(tick, column, 0)) for tick in rounds]
    return Scale("log", lambda value: _inside(value, lambda known: (math.log10(known) - first) / span), ticks)


def _inside(value: float | None, place: Callable[[float], float]) -> float:
    return NAN if value is None or abs(value) > FARTHEST else min(1.0, max(0.0, place(value)))


def _text(value: float, column: Column, digits: float) -> str:
    """Return a round number with as many digits as tell it from its neighbours."""
    unit = {"percent": "%", "share": "%", "seconds": "s"}.get(column.kind)
    text = f"{100 * value if unit == '%' else value:,.{min(15, max(6, math.ceil(digits) + 1))}g}"
    return f"{text}\N{NO-BREAK SPACE}{unit}" if unit else text

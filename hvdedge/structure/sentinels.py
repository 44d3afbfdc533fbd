"""Numbers that stand for no number: 9999, -999 and the like, where they stand out of the column's distribution.

others: lowest ... highest                       sentinel
        |<---- width ---->|<-- at least 2 widths -->|

Where the others mostly end in a nine, as prices do, so would a number that is one of them.
"""

from collections.abc import Mapping

LEAST_CELLS = 2
LEAST_SHARE = 0.005  # of the column's numbers; fewer may be slips, which cleaning looks for
LEAST_WIDTHS = 2
MOST_NINES = 0.5  # of the other numbers that end in a nine


def repair(
    candidates: Mapping[float, int], numbers: int, lowest: float, highest: float, ending_in_nine: int = 0
) -> list[float]:
    """Return those of the candidates that are sentinels.

    Args:
        candidates: numbers made of nines -> how many cells have them.
        numbers: how many cells hold a number.
        lowest, highest: the range of all numbers but the candidates.
        ending_in_nine: how many of these have several digits, a nine the last.
    """
    width = highest - lowest
    if ending_in_nine > MOST_NINES * (numbers - sum(candidates.values())):
        return []
    return [
        value
        for value, count in sorted(candidates.items())
        if is_frequent(count, numbers) and width > 0 and max(lowest - value, value - highest) >= LEAST_WIDTHS * width
    ]


def is_frequent(count: int, numbers: int) -> bool:
    """Tell whether so many cells, of those that hold a number, are more than slips."""
    return count >= max(LEAST_CELLS, LEAST_SHARE * numbers)

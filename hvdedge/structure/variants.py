"""Spellings of the same category: "Berlin", "berlin", "BERLIN"; "New-York", "new york"."""

import re
import unicodedata
from collections.abc import Mapping

RARE = 0.05  # one letter may well differ from its capital; a spelling as rare as that is a slip
_BETWEEN = re.compile(r"(?<=[^\W\d_])[\s_\-]+(?=[^\W\d_])")


def repair(levels: Mapping[str, int]) -> dict[str, str]:
    """Return spelling -> the most frequent spelling of the same category, where the two differ.

    Spellings are of the same category where only case, forms of Unicode and the marks between words differ. Of equally
    frequent ones that with capitals inside words is taken last, then the alphabet decides.

    Args:
        levels: all values of the column, in one form (see values.py) -> how many cells have them.
    """
    groups: dict[str, list[str]] = {}
    for level in levels:
        groups.setdefault(_key(level), []).append(level)
    result = {}
    for group in groups.values():
        best = min(group, key=lambda level: (-levels[level], level.isupper() or level.islower(), level))
        for level in group:
            is_letter = len(level) == 1 and levels[level] > RARE * levels[best]
            if level != best and not is_letter:
                result[level] = best
    return result


def _key(level: str) -> str:
    folded = unicodedata.normalize("NFKC", level).casefold()
    return _BETWEEN.sub(" ", folded).strip()

"""Columns that are aligned by blanks, without any delimiter.

id   name    price
1    anna     1.50        a place where (nearly) all lines have a blank may part two columns;
22   bert    12.25        it does where it is wide, or the cells beside it begin or end in line
    |       |
"""

from collections.abc import Sequence

import numpy as np

MOST_LINES = 500
LEAST_LINES = 3
LINES_BY_CHANCE = 8
HEAD_LINES = 3
BLANK = 0.02  # the share of lines that may have a sign between two columns: titles, notes
SURELY = 0.9  # the share of lines that touch the edge of a column, or fill one
FILLED = 0.4


def find_cuts(lines: Sequence[str]) -> tuple[int, ...] | None:
    """Return the places at which `lines` are to be cut into columns, None where their words are not aligned."""
    lines = [line.rstrip("\r\n ") for line in lines]
    lines = [line for line in lines if any(map(str.isalnum, line))]
    lines = lines[:: max(len(lines) // MOST_LINES, 1)][:MOST_LINES]
    if len(lines) < LEAST_LINES or any("\t" in line for line in lines):
        return None
    width = max(map(len, lines))
    signs = np.zeros((len(lines), width), bool)
    for place, line in enumerate(lines):
        signs[place, : len(line)] = [sign != " " for sign in line]
    share = signs.mean(axis=0)
    blank = np.concatenate([[True], share <= BLANK, [True]])
    begins = np.flatnonzero(blank[:-1] & ~blank[1:])
    ends = np.flatnonzero(~blank[:-1] & blank[1:])
    filled = [signs[:, begin:end].any(axis=1).mean() for begin, end in zip(begins, ends, strict=True)]
    cuts = []
    for place in range(len(begins) - 1):
        end, begin = int(ends[place]), int(begins[place + 1])
        if begin - end == 1 and len(lines) < LINES_BY_CHANCE:  # a single blank stands between words, too
            continue
        least = SURELY if begin - end == 1 else FILLED
        if share[end - 1] >= SURELY and least <= filled[place + 1]:
            cut = end  # numbers may grow to the left
        elif share[begin] >= least and filled[place + 1] >= least:
            cut = begin
        elif begin - end > 1 and filled[place + 1] >= FILLED:
            cut = (end + begin) // 2
        else:
            continue
        # the names above may begin or end elsewhere
        split = {k: sum(_splits(line, k) for line in lines[:HEAD_LINES]) for k in range(end, begin + 1)}
        cuts.append(min(split, key=lambda k: (split[k], abs(k - cut))))
    return tuple(cuts) or None


def _splits(line: str, place: int) -> bool:
    """Tell whether a cut at `place` goes through a word."""
    return not line[place - 1 : place + 1].count(" ") and place < len(line)

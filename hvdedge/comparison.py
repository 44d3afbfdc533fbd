"""How alike two records are, column by column: a level for Fellegi and Sunter's model, a similarity for a threshold.

    level       text                              number                 date
    15 EQUAL    equal                             equal                  equal
    6 EDITED    one edit; swapped with another    one edit of its digits day and month swapped
    5           0.8; sounds alike; same words     within 1 %             one edit of yyyymmdd
    4           0.65; words 0.6                   within 5 %             two of year, month, day
    3           is a beginning or word of it      within 20 %            within 31 days
    2           0.5; words 0.35                   -                      same year
    1 OTHER     all else
    0 UNKNOWN   a cell is missing on either side

Long texts and arrays have levels 2 to 14 for a cosine of their words from 0.05 to 0.9, a similarity from 0.5 to 0.995.

Text is compared by its optimal string alignment (insert, delete, replace, swap two neighbours) over the longer's
length, long text by the cosine of its words' TF-IDF, arrays by Ruzicka's similarity: sum min(a, b) / sum max(a, b)
with their smallest number taken as 0, so that the background that all images share does not make them alike.

Source: Ruzicka 1958 (also weighted Jaccard); Boytsov 2011, Indexing methods for approximate dictionary searching
(OSA).
"""

from itertools import combinations

import numpy as np

from hvdedge.fields import MISSING, Field, Rows

UNKNOWN, OTHER, EDITED, EQUAL = 0, 1, 6, 15
LEVELS = 16
FAR = 0.5  # a similarity below is not computed
ARRAY_LEVELS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.84, 0.88, 0.91, 0.93, 0.95, 0.97, 0.985, 0.995)  # levels 2 to 14
WORD_LEVELS = (0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.36, 0.43, 0.5, 0.6, 0.75, 0.9)  # levels 2 to 14
NUMBER_LEVELS = (0.2, 0.05, 0.01)


def levels(fields: list[Field], rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return for the pairs of records `rows[a]` and `rows[b]` the level of each field: uint8 (pairs, fields)."""
    found = np.zeros((len(a), len(fields)), np.uint8)
    kinds = {
        "array": _array_levels, "text": _text_levels, "number": _number_levels, "date": _date_levels
    }  # fmt: skip
    for number, field in enumerate(fields):
        found[:, number] = kinds[field.kind](field, number, rows, a, b)
    texts = [number for number, field in enumerate(fields) if field.kind == "text" and "t" in field.parts]
    left = {number: rows[f"h{number}"][a] for number in texts}
    right = {number: rows[f"h{number}"][b] for number in texts}
    for one, other in combinations(texts, 2):
        crossed = np.flatnonzero((left[one] == right[other]) | (left[other] == right[one]))
        differ = crossed[((found[crossed][:, [one, other]] - np.uint8(1)) < 3).all(axis=1)]
        swapped = differ[_are_swapped(one, other, rows, a[differ], b[differ])]
        found[swapped, one] = found[swapped, other] = EDITED
    return found


def good(field: Field) -> int:
    """Return the level from which on two cells are as good as equal."""
    return 11 if field.kind == "array" or "t" not in field.parts else 5


def is_long(field: Field) -> bool:
    """Tell whether a field is a text that is compared by its words only."""
    return "w" in field.parts and "t" not in field.parts


def closeness(fields: list[Field], rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the mean cosine of the pairs' long texts, 0 to 1, which orders pairs of the same levels; float32."""
    long = [number for number, field in enumerate(fields) if is_long(field)]
    total = np.zeros(len(a))
    for number in long:
        total += _cosine(number, rows, a, b)
    return (total / max(len(long), 1)).astype(np.float32)


def similarities(fields: list[Field], rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return how alike the pairs are in each field, 0 to 1, NaN where a cell is missing: float64 (pairs, fields)."""
    found = np.empty((len(a), len(fields)))
    for number, field in enumerate(fields):
        if field.kind == "array":
            found[:, number] = _ruzicka(rows[f"p{number}"], a, b)
            continue
        x, y = rows[f"h{number}"][a], rows[f"h{number}"][b]
        known = (x != 0) & (y != 0)
        alike = (x == y).astype(np.float64)
        differ = np.flatnonzero(known & (x != y))
        left, right = a[differ], b[differ]
        if field.kind != "text" and field.wide > 0:
            alike[differ] = 1 - np.abs(rows[f"v{number}"][left] - rows[f"v{number}"][right]) / field.wide
        elif "t" in field.parts:
            alike[differ] = _similarity(rows[f"t{number}"][left], rows[f"t{number}"][right])[0]
        else:
            alike[differ] = _cosine(number, rows, left, right)
        found[:, number] = np.where(known, alike, np.nan)
    return found


def _known(number: int, rows: Rows, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the level of each pair as far as hashes tell, and the places of those that differ."""
    x, y = rows[f"h{number}"][a], rows[f"h{number}"][b]
    level = np.where(x == y, EQUAL, OTHER).astype(np.uint8)
    level[(x == 0) | (y == 0)] = UNKNOWN
    return level, np.flatnonzero(level == OTHER)


def _text_levels(field: Field, number: int, rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    level, differ = _known(number, rows, a, b)
    if "w" in field.parts:
        cosine = _cosine(number, rows, a[differ], b[differ])
        if is_long(field):
            level[differ] = OTHER + np.searchsorted(WORD_LEVELS, cosine, side="right")
            return level
        level[differ] = np.select([cosine >= 0.98, cosine >= 0.6, cosine >= 0.35], [5, 4, 2], OTHER)
    level[differ] = np.maximum(level[differ], _edited(number, rows, a[differ], b[differ]))
    sounds = rows[f"s{number}"]
    alike = (sounds[a[differ]] == sounds[b[differ]]) & (level[differ] < 5)
    level[differ[alike]] = 5
    return level


def _are_swapped(one: int, other: int, rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return whether one cell of each pair is that of the other column on the other side, and the reverse nearly so."""
    here, there = rows[f"h{one}"], rows[f"h{other}"]
    first, second = here[a] == there[b], there[a] == here[b]
    found = first & second
    half = np.flatnonzero(first ^ second)
    left, right, is_first = a[half], b[half], first[half]
    x, y = np.where(is_first, right, left), np.where(is_first, left, right)  # one of x beside other of y
    found[half] = _edited((one, other), rows, x, y) > 2
    return found


def _edited(number: int | tuple[int, int], rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the level of texts that differ, by their letters; two numbers for a column on each side."""
    one, other = (number, number) if isinstance(number, int) else number
    level = np.full(len(a), OTHER, np.uint8)
    texts, others = rows[f"t{one}"], rows[f"t{other}"]
    x, y = rows[f"g{one}"][a], rows[f"g{other}"][b]
    apart = (np.bitwise_count(x ^ y) + np.uint8(1)) // np.uint8(2)  # no fewer edits than that
    longest = 2 * np.maximum(np.bitwise_count(x), np.bitwise_count(y))  # a guess: letters come twice
    close = np.flatnonzero((apart <= 1) | (apart <= (1 - FAR) * longest))
    left, right = texts[a[close]], others[b[close]]
    if _is_ascii(left) and _is_ascii(right):  # elsewhere one edit may change more letters
        lengths = np.strings.str_len(left), np.strings.str_len(right)
        fewest = np.maximum(apart[close], np.abs(lengths[0] - lengths[1]))
        near = fewest <= (1 - FAR) * np.maximum(*lengths)
        close, left, right = close[near], left[near], right[near]
    similarity, distance = _similarity(left, right)
    held = np.select([similarity >= 0.8, similarity >= 0.65, similarity >= FAR], [5, 4, 2], OTHER)
    held[(distance == 1) & (similarity >= FAR)] = 6
    level[close] = held
    inside = np.flatnonzero((((x & y) == x) | ((x & y) == y)) & (level < 4))
    if len(inside):
        left, right = texts[a[inside]], others[b[inside]]
        swap = np.strings.str_len(left) > np.strings.str_len(right)
        short, long = np.where(swap, right, left), np.where(swap, left, right)
        begins = np.strings.startswith(long, short)
        padded, word = (np.strings.add(np.strings.add(b" ", text), b" ") for text in (long, short))
        is_word = np.strings.find(padded, word) >= 0
        level[inside[begins | is_word]] = 3
    return level


def _similarity(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarity of texts, 0 to 1, and their distance in edits."""
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    if not len(left):
        return np.empty(0), np.empty(0, np.int64)
    distance = process.cpdist(_decoded(left), _decoded(right), scorer=OSA.distance, dtype=np.int32)
    longest = np.maximum(np.strings.str_len(left), np.strings.str_len(right))
    return 1 - distance / np.maximum(longest, 1), distance


def _decoded(texts: np.ndarray) -> list:
    """Return texts for rapidfuzz, which takes bytes as well: as letters only where there are others than ASCII."""
    held = texts.tolist()
    return held if _is_ascii(texts) else [text.decode(errors="ignore") for text in held]


def _is_ascii(texts: np.ndarray) -> bool:
    return bool(np.ascontiguousarray(texts).view(np.uint8).max(initial=0) < 128)


def _cosine(number: int, rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of the texts' words, each weighted by its rarity."""
    found = np.empty(len(a))
    words, rarity, length = (rows[f"{part}{number}"] for part in "win")
    for start in range(0, len(a), 8192):
        here = slice(start, start + 8192)
        left, right = words[a[here]], words[b[here]]
        weights = rarity[a[here]].astype(np.int64) ** 2
        common = np.zeros(len(left), np.int64)
        for place in range(words.shape[1]):
            word = left[:, place]
            if not word.any():
                break
            common += weights[:, place] * ((right == word[:, None]).any(axis=1) & (word != 0))
        found[here] = common / np.maximum(length[a[here]].astype(np.float64) * length[b[here]], 1)
    return found


def _number_levels(field: Field, number: int, rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    level, differ = _known(number, rows, a, b)
    if "t" in field.parts:
        level[differ] = np.where((edited := _edited(number, rows, a[differ], b[differ])) == 6, 6, OTHER)
        del edited
    values = rows[f"v{number}"]
    x, y = values[a[differ]], values[b[differ]]
    apart = np.abs(x - y) / np.maximum(np.maximum(np.abs(x), np.abs(y)), 1e-300)
    near = np.select([apart <= limit for limit in NUMBER_LEVELS[::-1]], [5, 4, 3], OTHER).astype(np.uint8)
    level[differ] = np.maximum(level[differ], near)
    return level


def _date_levels(field: Field, number: int, rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    level, differ = _known(number, rows, a, b)
    if not len(differ):
        return level
    texts, days = rows[f"t{number}"], rows[f"v{number}"]
    left, right = (np.char.ljust(texts[side[differ]], 8, b"0").astype(np.int64) for side in (a, b))
    (y1, m1, d1), (y2, m2, d2) = ((value // 10000, value // 100 % 100, value % 100) for value in (left, right))
    same = (y1 == y2).astype(np.int8) + (m1 == m2) + (d1 == d2)
    apart = np.abs(days[a[differ]] - days[b[differ]])
    held = np.select(
        [(y1 == y2) & (m1 == d2) & (d1 == m2), same == 2, apart <= 31, y1 == y2], [6, 4, 3, 2], OTHER
    ).astype(np.uint8)
    one = (_edited(number, rows, a[differ], b[differ]) == 6) & (held < 6)
    level[differ] = np.where(one, 5, held)
    return level


def _array_levels(field: Field, number: int, rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    alike = _ruzicka(rows[f"p{number}"], a, b)
    level = OTHER + np.searchsorted(ARRAY_LEVELS, alike, side="right")
    return np.where(np.isnan(alike), UNKNOWN, level).astype(np.uint8)


def _ruzicka(cells: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the similarity of arrays, NaN where less than half of the cells are there on both sides."""
    found = np.full(len(a), np.nan)
    for start in range(0, len(a), 8192):
        here = slice(start, start + 8192)
        x, y = cells[a[here]], cells[b[here]]
        both = (x != MISSING) & (y != MISSING)
        shared = (np.minimum(x, y) * both).sum(axis=1, dtype=np.int64)
        all_there = (np.maximum(x, y) * both).sum(axis=1, dtype=np.int64)
        alike = np.where(all_there > 0, shared / np.maximum(all_there, 1), 1.0)
        found[here] = np.where(2 * both.sum(axis=1) >= cells.shape[1], alike, np.nan)
    return found

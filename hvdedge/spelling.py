"""Misspelt words of a column, found by its frequent words and values.

A word is a run of letters between blanks. One that is rare is taken for a misspelling of a frequent word where that is
at least `RATIO` times as frequent and a few edits away: one for 4 to 7 letters, two for 8 to 11, and so on. A rare
value, with its words mended, is then taken for a frequent one at most an eighth of its letters away, where the words
that tell them apart are letters only and rare: a blank may be lost, but `north` is not a misspelling of `south`.

Names and free text have rare words by nature, and some of these are near frequent ones by chance (jon, john). How many
is estimated from the column itself. Where a share d of its frequent words has another frequent word nearby, and there
are r rare words with no frequent word nearby, about r * d / (1 - d) rare words that are right have one too, so

    confidence = 1 - r * d / (1 - d) / (rare words near a frequent one),   d = (frequent pairs + 1) / (frequent + 2)

In a column with a closed vocabulary r is near 0 and all are misspellings; in one of first names nearly none. It is the
same for values.

Source: Damerau 1964, A technique for computer detection and correction of spelling errors; Kernighan et al. 1990, A
spelling correction program based on a noisy channel model (rare words against frequent ones).
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.parallel import allgather_rows, block

LEAST_LETTERS = 4
LETTERS_PER_EDIT, LETTERS_PER_EDIT_OF_VALUE = 4, 8
MOST_EDITS = 6
LEAST_COUNT = 10  # of a frequent word
RATIO = 20
FREQUENT_WORDS, RARE_WORDS = 2000, 20_000  # no more are compared
CHUNK = 500
SPARSE_SHARE = 0.5  # a column of which more of the cells are different holds names or free text
WORD = re.compile(r"\S+")


def misspellings(values: pa.Array, counts: np.ndarray, comm: MPI.Intracomm) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Collective. Return which values of a column are misspelt, how they should be spelt, and the confidence.

    Args:
        values, counts: the different values, text, and how often each is there; the same on all ranks.
    Returns:
        The places of the misspelt values, rising; the right spelling of each; a confidence of 0 to 1 for each.
    """
    if not len(values) or len(values) > SPARSE_SHARE * counts.sum():
        return np.empty(0, np.int64), [], np.empty(0)
    texts: list[str] = values.to_pylist()
    of_text = dict(zip(texts, counts.tolist(), strict=True))
    of_word: Counter[str] = Counter()
    for text, count in of_text.items():
        of_word.update(dict.fromkeys(WORD.findall(text), count))
    letters = {word: count for word, count in of_word.items() if len(word) >= LEAST_LETTERS and word.isalpha()}
    mended, word_confidence = _mend(letters, LETTERS_PER_EDIT, lambda one, other: True, comm)
    spelt = {text: WORD.sub(lambda found: mended.get(found[0], found[0]), text) for text in texts}
    of_spelt: Counter[str] = Counter()
    for text, count in of_text.items():
        of_spelt[spelt[text]] += count

    def by_rare_words(one: str, other: str) -> bool:
        apart = {*WORD.findall(one)} - {*WORD.findall(other)}
        return all(word.isalpha() and RATIO * of_word.get(word, 0) <= of_spelt[other] for word in apart)

    whole, value_confidence = _mend(of_spelt, LETTERS_PER_EDIT_OF_VALUE, by_rare_words, comm)
    places, right, confidence = [], [], []
    for place, text in enumerate(texts):
        one, steps = spelt[text], [word_confidence] * (spelt[text] != text)
        if one in whole and (not steps or value_confidence >= word_confidence):
            one, steps = whole[one], [*steps, value_confidence]
        if steps:
            places.append(place)
            right.append(one)
            confidence.append(min(steps))
    return np.array(places, np.int64), right, np.array(confidence, np.float64)


def _mend(
    counts: Mapping[str, int], letters_per_edit: int, may: Callable[[str, str], bool], comm: MPI.Intracomm
) -> tuple[dict[str, str], float]:
    """Collective. Return rare word -> the frequent word that it misspells, and the confidence.

    Args:
        counts: how often each word is there.
        may: whether the first word may be a misspelling of the second, near as it is.
    """
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    frequent = [word for word in ordered if counts[word] >= LEAST_COUNT][:FREQUENT_WORDS]
    rare = [word for word in ordered if RATIO * counts[word] <= counts[ordered[0]]][:RARE_WORDS]
    if not frequent or not rare:
        return {}, 0.0
    of_rare = _nearest(rare, frequent, counts, letters_per_edit, RATIO, comm)
    of_frequent = _nearest(frequent, frequent, counts, letters_per_edit, 0, comm)
    near = {word: frequent[place] for word, place in zip(rare, of_rare.tolist(), strict=True) if place >= 0}
    near = {word: right for word, right in near.items() if may(word, right)}
    pairs = sum(
        place >= 0 and may(word, frequent[place]) for word, place in zip(frequent, of_frequent.tolist(), strict=True)
    )
    density = (pairs + 1) / (len(frequent) + 2)
    by_chance = (len(rare) - len(near)) * density / (1 - density)
    return near, max(1 - by_chance / len(near), 0.0) if near else 0.0


def _nearest(
    words: Sequence[str],
    frequent: Sequence[str],
    counts: Mapping[str, int],
    letters_per_edit: int,
    ratio: int,
    comm: MPI.Intracomm,
) -> np.ndarray:
    """Collective. Return for each word the place of the frequent word fewest edits away, the most frequent of equals;
    -1 where none is near and `ratio` times as frequent. Each rank looks at its block of the words."""
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import cdist

    mine = words[block(len(words), comm.size, comm.rank)]
    weights = np.array([counts[word] for word in frequent], np.int64)
    found = [np.empty(0, np.int64)]
    for start in range(0, len(mine), CHUNK):
        part = mine[start : start + CHUNK]
        allowed = np.array([min(len(word) // letters_per_edit, MOST_EDITS) for word in part])[:, None]
        edits = cdist(part, frequent, scorer=OSA.distance, score_cutoff=MOST_EDITS, dtype=np.int32)
        is_near = (edits <= allowed) & (edits > 0)
        is_near &= weights >= ratio * np.array([counts[word] for word in part], np.int64)[:, None]
        edits = np.where(is_near, edits, np.iinfo(np.int32).max)
        found.append(np.where(is_near.any(axis=1), edits.argmin(axis=1), -1))
    return allgather_rows(np.concatenate(found), comm)

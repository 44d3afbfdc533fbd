"""Byte-pair encoding: the most frequent pair of neighbouring symbols in words becomes one symbol, again and again.

Each rank has a share of the words; what a merge changes in the counts of pairs is added up over the ranks, so all of
them know the same counts and take the same pair. Of equally frequent pairs that of older symbols is taken.

Pairs that have no symbol in common are taken in one round, and are the same as one by one: taking (a, b) lessens the
counts of pairs with a or b only, and a pair with the new symbol is at most as frequent as one with a or b that was
there before, at which the round ends. With a = b that one may be (a, a) itself: such a pair is the last of its round.

Source: Sennrich, Haddow and Birch 2016, Neural machine translation of rare words with subword units.
"""

import numpy as np
from mpi4py import MPI

from hvdedge.parallel import allgather_rows

UNKNOWN = 1  # a symbol that is never merged
LOOKED_AT = 256  # pairs in a round
SHIFT = 32  # a pair of symbols in one int64
NEVER = np.iinfo(np.int64).max


def learn(
    symbols: np.ndarray, word: np.ndarray, counts: np.ndarray, first: int, merges: int, least: int, comm: MPI.Intracomm
) -> list[list[int]]:
    """Collective. Return the pairs to merge, in order; the symbol that the i-th becomes is `first + i`.

    Args:
        symbols, word: the symbols of this rank's words, int64, one word after the other, and which word each is of;
            a symbol of 1 is never merged.
        counts: how often each word is there.
        merges: how many pairs at most.
        least: how often a pair has to be there.
    """
    made: list[list[int]] = []
    pairs, held = np.empty(0, np.int64), np.empty(0, np.int64)
    changes = _count(symbols, word, counts)
    while True:
        pairs, held = _add(pairs, held, allgather_rows(changes, comm))
        taken = _take(pairs, held, least, merges - len(made))
        if not taken:
            return made
        partner, becomes = np.full((2, first + len(made)), -1)
        for number, (left, right) in enumerate(taken, first + len(made)):
            partner[left], becomes[left] = right, number
        hit = _is_within(word) & (partner[symbols[:-1]] == symbols[1:])
        changed = np.isin(word, word[:-1][hit])
        before = _count(symbols[changed], word[changed], -counts)
        symbols, kept = _merge(symbols, hit, becomes[symbols[:-1]])
        word, changed = word[kept], changed[kept]
        changes = np.concatenate([before, _count(symbols[changed], word[changed], counts)])
        made += taken


def join_pairs(symbols: np.ndarray, word: np.ndarray, merges: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the symbols of words, and the word of each, after all merges that were learnt, in their order.

    Args:
        symbols, word: as for `learn`.
        merges: int64 (merges, 2).
    """
    keys = (merges[:, 0] << SHIFT) | merges[:, 1]
    order = np.argsort(keys, kind="stable")
    keys = np.append(keys[order], NEVER)
    order = np.append(order, NEVER)
    while len(symbols) > 1:
        found = (symbols[:-1] << SHIFT) | symbols[1:]
        place = np.searchsorted(keys, found)
        rank = np.where((keys[place] == found) & _is_within(word), order[place], NEVER)
        if (rank == NEVER).all():
            break
        starts = np.flatnonzero(np.diff(word, prepend=-1))
        soonest = np.minimum.reduceat(np.append(rank, NEVER), starts)
        of_word = np.repeat(soonest, np.diff(np.append(starts, len(word))))[:-1]
        symbols, kept = _merge(symbols, (rank != NEVER) & (rank == of_word), first + np.minimum(rank, len(merges)))
        word = word[kept]
    return symbols, word


def _is_within(word: np.ndarray) -> np.ndarray:
    """Return whether each symbol but the last, and the one behind it, are of the same word."""
    return word[:-1] == word[1:]


def _count(symbols: np.ndarray, word: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return (pair, how often it is there) of neighbours, int64 (pairs, 2)."""
    left, right = symbols[:-1], symbols[1:]
    counted = _is_within(word) & (left != UNKNOWN) & (right != UNKNOWN)
    found, which = np.unique((left[counted] << SHIFT) | right[counted], return_inverse=True)
    sums = np.zeros(len(found), np.int64)
    np.add.at(sums, which, counts[word[:-1][counted]])
    return np.stack([found, sums], axis=1)


def _add(pairs: np.ndarray, held: np.ndarray, changes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs, sorted, and their counts after changes; those that are gone are left out."""
    found, which = np.unique(changes[:, 0], return_inverse=True)
    sums = np.zeros(len(found), np.int64)
    np.add.at(sums, which, changes[:, 1])
    place = np.searchsorted(pairs, found)
    is_known = np.append(pairs, NEVER)[place] == found
    held[place[is_known]] += sums[is_known]
    pairs, held = (np.insert(old, place[~is_known], new[~is_known]) for old, new in ((pairs, found), (held, sums)))
    return pairs[held > 0], held[held > 0]


def _take(pairs: np.ndarray, held: np.ndarray, least: int, most: int) -> list[list[int]]:
    """Return the pairs of the next round in order: the most frequent ones up to the first that shares a symbol."""
    chosen = np.flatnonzero(held >= max(least, 1))
    if len(chosen) > LOOKED_AT:
        chosen = chosen[held[chosen] >= np.partition(held[chosen], -LOOKED_AT)[-LOOKED_AT]]
    left, right = pairs[chosen] >> SHIFT, pairs[chosen] & ((1 << SHIFT) - 1)
    taken: list[list[int]] = []
    used: set[int] = set()
    for place in np.lexsort((right, left, np.maximum(left, right), -held[chosen]))[:LOOKED_AT]:
        pair = [int(left[place]), int(right[place])]
        if len(taken) >= most or used & {*pair}:
            break
        taken.append(pair)
        used |= {*pair}
        if pair[0] == pair[1]:
            break
    return taken


def _merge(symbols: np.ndarray, hit: np.ndarray, becomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the symbols after merging, and which of those before are kept.

    Args:
        hit: whether each but the last is to be merged with the one behind it; of a run (a a a) every other one is.
        becomes: what each but the last then is.
    """
    places = np.flatnonzero(hit)
    starts = np.diff(places, prepend=-2) != 1
    within = np.arange(len(places)) - np.flatnonzero(starts)[np.cumsum(starts) - 1]
    places = places[within % 2 == 0]
    symbols, kept = symbols.copy(), np.ones(len(symbols), bool)
    symbols[places] = becomes[places]
    kept[places + 1] = False
    return symbols[kept], kept

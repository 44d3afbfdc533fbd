"""All minimal sets that have an element in common with each of some sets: minimal hitting sets, or transversals.

Sets are whole numbers, bit b for element b. The search goes along a set that is not hit yet and takes each of its
elements in turn; an element stays only as long as each one taken before still is the only one to hit some set (its
critical sets), which makes all that is found minimal, and each is found once.

Source: Murakami and Uno 2014, Efficient algorithms for dualizing large-scale hypergraphs (MMCS).
"""

from collections.abc import Callable, Sequence

import numpy as np

from hvdedge.mixing import mix

SPLIT_AT = 2  # elements taken, from which on a branch belongs to one rank
CHECKED = 256  # branches between two looks at the clock
TRIED, WORTH = 16, 0.025  # of so many small sets, what they must take out of the others for the next ones to be tried
Share = tuple[int, int]


class Stopped(Exception):
    """The search was told to stop before its end."""


class Search:
    """One search for hitting sets.

    Attributes:
        found: the minimal hitting sets of up to `most` elements, of this rank's share.
        is_cut: whether a branch ended because of `most`, so that there may be larger ones.
    """

    def __init__(self, sets: np.ndarray, elements: int, most: int, share: Share, is_over: Callable[[], bool]):
        """Search.

        Args:
            sets: uint64 (sets, words), all made of `elements`.
            share: (rank, size): the branches are dealt over so many ranks; (0, 1) for all.
            is_over: whether to give up.
        """
        self.found: list[int] = []
        self.is_cut = False
        sets = sets[np.argsort(np.bitwise_count(sets).sum(axis=1), kind="stable")]
        self._sets = to_ints(sets)
        self._most = most
        self._rank, self._size = share
        self._is_over = is_over
        self._steps = 0
        self._misses = _missing(sets, elements)
        if not self._sets or self._sets[0]:
            self._go(0, [], (1 << len(self._sets)) - 1, elements)

    def _is_mine(self, taken: int) -> bool:
        return ((taken & -taken).bit_length() + taken.bit_length()) % self._size == self._rank

    def _go(self, taken: int, critical: list[int], left: int, allowed: int) -> None:
        depth = len(critical)
        if not left:
            if depth >= SPLIT_AT or self._is_mine(taken):
                self.found.append(taken)
            return
        if depth >= self._most:
            self.is_cut = True
            return
        self._steps += 1
        if self._steps % CHECKED == 0 and self._is_over():
            raise Stopped
        chosen = self._sets[(left & -left).bit_length() - 1]
        branch = chosen & allowed
        allowed &= ~chosen
        is_last = self.is_cut and depth + 1 == self._most  # an element that does not hit all that is left, ends there
        while branch:
            element = branch & -branch
            branch ^= element
            misses = self._misses[element]
            rest = left & misses
            if not (is_last and rest):
                still = [each & misses for each in critical]
                if all(still) and (depth + 1 != SPLIT_AT or self._is_mine(taken | element)):
                    self._go(taken | element, [*still, left ^ rest], rest, allowed)
            allowed |= element


def _missing(sets: np.ndarray, elements: int) -> dict[int, int]:
    """Return element -> the numbers of the sets that do not have it, as a whole number; elements as 1 << bit."""
    found, words = {}, np.ascontiguousarray(sets.T)
    for bit in bits(elements):
        has_not = words[bit // 64] & np.uint64(1 << bit % 64) == 0
        found[1 << bit] = int.from_bytes(np.packbits(has_not, bitorder="little").tobytes(), "little")
    return found


def unique(sets: np.ndarray) -> np.ndarray:
    """Return the sets, uint64 (sets, words), each once, in an order that they alone decide.

    Those of several words are sorted by a hash, many times as fast as by all their words. Should different sets ever
    have the same one, all of them stay, though one may stay twice.
    """
    if sets.shape[1] == 1:
        rows = np.sort(sets, axis=0)  # several times as fast as numpy's unique
        return rows[np.concatenate([np.ones(min(len(rows), 1), bool), rows[1:, 0] != rows[:-1, 0]])]
    keys = np.zeros(len(sets), np.uint64)
    for word in sets.T:
        keys = mix(keys + word)
    rows = sets[np.argsort(keys, kind="stable")]
    return rows[np.concatenate([np.ones(min(len(rows), 1), bool), (rows[1:] != rows[:-1]).any(axis=1)])]


def reduced(sets: np.ndarray) -> np.ndarray:
    """Return the sets, each once, without those of which another is a part, as far as that pays.

    Small sets are held against all others, as long as some go.
    """
    rest = unique(sets)
    rest = rest[np.argsort(np.bitwise_count(rest).sum(axis=1), kind="stable")]
    found, gone, tried = [], 0, 0
    while len(rest):
        least, before = rest[0].copy(), len(rest)  # a view would keep all of `rest` in memory
        found.append(least)
        rest = rest[1:][((rest[1:] & least) != least).any(axis=1)]
        gone += before - 1 - len(rest)
        tried += 1
        if tried == TRIED:
            if gone < WORTH * len(rest):
                break
            gone = tried = 0
    return np.concatenate([np.array(found, np.uint64).reshape(-1, sets.shape[1]), rest])


def to_ints(masks: np.ndarray) -> list[int]:
    """Return sets of words, the lowest bits first, as whole numbers."""
    width = masks.shape[1] * 8
    data = np.ascontiguousarray(masks).astype("<u8").tobytes()
    return [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]


def bits(mask: int) -> list[int]:
    """Return the elements of a set, rising."""
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def to_words(sets: Sequence[int], words: int) -> np.ndarray:
    """Return sets as uint64 (sets, words), the lowest bits first."""
    data = b"".join(each.to_bytes(8 * words, "little") for each in sets)
    return np.frombuffer(data, "<u8").reshape(-1, words).astype(np.uint64)

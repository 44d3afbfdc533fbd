"""All minimal sets that have an element in common with each of some sets: minimal hitting sets, or transversals.

Sets are whole numbers, bit b for element b. The search goes along a set that is not hit yet and takes each of its
elements in turn; an element stays only as long as each one taken before still is the only one to hit some set (its
critical sets), which makes all that is found minimal, and each is found once.

Source: Murakami and Uno 2014, Efficient algorithms for dualizing large-scale hypergraphs (MMCS).
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

SPLIT_AT = 2  # elements taken, from which on a branch belongs to one rank
CHECKED = 256  # branches between two looks at the clock


class Stopped(Exception):
    """The search was told to stop before its end."""


class Search:
    """One search for hitting sets.

    Attributes:
        found: the minimal hitting sets of up to `most` elements, of this rank's share.
        is_cut: whether a branch ended because of `most`, so that there may be larger ones.
    """

    def __init__(
        self, sets: Iterable[int], elements: int, most: int, rank: int, size: int, is_over: Callable[[], bool]
    ):
        """`elements`: those that may be taken; `is_over`: whether to give up."""
        self.found: list[int] = []
        self.is_cut = False
        self._sets = sorted({each & elements for each in sets}, key=lambda each: (each.bit_count(), each))
        self._most = most
        self._rank, self._size = rank, size
        self._is_over = is_over
        self._branches = self._steps = 0
        self._hits = {1 << bit: 0 for bit in range(elements.bit_length()) if elements >> bit & 1}
        for place, each in enumerate(self._sets):
            for bit in self._hits:
                if each & bit:
                    self._hits[bit] |= 1 << place
        if not self._sets or self._sets[0]:
            self._go(0, [], (1 << len(self._sets)) - 1, elements)

    def _is_mine(self) -> bool:
        self._branches += 1
        return self._branches % self._size == self._rank

    def _go(self, taken: int, critical: list[int], left: int, allowed: int) -> None:
        depth = len(critical)
        if not left:
            if depth >= SPLIT_AT or self._is_mine():
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
        while branch:
            element = branch & -branch
            branch ^= element
            hits = self._hits[element]
            still = [each & ~hits for each in critical]
            if all(still) and (depth + 1 != SPLIT_AT or self._is_mine()):
                self._go(taken | element, [*still, left & hits], left & ~hits, allowed)
            allowed |= element


def minimal(masks: np.ndarray) -> np.ndarray:
    """Return the sets of which no other one is a part; each once: uint64 (sets, words), smallest first."""
    masks = np.unique(masks, axis=0) if masks.shape[1] > 1 else np.unique(masks[:, 0])[:, None]
    rest = masks[np.argsort(np.bitwise_count(masks).sum(axis=1), kind="stable")]
    found = []
    while len(rest):
        least = rest[0]
        found.append(least)
        rest = rest[((rest & least) != least).any(axis=1)]
    return np.array(found, np.uint64).reshape(-1, masks.shape[1])


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

"""The rows that are alike in some columns, to be held against other columns: about 16 bytes a row.

    hash of the cells, row    sorted, so that rows that are alike stand side by side      8 bytes a row
    one, other                neighbours with the same hash, compared cell by cell        8 bytes a pair

Rows are gone through in blocks; where these arrays are more than may be held, they are in files of scratch.
"""

import os
import tempfile
from collections.abc import Iterator

import numpy as np

from hvdedge.coded import Coded
from hvdedge.mixing import mix
from hvdedge.spool import no_room

BLOCK = 1 << 18  # rows, or pairs, at once
ROW_BYTES = 16


class Groups:
    """The rows that are alike in some columns.

    Rows are sorted by a hash of their cells there, the high bits of a sum of multiples (Dietzfelbinger 1996).
    Neighbours with the same hash are compared cell by cell, and sorted by the cells themselves should a hash be that
    of two, so what is told is exact.

    Attributes:
        one, other: neighbours that are alike, as row numbers; all rows that are alike are tied by them.
    """

    def __init__(self, coded: Coded, columns: list[int]):
        self._coded = coded
        self._in_memory = coded.rows * ROW_BYTES <= coded.room_bytes
        self._kind: type = np.int32 if coded.rows < 2**31 else np.int64
        keys, row_bits = self._sorted_keys(columns)
        self.one, self.other = (self._array(max(coded.rows - 1, 0), self._kind) for _ in range(2))
        pairs, rows = 0, np.uint64((1 << int(row_bits)) - 1)
        for start, stop in _blocks(coded.rows - 1):
            block = keys[start : stop + 1]
            order = (block & rows).astype(self._kind)
            hashes = block >> row_bits
            places = np.flatnonzero(hashes[1:] == hashes[:-1])
            self.one[pairs : pairs + len(places)] = order[places]
            self.other[pairs : pairs + len(places)] = order[places + 1]
            pairs += len(places)
        self.one, self.other = self.one[:pairs], self.other[:pairs]
        del keys
        if not self._are_alike(columns):
            self._take_apart(columns)

    @property
    def rows_alike(self) -> int:
        """How many rows are alike with another one."""
        return len(self.one) + sum(len(starts) for starts in self._starts())

    def removals(self, column: int) -> int:
        """Return how many rows would have to go for `column` to follow from these: the fewest possible."""
        found, edge = 0, 0
        for starts in self._starts():
            if len(starts):  # from the first to the last one lie whole groups, from the last one on a single one
                found += self._removals_of_one(column, edge, int(starts[0]))
                edge = int(starts[-1])
                found += self._removals(column, int(starts[0]), edge)
        return found + self._removals_of_one(column, edge, len(self.one))

    def differing(self, column: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Return those of the pairs that differ in `column`, at most so many, evenly from all."""
        codes, flags, ends = self._coded.codes[column], [], [0]
        for start, stop in _blocks(len(self.one)):
            apart = codes[self.one[start:stop]] != codes[self.other[start:stop]]
            flags.append(np.packbits(apart))
            ends.append(ends[-1] + int(np.count_nonzero(apart)))
        chosen = _evenly(ends[-1], most)
        places = [np.empty(0, np.int64)]
        for number, (start, stop) in enumerate(_blocks(len(self.one))):
            here = chosen[(chosen >= ends[number]) & (chosen < ends[number + 1])] - ends[number]
            if len(here):
                places.append(start + np.flatnonzero(np.unpackbits(flags[number], count=stop - start))[here])
        return self.one[np.concatenate(places)], self.other[np.concatenate(places)]

    def some(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Return at most so many of the pairs, evenly from all."""
        chosen = _evenly(len(self.one), most)
        return self.one[chosen], self.other[chosen]

    def _sorted_keys(self, columns: list[int]) -> tuple[np.ndarray, np.uint64]:
        """Return a hash and its row in one number, which sort faster than by argsort, and the bits of the row."""
        keys = self._array(self._coded.rows, np.uint64)
        odd = mix(np.array(columns, np.uint64) + np.uint64(1)) | np.uint64(1)
        row_bits = np.uint64(self._coded.rows.bit_length())
        for start, stop in _blocks(self._coded.rows):
            hashes = np.zeros(stop - start, np.uint64)
            for column, multiplier in zip(columns, odd, strict=True):
                hashes += self._coded.codes[column][start:stop].astype(np.uint64) * multiplier
            keys[start:stop] = hashes >> row_bits << row_bits | np.arange(start, stop, dtype=np.uint64)
        keys.sort()
        return keys, row_bits

    def _are_alike(self, columns: list[int]) -> bool:
        blocks = _blocks(len(self.one))
        return all(self._same(columns, self.one[start:stop], self.other[start:stop]).all() for start, stop in blocks)

    def _same(self, columns: list[int], one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return which pairs of rows are alike in the columns."""
        same = np.ones(len(one), bool)
        for column in columns:
            same &= self._coded.codes[column][one] == self._coded.codes[column][other]
        return same

    def _take_apart(self, columns: list[int]) -> None:
        """Sort the rows of each hash that several sets of cells have by their cells; few hashes are that of two."""
        runs = self._array(len(self.one), self._kind)
        broken, run = [], -1
        for (start, stop), starts in zip(_blocks(len(self.one)), self._starts(), strict=True):
            is_start = np.zeros(stop - start, bool)
            is_start[starts - start] = True
            runs[start:stop] = run + np.cumsum(is_start)
            same = self._same(columns, self.one[start:stop], self.other[start:stop])
            broken.append(np.unique(runs[start:stop][~same]))
            run = int(runs[stop - 1])
        wrong, loose, kept = np.unique(np.concatenate(broken)), [], 0
        for start, stop in _blocks(len(self.one)):
            one, other = self.one[start:stop].copy(), self.other[start:stop].copy()
            is_wrong = np.isin(runs[start:stop], wrong)
            loose.append(np.union1d(one[is_wrong], other[is_wrong]))
            whole = int(np.count_nonzero(~is_wrong))
            self.one[kept : kept + whole], self.other[kept : kept + whole] = one[~is_wrong], other[~is_wrong]
            kept += whole
        rows = np.unique(np.concatenate(loose))
        rows = rows[np.lexsort([self._coded.codes[column][rows] for column in columns])]
        same = self._same(columns, rows[:-1], rows[1:])
        end = kept + int(np.count_nonzero(same))
        self.one[kept:end], self.other[kept:end] = rows[:-1][same], rows[1:][same]
        self.one, self.other = self.one[:end], self.other[:end]

    def _starts(self) -> Iterator[np.ndarray]:
        """Yield which of the pairs of each block are the first of their group, as places among all pairs."""
        for start, stop in _blocks(len(self.one)):
            before = self.other[max(start - 1, 0) : stop - 1]
            is_start = self.one[start + (start == 0) : stop] != before
            places = np.flatnonzero(is_start) + start + (start == 0)
            yield np.concatenate([[0], places]) if start == 0 else places

    def _removals(self, column: int, start: int, stop: int) -> int:
        """Return what `removals` does of the pairs from `start` to `stop`, whole groups."""
        one, other = self.one[start:stop], self.other[start:stop]
        if not len(one):
            return 0
        starts = np.concatenate([[True], one[1:] != other[:-1]])
        group = np.cumsum(starts)
        rows = np.concatenate([one[starts], other])
        key = np.concatenate([group[starts], group]) << 32 | self._coded.codes[column][rows]
        kinds, held = np.unique(key, return_counts=True)
        edges = np.flatnonzero(np.diff(kinds >> 32, prepend=-1))
        return int(len(rows) - np.maximum.reduceat(held, edges).sum())

    def _removals_of_one(self, column: int, start: int, stop: int) -> int:
        """Return what `removals` does of the pairs from `start` to `stop`, one group of any size."""
        if start == stop:
            return 0
        codes = self._coded.codes[column]
        if stop - start <= BLOCK:
            rows = np.append(self.other[start:stop], self.one[start])
            return len(rows) - int(np.unique(codes[rows], return_counts=True)[1].max())
        held = np.zeros(self._coded.distinct[column], np.int64)
        held[codes[self.one[start]]] = 1
        for first, last in _blocks(stop - start):
            held += np.bincount(codes[self.other[start + first : start + last]], minlength=len(held))
        return stop - start + 1 - int(held.max())

    def _array(self, size: int, kind: type) -> np.ndarray:
        """Return room for numbers, in a file without a name where they are many."""
        if self._in_memory or not size:
            return np.empty(size, kind)
        try:
            with tempfile.TemporaryFile(dir=self._coded.scratch) as file:
                os.posix_fallocate(file.fileno(), 0, size * np.dtype(kind).itemsize)  # else a full disk is a crash
                return np.memmap(file, kind, "r+", shape=(size,))
        except OSError as error:
            raise no_room(self._coded.scratch, error) from None


def _blocks(size: int) -> Iterator[tuple[int, int]]:
    """Yield where each block of so many begins and ends."""
    return ((start, min(start + BLOCK, size)) for start in range(0, size, BLOCK))


def _evenly(size: int, most: int) -> np.ndarray:
    """Return at most `most` of so many places, evenly from all."""
    return np.linspace(0, size - 1, min(most, size)).astype(np.int64)

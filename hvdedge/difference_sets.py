"""In which columns pairs of rows differ: the evidence from which dependencies are found.

X -> A holds if and only if X has a column in each difference set that has A; a set of columns is unique if and only if
it has one in each difference set. A difference set is uint64 (words,), bit c for column c, the lowest bits first.

Source: Mannila and Raeiha 1994, Algorithms for inferring functional dependencies from relations.
"""

from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from hvdedge.coded import Coded
from hvdedge.hitting_sets import Stopped, reduced, unique
from hvdedge.parallel import allgather_rows

ALL_CELLS = 300_000_000  # cells that may be compared to look at all pairs of rows
CHUNK_PAIRS = 1 << 18
NEWS = 0.01  # of a window's pairs, that must show a new difference set for the next window to be tried
WINDOWS = 30
WINDOW_PAIRS = 1 << 17  # of a column and a window, evenly from all
MOST_SAMPLED = 1 << 17  # words of difference sets of all columns together
RUN = 64  # rows that are sampled side by side
SORTED_BYTES = 40  # of a row, while rows are sorted
PAIRS_A_SET = 4  # compared at most, for each set that a column may still add


def words(columns: int) -> int:
    """Return how many uint64 a difference set of so many columns takes."""
    return max(-(-columns // 64), 1)


def of_pairs(coded: Coded, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the difference sets of pairs of rows: uint64 (pairs, words)."""
    return _packed_bits(np.stack([codes[one] != codes[other] for codes in coded.codes]))


def is_small(coded: Coded) -> bool:
    """Tell whether all pairs of rows can be looked at."""
    return coded.rows * (coded.rows - 1) // 2 * len(coded.names) <= ALL_CELLS


def of_all_pairs(coded: Coded, comm: MPI.Intracomm, is_over: Callable[[], bool]) -> np.ndarray:
    """Collective. Return all difference sets, each once; the pairs are dealt over the ranks.

    Raises:
        Stopped: on all ranks, where `is_over` says on one that it is to give up.
    """
    found, waiting = unique(np.zeros((0, words(len(coded.names))), np.uint64)), []
    stopped = np.zeros(1, np.int64)
    for apart in range(1 + comm.rank, coded.rows, comm.size):
        if is_over():
            stopped[0] = 1
            break
        one = np.arange(coded.rows - apart)
        waiting.append(unique(of_pairs(coded, one, one + apart)))
        if sum(map(len, waiting)) > CHUNK_PAIRS:
            found, waiting = unique(np.concatenate([found, *waiting])), []
    comm.Allreduce(MPI.IN_PLACE, stopped, op=MPI.MAX)
    if stopped[0]:
        raise Stopped
    return shared(np.concatenate([found, *waiting]), comm)


def sample(coded: Coded, comm: MPI.Intracomm, is_over: Callable[[], bool]) -> np.ndarray:
    """Collective. Return difference sets of pairs that are alike in much, the columns dealt over the ranks.

    For each column, rows that agree in it stand side by side, the most alike ones first; each is compared with those
    around it, further on as long as that shows something new, up to a bound for all columns together; in a
    wide table nearly every pair shows something new. Of more rows than there is room to sort, every so-manieth counts.
    """
    mine = range(comm.rank, len(coded.names), comm.size)
    found = np.zeros((0, words(len(coded.names))), np.uint64)
    most = MOST_SAMPLED // max(len(mine) * comm.size * found.shape[1], 1)
    pairs = min(WINDOW_PAIRS, PAIRS_A_SET * most)
    by_rows = np.argsort([-count for count in coded.distinct], kind="stable")
    step = max(-(-coded.rows * SORTED_BYTES // max(coded.room_bytes, 1)), 1)
    rows = [codes[::step] for codes in coded.codes]
    for number in mine:
        others = [other for other in by_rows.tolist() if other != number]
        order = np.argsort(_packed(rows, coded.distinct, [number, *others]))
        order = order[_spread(rows[number][order], pairs)]
        codes = np.stack([codes[order] for codes in rows])
        first = len(found)
        for apart in range(1, min(WINDOWS, len(order) - 1) + 1):
            near = codes[number, apart:] == codes[number, :-apart]
            count = np.count_nonzero(near)
            if not count or len(found) - first >= most or is_over():
                break
            before = len(found)
            shown = _packed_bits(codes[:, apart:] != codes[:, :-apart])[near]
            found = unique(np.concatenate([found, unique(shown)]))
            if len(found) - before < NEWS * count:
                break
    return shared(found, comm)


def _packed(codes: list[np.ndarray], distinct: list[int], columns: list[int]) -> np.ndarray:
    """Return keys that sort rows by the first column, then by as many of the others as fit into 64 bits."""
    keys, room = np.zeros(len(codes[0]), np.uint64), 64
    for column in columns:
        width = max(distinct[column] - 1, 1).bit_length()
        if width > room:
            break
        keys = keys << np.uint64(width) | codes[column].astype(np.uint64)
        room -= width
    return keys


def _spread(sorted_codes: np.ndarray, most: int) -> np.ndarray:
    """Return the places, at most `most`, of rows that have the code of a neighbour: runs of them, evenly from all."""
    same = sorted_codes[1:] == sorted_codes[:-1]
    places = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
    if len(places) <= most:
        return places
    run = min(RUN, most)
    starts = np.linspace(0, len(places) - run, most // max(run, 1)).astype(np.int64)
    return places[(starts[:, None] + np.arange(run)).ravel()]


def _packed_bits(differ: np.ndarray) -> np.ndarray:
    """Return difference sets, uint64 (pairs, words), of which pairs differ in which columns, bool (columns, pairs)."""
    found = np.zeros((differ.shape[1], words(len(differ))), np.uint64)
    for first in range(0, len(differ), 8):
        byte = np.zeros(differ.shape[1], np.uint8)
        for bit, apart in enumerate(differ[first : first + 8].view(np.uint8)):
            byte |= apart << np.uint8(bit)
        found[:, first // 64] |= byte.astype(np.uint64) << np.uint64(first % 64)
    return found


def shared(mine: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the difference sets of all ranks, each once, in one order on every rank."""
    return unique(allgather_rows(unique(mine), comm))


def about(sets: np.ndarray, column: int) -> np.ndarray:
    """Return the sets to be hit by what determines `column`: uint64 (sets, words)."""
    word, bit = column // 64, np.uint64(1 << column % 64)
    chosen = sets[(sets[:, word] & bit) != 0].copy()
    chosen[:, word] &= ~bit
    return reduced(chosen)

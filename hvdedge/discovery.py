"""Minimal functional dependencies and unique column combinations, exact, over all ranks.

    difference sets of some pairs of rows      all pairs of a small table, else those that are alike in much
      -> minimal hitting sets                  what no pair seen so far speaks against, each rank its branches
      -> held against all rows                 each rank its column sets; not needed where all pairs were seen
      -> pairs that speak against some         new difference sets, and again, until there are none

What is left then is right and complete: each was held against the rows, and a dependency that is missing would have
to hit all difference sets seen without containing one that was found. So it goes size by size of the left-hand side,
and in a size by how much may be told; a search that is stopped tells all that was proved by then, which holds and is
minimal, and to which size it is complete.

Source: Papenbrock and Naumann 2016, A hybrid approach to functional dependency discovery (HyFD: evidence from samples
and validation in turn); Birnick et al. 2020, Hitting set enumeration with partial information for unique column
combination discovery (HPIValid).
"""

import math
import time
from dataclasses import dataclass, field

import numpy as np
from mpi4py import MPI

from hvdedge import difference_sets
from hvdedge.coded import Coded
from hvdedge.groups import Groups
from hvdedge.hitting_sets import Search, Stopped, bits, reduced, to_ints, to_words, unique
from hvdedge.parallel import allgather_json, allgather_rows

EVIDENCE_PAIRS = 50  # of those that break a candidate, taken as evidence
LEAST_SETS, EVIDENCE_CELLS = 2048, 1 << 21  # evidence that one begins with: sets, their cells
MORE = 8  # times as much with each column more
FEW_OPEN = 10_000  # candidates; all evidence that there is costs less than to hold more of them against the rows
FEW = 4  # right-hand sides a rank, from which on they are dealt
UNIQUE = -1  # in the place of a right-hand side: the columns are unique
Candidate = tuple[int, int]  # a set of columns, and the right-hand side


@dataclass
class Found:
    """What was found, alike on every rank.

    Attributes:
        sets: (columns, the column that follows from them or UNIQUE), sorted; columns rising.
        complete: True, or the size of column sets up to which all were found.
        rounds, validated: how often candidates were held against the rows, and how many of them in all.
    """

    sets: list[tuple[tuple[int, ...], int]] = field(default_factory=list)
    complete: bool | int = True
    rounds: int = 0
    validated: int = 0

    def is_short_of(self, maximal: int) -> bool:
        """Tell whether some of up to `maximal` columns (0 for any number) may be missing."""
        return self.complete is not True and (not maximal or self.complete < maximal)


class Clock:
    """When to stop."""

    def __init__(self, seconds: float):
        self._end = time.monotonic() + seconds if seconds else float("inf")

    def is_over(self) -> bool:
        return time.monotonic() > self._end


def functional_dependencies(coded: Coded, comm: MPI.Intracomm, *, maximal_left: int = 0, seconds: float = 0.0) -> Found:
    """Collective. Return all minimal functional dependencies with one column on the right.

    Args:
        maximal_left: columns on the left, at most; 0 for any number.
        seconds: when to stop with what is proved by then; 0 for never.
    """
    return _find(coded, list(range(len(coded.names))), maximal_left, seconds, comm)


def unique_columns(coded: Coded, comm: MPI.Intracomm, *, maximal: int = 0, seconds: float = 0.0) -> Found:
    """Collective. Return all minimal sets of columns in which no two rows are alike; arguments as above."""
    return _find(coded, [UNIQUE], maximal, seconds, comm)


def _find(coded: Coded, rights: list[int], maximal: int, seconds: float, comm: MPI.Intracomm) -> Found:
    clock, found = Clock(seconds), Found()
    if not coded.names:
        return found
    found.sets = [((), right) for right in rights if (coded.rows if right == UNIQUE else coded.distinct[right]) <= 1]
    most = min(maximal or len(coded.names), len(coded.names))
    all_seen = difference_sets.is_small(coded)
    try:
        look = difference_sets.of_all_pairs if all_seen else difference_sets.sample
        pool = look(coded, comm, clock.is_over)
    except Stopped:
        found.complete = 0
        return found
    few = max(LEAST_SETS, EVIDENCE_CELLS // len(coded.names))
    if all_seen and not seconds:
        few = len(pool)
    seen, pool = pool[:0], pool[np.argsort(np.bitwise_count(pool).sum(axis=1), kind="stable")]
    holds: set[Candidate] = set()
    for size in [most] if all_seen and not seconds else range(1, most + 1):
        seen, pool = unique(np.concatenate([seen, pool[:few]])), pool[few:]
        few *= MORE  # little evidence rules small sets of columns out, and much of it is slow in a wide table
        while True:
            try:
                candidates, is_cut = _candidates(seen, rights, len(coded.names), size, clock, comm)
                if all_seen and not len(pool):
                    break
                open_ones = [one for one in candidates if one not in holds]
                if all_seen and len(open_ones) > FEW_OPEN:
                    seen, pool = unique(np.concatenate([seen, pool])), pool[:0]
                    continue
                found.validated += len(open_ones)
                broken, valid, is_over = _against(coded, open_ones, clock, comm)
                found.rounds += 1
                holds |= valid
                if is_over:
                    raise Stopped
            except Stopped:
                found.complete = size - 1  # what holds has a critical pair for each of its columns: it is minimal
                found.sets = sorted({*found.sets, *((tuple(bits(columns)), right) for columns, right in holds)})
                return found
            if not len(broken):
                break
            seen = difference_sets.shared(np.concatenate([seen, broken]), comm)
        found.sets = sorted((tuple(bits(columns)), right) for columns, right in candidates)
        if not is_cut:
            return found
    found.complete = most
    return found


def _candidates(
    seen: np.ndarray, rights: list[int], width: int, most: int, clock: Clock, comm: MPI.Intracomm
) -> tuple[list[Candidate], bool]:
    """Collective. Return the minimal hitting sets of up to `most` columns, sorted, and whether larger ones may exist.

    Raises:
        Stopped: on all ranks, where the time is over on one.
    """
    every, words = (1 << width) - 1, difference_sets.words(width)
    rows = [np.empty((0, words + 1), np.uint64)]
    told = np.zeros(2, np.int64)  # cut, stopped
    try:
        is_many = len(rights) >= FEW * comm.size  # then each rank has its own right-hand sides, else its branches
        for right in rights[comm.rank :: comm.size] if is_many else rights:
            if clock.is_over():
                raise Stopped
            sets = reduced(seen) if right == UNIQUE else difference_sets.about(seen, right)
            elements = every if right == UNIQUE else every & ~(1 << right)
            share = (0, 1) if is_many else ((comm.rank + right) % comm.size, comm.size)
            search = Search(sets, elements, most, share, clock.is_over)
            told[0] |= search.is_cut
            part = np.full((len(search.found), words + 1), right % 2**64, np.uint64)
            part[:, :words] = to_words(search.found, words)
            rows.append(part)
    except Stopped:
        told[1] = 1
    comm.Allreduce(MPI.IN_PLACE, told, op=MPI.MAX)
    if told[1]:
        raise Stopped
    everyone = allgather_rows(np.concatenate(rows), comm)
    rights = everyone[:, words].astype(np.int64).tolist()
    return sorted(zip(to_ints(everyone[:, :words]), rights, strict=True)), bool(told[0])


def _against(
    coded: Coded, candidates: list[Candidate], clock: Clock, comm: MPI.Intracomm
) -> tuple[np.ndarray, set[Candidate], bool]:
    """Collective. Return difference sets that speak against candidates, the candidates that hold, and whether the time
    was over on a rank, so that not all were looked at."""
    rights: dict[int, list[int]] = {}
    for columns, right in candidates:
        rights.setdefault(columns, []).append(right)
    broken = [np.empty((0, difference_sets.words(len(coded.names))), np.uint64)]
    valid: list[Candidate] = []
    told = np.zeros(1, np.int64)
    for columns in _promising_first(coded, rights)[comm.rank :: comm.size]:
        if clock.is_over():
            told[0] = 1
            break
        groups = Groups(coded, bits(columns))
        for right in rights[columns]:
            is_key = right == UNIQUE
            one, other = groups.some(EVIDENCE_PAIRS) if is_key else groups.differing(right, EVIDENCE_PAIRS)
            if len(one):
                broken.append(difference_sets.of_pairs(coded, one, other))
            else:
                valid.append((columns, right))
    comm.Allreduce(MPI.IN_PLACE, told, op=MPI.MAX)
    holds = {(columns, right) for part in allgather_json(valid, comm) for columns, right in part}
    return difference_sets.shared(np.concatenate(broken), comm), holds, bool(told[0])


def _promising_first(coded: Coded, rights: dict[int, list[int]]) -> list[int]:
    """Return the sets of columns in the order in which they are to be looked at, should the time not do for all.

    On the left of a dependency those of few values come first: most rows are alike in them, so what follows from them
    is there most often. As a key those of many do: they are likely to be one. Whole numbers, as all ranks must agree.
    """
    values = {columns: math.prod(coded.distinct[column] for column in bits(columns)) for columns in rights}
    signs = {columns: -1 if rights[columns] == [UNIQUE] else 1 for columns in rights}
    return sorted(rights, key=lambda columns: (signs[columns] * values[columns], columns))

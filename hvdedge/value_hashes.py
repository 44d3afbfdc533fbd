"""How often each value of a column is where the values are too many to hold: counted by their keys, on all ranks.

    reading the rows   values are counted while they are few (see `columns.Counter`), then their keys go to scratch
    dealing            a rank sorts its keys, or those of a round; each range of keys belongs to one rank, which counts
    reading again      texts and decimals that have one of the most frequent keys are counted as what they are

The key of a number, day or time is the 64 bits that sort as it does and tell it, so nothing is read again for these,
also for what is told of sorted numbers. That of a text or decimal is a hash: among a million different texts two have
the same with a chance of 3e-8, and would be counted as one. All else is exact, and whole numbers, so it is the same on
any number of ranks. With N cells, of which m(c) values are there c times each,

    distinct = sum m(c),   entropy = log2(N) - sum m(c) c log2(c) / N

Source: Shi and Schaeffer 1992, Parallel sorting by regular sampling (who gets which range).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import CLOCKS, NUMBERS, Counter, kind, text_size_bytes, to_floats, to_text
from hvdedge.hashes import hash_text
from hvdedge.mixing import mix
from hvdedge.parallel import allgather_rows, counts, exchange_runs
from hvdedge.quantiles import SIGN, numbers_of, patterns, place_of, rising
from hvdedge.spool import Spool
from hvdedge.tables import Table
from hvdedge.workspace import Workspace

VALUE_BYTES = 128  # what a value and its count take while they are counted
HELD_BYTES = 64  # of a key, while a round sorts, deals and counts them
KEYS_AT_ONCE = 1 << 16
SAMPLES = 256  # of the keys of a rank, by which their ranges are cut
KEY = pa.schema([("key", pa.uint64())])
NUMBER = pa.schema([("number", pa.float64())])


@dataclass(frozen=True)
class Frequencies:
    """What the keys of a column tell, alike on every rank.

    Attributes:
        distinct: how many different values there are.
        entropy: in bits.
        above: 0 where the most frequent values are all among `keys`; else values that are there up to so often are
            left out, as more have that count than may be held.
        keys, held: of the most frequent values, rising, and how often each is there.
        quantiles: as `columns.to_floats` has them, float64 (1, probabilities); None where the keys do not tell cells,
            or took several rounds.
    """

    distinct: int
    entropy: float
    above: int
    keys: np.ndarray
    held: np.ndarray
    quantiles: np.ndarray | None


class Values:
    """The values of one column so far: counted in `counter` until they are too many, from then on as keys.

    Args:
        type: of the column.
        limit: how many may be counted; their texts may take `VALUE_BYTES` each, on average.
        spool_bytes: what may be held of the keys; more are in scratch.
    """

    def __init__(self, type: pa.DataType, limit: int, spool_bytes: int, workspace: Workspace):
        self.counter = Counter(limit, VALUE_BYTES * limit, self._take)
        self._type = type
        self._limit = limit
        self._workspace = workspace
        self._spool = Spool(KEY, workspace.scratch, spool_bytes)
        self._text_bytes = 0

    def add(self, cells: pa.Array) -> None:
        """Take in cells, of which all are `columns.known`."""
        self._text_bytes += text_size_bytes(cells)
        if self.counter.is_over:
            self._append(value_keys(cells))
        else:
            self.counter.add(cells)

    def frequencies(self, top: int, probabilities: Sequence[float], comm: MPI.Intracomm) -> Frequencies:
        """Collective. Tell of a column of too many values.

        Args:
            top: how many of the most frequent values are wanted; those as frequent as the last one come along.
            probabilities: of the quantiles that are wanted.
        """
        told = counts(np.array([self._spool.num_rows, self._text_bytes]), comm)
        rounds = max(-(-int(told[:, 0].max()) * HELD_BYTES // max(self._workspace.table_bytes, 1)), 1)
        kept = np.empty((0, 2), np.int64)
        times = np.empty((0, 2), np.int64)  # a count, how many values have it
        for turn in range(rounds):
            keys, held = self._owned(turn, rounds, comm)
            times = _summed(np.concatenate([times, _times(held)]))
            chosen = np.flatnonzero(held >= _least(times, top, self._limit)[0])
            kept = np.concatenate([kept, np.stack([keys[chosen].view(np.int64), held[chosen]], axis=1)])
            if len(kept) > 2 * self._limit:
                kept = kept[kept[:, 1] >= _least(times, top, self._limit)[0]]
        times = _summed(allgather_rows(times, comm))
        least, wanted = _least(times, top, self._limit)
        least = max(least, int(told[:, 1].sum()) // (VALUE_BYTES * self._limit) + 1)  # so few bytes are that frequent
        kept = allgather_rows(kept[kept[:, 1] >= least], comm)
        kept = kept[np.argsort(kept[:, 0].view(np.uint64))]
        cells = int(times[:, 0] @ times[:, 1])
        spread = math.fsum(times[:, 1] * (times[:, 0] * np.log2(times[:, 0])))
        entropy = max(math.log2(cells) - spread / cells, 0.0)
        above = 0 if least == wanted else least - 1
        quantiles = None
        if rounds == 1 and tells_cells(self._type):
            placed = _placed(keys, held, [place_of(share, cells) for share in probabilities], comm)
            quantiles = to_floats(cells_of(placed, self._type))[None]
        return Frequencies(int(times[:, 1].sum()), entropy, above, kept[:, 0].view(np.uint64), kept[:, 1], quantiles)

    def numbers(self) -> Table:
        """Return this rank's cells of a column that `tells_cells`, in any order, as `columns.to_floats` has them."""

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in self._spool:
                yield pa.record_batch([to_floats(cells_of(batch.column(0).to_numpy(), self._type))], schema=NUMBER)

        return Table(NUMBER, self._spool.num_rows, self._workspace, batches)

    def clear(self) -> None:
        """Forget all cells."""
        self._spool.clear()

    def _take(self, counted: pa.Table) -> None:
        keys, ends = value_keys(counted["value"].combine_chunks()), np.cumsum(counted["count"].to_numpy())
        for start in range(0, ends[-1], KEYS_AT_ONCE):
            cells = np.arange(start, min(start + KEYS_AT_ONCE, ends[-1]))
            self._append(keys[np.searchsorted(ends, cells, "right")])

    def _append(self, keys: np.ndarray) -> None:
        for start in range(0, len(keys), KEYS_AT_ONCE):
            self._spool.append(pa.record_batch([keys[start : start + KEYS_AT_ONCE]], schema=KEY))

    def _owned(self, turn: int, rounds: int, comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray]:
        """Collective. Return the keys of this rank and round, rising, and how often each is on all ranks.

        Where there is one round, keys that tell cells are in order from then on, which saves to sort them once more.
        """
        parts = (batch.column(0).to_numpy() for batch in self._spool)
        if rounds > 1:
            parts = (part[mix(part) % np.uint64(rounds) == turn] for part in parts)
        keys = rising(np.concatenate([np.empty(0, np.uint64), *parts]))
        if rounds == 1 and tells_cells(self._type):
            self._spool.clear()
            self._append(keys)
        keys, held = _counted(keys, np.ones(len(keys), np.int64))
        if comm.size == 1:
            return keys, held
        drawn = allgather_rows(keys[:: max(len(keys) // SAMPLES, 1)], comm)
        drawn = np.sort(np.append(drawn, np.uint64(0)))
        starts = np.searchsorted(keys, drawn[np.arange(comm.size) * len(drawn) // comm.size])
        sizes = np.diff(starts, append=len(keys))
        keys, held = exchange_runs(keys, sizes, comm)[0], exchange_runs(held, sizes, comm)[0]
        order = np.argsort(keys, kind="stable")  # merges the runs that came
        return _counted(keys[order], held[order])


def tells_cells(type: pa.DataType) -> bool:
    """Return whether the keys of a column tell its cells, and sort as they do."""
    return kind(type) in ("boolean", *NUMBERS, *CLOCKS) and not pa.types.is_decimal(type)


def value_keys(cells: pa.Array) -> np.ndarray:
    """Return a uint64 for each cell, the same for equal ones; no cell is null."""
    if not tells_cells(cells.type):
        return mix(hash_text(to_text(cells)))
    if pa.types.is_floating(cells.type):
        return patterns(cells.cast(pa.float64()).to_numpy(zero_copy_only=False) + 0.0)  # -0 is 0
    if kind(cells.type) in CLOCKS:
        cells = cells.view(_whole(cells.type))
    whole = cells.to_numpy(zero_copy_only=False)
    return whole if whole.dtype == np.uint64 else whole.astype(np.int64).view(np.uint64) ^ SIGN


def cells_of(keys: np.ndarray, type: pa.DataType) -> pa.Array:
    """Return the cells that `value_keys` has made keys of, if the type `tells_cells`."""
    if pa.types.is_floating(type):
        return pa.array(numbers_of(keys)).cast(type)
    whole = pa.array(keys if type == pa.uint64() else (keys ^ SIGN).view(np.int64))
    return whole.cast(_whole(type)).view(type) if kind(type) in CLOCKS else whole.cast(type)


def _whole(type: pa.DataType) -> pa.DataType:
    return pa.int32() if type.bit_width == 32 else pa.int64()


def _counted(keys: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different keys, rising, and the sum of what is `held` of each; `keys` rise, too."""
    starts = np.flatnonzero(np.concatenate([np.ones(min(len(keys), 1), bool), keys[1:] != keys[:-1]]))
    return keys[starts], np.add.reduceat(held, starts) if len(starts) else held


def _placed(keys: np.ndarray, held: np.ndarray, places: Sequence[int], comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the keys at `places` of all cells in order; of this rank's range, each is `held` times."""
    ends, running = counts(int(held.sum()), comm).cumsum(), held.cumsum()
    mine = np.array(places) - (ends[comm.rank - 1] if comm.rank else 0)
    is_mine = (mine >= 0) & (mine < held.sum())
    found = np.zeros(len(mine), np.uint64)
    found[is_mine] = keys[np.searchsorted(running, mine[is_mine], "right")]
    comm.Allreduce(MPI.IN_PLACE, found, op=MPI.SUM)
    return found


def _times(held: np.ndarray) -> np.ndarray:
    """Return (count, how many keys have it), int64."""
    more = np.unique(held[held > 1], return_counts=True)  # most are there once
    return np.concatenate([[[1, len(held) - int(more[1].sum())]], np.stack(more, axis=1)]).astype(np.int64)


def _summed(times: np.ndarray) -> np.ndarray:
    """Return (count, how many values have it), int64, each count once, by falling count."""
    kinds, which = np.unique(times[:, 0], return_inverse=True)
    sums = np.zeros(len(kinds), np.int64)
    np.add.at(sums, which, times[:, 1])
    return np.stack([kinds, sums], axis=1)[::-1]


def _least(times: np.ndarray, top: int, limit: int) -> tuple[int, int]:
    """Return how frequent a value must be to be listed, and how frequent the `top` most frequent ones are at least."""
    running = np.cumsum(times[:, 1])
    wanted = int(times[np.searchsorted(running, top), 0]) if len(times) and running[-1] >= top else 1
    few = int(np.searchsorted(running, limit, "right"))
    return (wanted if few == len(times) else max(int(times[few, 0]) + 1, wanted)), wanted

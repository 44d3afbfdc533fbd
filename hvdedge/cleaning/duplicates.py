"""Merge records that describe the same thing, found by sorting them in several orders.

Multi-pass sorted neighbourhood: in each pass all records are sorted by another key, and each is compared with the
`window` - 1 records after it. What two records share brings them near each other in some pass:

    pass 1   projection of p03 p17 p42 ...        numbers: a seeded random projection of a random subset of the columns,
    pass 2   city, then projection                so that a few differing cells are outside of most subsets
    pass 3   projection of p05 p20 p61 ...        text: the words of one column, the column changing from pass to pass;
    pass 4   name backwards, then projection      whole, backwards, from the second word on, ...

Keys (16 bytes a row) go to all ranks; each compares a block of the sorted order. The similarity of two records is the
weighted mean of the similarities of their columns:

    number, date   1 - |a - b| / (max - min)                          weight 1
    text           normalised Indel similarity of the normalised text   weight 1
    boolean        1 when equal, else 0                               weight 1
    array          sum min(a, b) / sum max(a, b), over its n cells    weight sqrt(n)

An array is a group of at least 8 columns of numbers whose names differ only by a number (p00..p63), with their
smallest number taken as 0. Its measure (Ruzicka's) relates the difference to what there is, so the background that all
images share does not make them alike. Its cells depend on each other: they say more than one column and less than n.
A cell that is missing on either side is left out; a column counts when both records have a cell of it (an array: half
of its cells), and two records can be compared when that is at least half of the weight. Columns of one value and the
id say nothing and are left out.

All is computed in whole numbers (cells in 65534 steps from minimum to maximum) and divided once at the end, so the
result is the same bit for bit on any number of ranks.

Memory of a rank: 40 bytes a row of all ranks for a pass; 2 bytes a cell of its own rows for numbers, its own rows'
text; the pairs found on all ranks.

Source: Hernandez and Stolfo 1995, The merge/purge problem for large databases; Ruzicka 1958 (the array's measure, also
weighted Jaccard).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge import truth as known_truth
from hvdedge.columns import CLOCKS, NUMBERS, TEXTS, arrays, of_kind, plain, shown, to_floats, to_text, value_counts
from hvdedge.errors import InputError
from hvdedge.options import Count, Path, Share
from hvdedge.parallel import agree, allgather_rows, block, counts, exchange, fetch_rows
from hvdedge.tables import BATCH_ROWS, ORIGIN, Table, from_bytes, to_bytes

STEPS = 65534  # a cell's number in uint16: 0 to STEPS from the minimum to the maximum
MISSING = 65535
LEAST_WEIGHT = 0.5  # two records with less than this share of the weight in common are not compared
SUBSET = (3, 12)  # how many columns of numbers a projection takes: few enough to miss the cells that differ
KEY_BYTES = 8
CHUNK_ROWS = 4096  # of the sorted order, compared at a time
ROUND_ROWS = 16384  # of the records to merge, fetched at a time


def clean(
    table: Table,
    comm: MPI.Intracomm,
    *,
    threshold: Share = 0.9,
    id: str = "",
    window: Count = 20,
    passes: Count = 10,
    seed: int = 0,
    truth: Path = "",
) -> Table:
    """Collective. Merge records that describe the same thing, found by sorting them in several orders.

    Of each cluster the most complete record stays (the first of equally complete ones); its empty cells get the most
    frequent value of the others (the first of equally frequent ones).

    Args:
        table: this rank's rows.
        threshold: how alike two records must be, 0 to 1; who is like a like record joins its cluster.
        id: a column that names records and is never compared or filled.
        window: how many neighbours in the sorted order, the record itself among them, are compared.
        passes: how many times all records are sorted.
        seed: of the random projections.
        truth: a file of true duplicates, id and cluster or two ids of a pair; it judges the result, of the records
            that the table has, and changes nothing.
    Returns:
        The kept rows in their order. The change log has each row that went (rule duplicate; after is file:line of the
        row that stayed) and each cell that was filled (rule merged).
    Raises:
        InputError: where the id or the truth cannot be used.
    """
    if id and id not in table.columns:
        raise InputError(
            f"clean.duplicates.id: received {id!r}, which is no column, allowed: {shown(table.columns)}; name one"
        )
    true: pa.Table | None = None
    with agree(comm):
        if truth:
            if not id:
                raise InputError(
                    f"clean.duplicates.truth: received {truth!r} without id, allowed: with; set id as well"
                )
            true = known_truth.read(truth)
    records = _read(table, id, comm)
    pairs, candidates = _find(records, threshold, window, passes, seed, comm)
    rows, cluster = _close(pairs)
    result = _merge(table, id, rows, cluster, comm)
    table.workspace.metrics["duplicates"] = {
        "candidates": candidates,
        "pairs": len(pairs),
        "clusters": len(np.unique(cluster)),
        "rows_merged": len(rows) - len(np.unique(cluster)),
    }
    if true is not None:
        table.workspace.metrics["duplicates"] |= _judge(table, id, rows, cluster, true, comm)
    return result


@dataclass
class _Records:
    """This rank's records, ready to be compared.

    Attributes:
        numbers: uint16 (rows here, cells), 0 to STEPS, MISSING; the cells of an array stand together.
        columns: (first cell, cells) for each column of numbers and each array.
        central, spread: (cells,), what stands for a missing cell in a projection; how much a cell tells records apart.
        texts: (rows here, text columns), normalised.
    """

    numbers: np.ndarray
    columns: list[tuple[int, int]]
    central: np.ndarray
    spread: np.ndarray
    texts: pa.Table

    @property
    def weight(self) -> float:
        """The weight of all columns together."""
        return sum(np.sqrt(width) for _, width in self.columns) + self.texts.num_columns


def _read(table: Table, id: str, comm: MPI.Intracomm) -> _Records:
    """Collective. Return this rank's records with each column scaled by its range over all rows."""
    names = of_kind(table, ("boolean", *NUMBERS, *CLOCKS), [name for name in table.columns if name != id])
    lowest, highest = _ranges(table, names, comm)
    groups = _groups(names, lowest, highest)
    texts = of_kind(table, TEXTS, [name for name in table.columns if name != id])
    told = value_counts(table, texts, 1, comm)  # None: more than one value
    texts = [name for name in texts if told[name] is None]

    place = {name: number for number, name in enumerate(names)}
    columns: list[tuple[int, int]] = []
    cells: list[str] = []
    low: list[float] = []
    wide: list[float] = []
    for group in groups:
        chosen = [place[name] for name in group]
        columns.append((len(cells), len(group)))
        cells += group
        low += [lowest[chosen].min()] * len(group)
        wide += [highest[chosen].max() - lowest[chosen].min()] * len(group)

    numbers = np.empty((table.num_rows, len(cells)), np.uint16)
    batches, row = [], 0
    for batch in table.batches():
        for number, name in enumerate(cells):
            numbers[row : row + batch.num_rows, number] = _steps(
                to_floats(batch.column(name)), low[number], wide[number]
            )
        batches.append(pa.table({name: _normalised(batch.column(name)) for name in texts}))
        row += batch.num_rows
    schema = pa.schema([(name, pa.string()) for name in texts])
    held = pa.concat_tables([schema.empty_table(), *batches]) if texts else schema.empty_table()
    return _Records(numbers, columns, *_centre(numbers, comm), held.combine_chunks())


def _ranges(table: Table, names: list[str], comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray]:
    ends = np.full((2, len(names)), np.inf)  # smallest number, smallest negative number
    for batch in table.select(names).batches() if names else ():
        for number, name in enumerate(names):
            values = to_floats(batch.column(name))
            ends[:, number] = np.fmin(
                ends[:, number], [np.fmin.reduce(values, initial=np.inf), np.fmin.reduce(-values, initial=np.inf)]
            )
    comm.Allreduce(MPI.IN_PLACE, ends, op=MPI.MIN)
    return ends[0], -ends[1]


def _groups(names: list[str], lowest: np.ndarray, highest: np.ndarray) -> list[list[str]]:
    """Return the arrays and the single columns that have more than one value.

    Columns are no array, whatever their names, where most of them reach over less than a 16th of the whole's range.
    """
    wide = dict(zip(names, np.where(highest > lowest, highest - lowest, 0.0), strict=True))
    low, high = dict(zip(names, lowest, strict=True)), dict(zip(names, highest, strict=True))
    groups = []
    for group in arrays(names):
        varied = [name for name in group if wide[name] > 0]
        whole = max((high[name] for name in varied), default=0) - min((low[name] for name in varied), default=0)
        if varied and 2 * sum(wide[name] >= whole / 16 for name in varied) >= len(varied):
            groups.append(group)
    taken = {name for group in groups for name in group}
    return groups + [[name] for name in names if name not in taken and wide[name] > 0]


def _steps(values: np.ndarray, low: float, wide: float) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.rint((values - low) / wide * STEPS)
    return np.where((steps >= 0) & (steps <= STEPS), steps, MISSING).astype(np.uint16)


def _normalised(column: pa.Array) -> pa.Array:
    """Return text in small letters without accents and punctuation, its words parted by one blank; null for none."""
    text = pc.utf8_lower(pc.utf8_normalize(to_text(column), form="NFKD"))
    text = pc.replace_substring_regex(text, r"\p{M}+", "")
    text = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, r"[^\p{L}\p{N}]+", " "))
    return pc.if_else(pc.equal(text, ""), None, text)


def _centre(numbers: np.ndarray, comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Return the mean of each cell, rounded down, and its variance as a share of all cells'."""
    sums = np.zeros((3, numbers.shape[1]), np.int64)
    for start in range(0, len(numbers), BATCH_ROWS):
        cells = numbers[start : start + BATCH_ROWS].astype(np.int64)
        cells[cells == MISSING] = 0
        sums += (numbers[start : start + BATCH_ROWS] != MISSING).sum(axis=0), cells.sum(axis=0), (cells**2).sum(axis=0)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    count = np.maximum(sums[0], 1)
    variance = np.maximum(sums[2] / count - (sums[1] / count) ** 2, 1e-3)  # never 0 for a cell that differs
    return sums[1] // count, variance / variance.sum()


def _find(
    records: _Records, threshold: float, window: int, passes: int, seed: int, comm: MPI.Intracomm
) -> tuple[np.ndarray, int]:
    """Collective. Return the pairs of alike records of all ranks, int64 (pairs, 2), and how many were compared."""
    pairs = np.empty((0, 2), np.int64)
    candidates = 0
    for turn in range(passes if records.weight else 0):
        keys = allgather_rows(_keys(records, turn, np.random.default_rng([seed % 2**64, turn])), comm)
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        del keys
        candidates += int(np.minimum(np.arange(len(order))[::-1], window - 1).sum())
        mine = block(len(order), comm.size, comm.rank)
        chunks = -(-(len(order) // comm.size + 1) // CHUNK_ROWS)  # as many on every rank
        found = [pairs]
        for chunk in range(chunks):
            start = min(mine.start + chunk * CHUNK_ROWS, mine.stop)
            stop = min(start + CHUNK_ROWS, mine.stop)
            last = min(stop + window - 1, len(order)) if stop > start else stop
            found.append(
                allgather_rows(_compare(records, order[start:last], stop - start, threshold, window, comm), comm)
            )
        pairs = np.unique(np.concatenate(found), axis=0)
    return pairs, candidates


def _keys(records: _Records, turn: int, random: np.random.Generator) -> np.ndarray:
    """Return the keys of this rank's records in pass `turn`, uint64 (rows here, 2): text and projection."""
    texts = records.texts.num_columns
    projection = _projection(records, random)
    if projection is not None and (turn % 2 == 0 or not texts):
        return np.stack([np.zeros_like(projection), projection], axis=1)
    number = turn // 2 if projection is not None else turn
    column = _rotated(records.texts.column(number % texts).combine_chunks(), number // texts)
    words = np.array(
        pc.binary_slice(pc.fill_null(column, "").cast(pa.binary()), 0, 2 * KEY_BYTES).to_pylist(), f"S{2 * KEY_BYTES}"
    )
    keys = words.view(">u8").reshape(-1, 2).astype(np.uint64)
    if projection is not None:
        keys[:, 1] = projection
    return keys


def _projection(records: _Records, random: np.random.Generator) -> np.ndarray | None:
    """Return a number for each of this rank's records that is near for records whose drawn cells are near."""
    useful = np.flatnonzero(records.spread)
    if not len(useful):
        return None
    share = records.spread[useful] / records.spread[useful].sum()
    drawn = random.choice(
        useful, min(int(random.integers(*SUBSET, endpoint=True)), len(useful)), replace=False, p=share
    )
    factors = np.rint(random.normal(size=len(drawn)) * 4096).astype(np.int64)
    total = np.full(len(records.numbers), 2**62, np.int64)
    for cell, factor in zip(drawn, factors, strict=True):
        steps = records.numbers[:, cell].astype(np.int64)
        total += np.where(steps == MISSING, records.central[cell], steps) * factor
    return total.astype(np.uint64)


def _rotated(text: pa.Array, turn: int) -> pa.Array:
    """Return the text as it is, backwards, from the second word on, that backwards, from the third word on, ..."""
    rest = pc.replace_substring_regex(text, rf"^(\S+ ){{0,{turn // 2}}}", "") if turn > 1 else text
    return pc.utf8_reverse(rest) if turn % 2 else rest


def _compare(
    records: _Records, rows: np.ndarray, firsts: int, threshold: float, window: int, comm: MPI.Intracomm
) -> np.ndarray:
    """Collective. Compare each of the first `firsts` records of `rows`, global numbers, with the window after it.

    Returns:
        The alike pairs, int64 (pairs, 2), the smaller number first.
    """
    numbers = fetch_rows(records.numbers, rows, comm)
    texts = records.texts.num_columns
    left, right, sums, weights = [], [], [], []
    for distance in range(1, window):
        count = min(firsts, len(rows) - distance)
        if count <= 0:
            break
        total, weight = _alike_numbers(records, numbers[:count], numbers[distance : distance + count])
        possible = (total + texts) / np.maximum(weight + texts, 1e-9) >= threshold  # texts all equal
        near = np.flatnonzero(possible)
        left.append(near)
        right.append(near + distance)
        sums.append(total[near])
        weights.append(weight[near])
    a, b = (np.concatenate([np.empty(0, np.int64), *part]) for part in (left, right))
    total, weight = (np.concatenate([np.empty(0), *part]) for part in (sums, weights))
    if texts:
        needed = np.unique(np.concatenate([a, b]))
        held = _fetch(records.texts.take, len(records.numbers), rows[needed], records.texts.schema, comm)
        a_held, b_held = np.searchsorted(needed, a), np.searchsorted(needed, b)
        for column in held.columns:
            alike, both = _alike_texts(column.combine_chunks(), a_held, b_held)
            total, weight = total + alike, weight + both
    found = (weight >= LEAST_WEIGHT * records.weight) & (total >= threshold * weight)
    return np.sort(np.stack([rows[a[found]], rows[b[found]]], axis=1), axis=1)


def _alike_numbers(records: _Records, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for pairs of rows the weighted sum of their columns' similarities, and the weight of these columns."""
    total, weight = np.zeros(len(a)), np.zeros(len(a))
    both = (a != MISSING) & (b != MISSING)
    for first, width in records.columns:
        here = slice(first, first + width)
        if width == 1:
            known = both[:, first]
            apart = np.abs(a[:, first].astype(np.int32) - b[:, first].astype(np.int32))
            alike = 1 - apart / STEPS
        else:
            known = 2 * both[:, here].sum(axis=1) >= width
            shared = (np.minimum(a[:, here], b[:, here]) * both[:, here]).sum(axis=1, dtype=np.int64)
            all_there = (np.maximum(a[:, here], b[:, here]) * both[:, here]).sum(axis=1, dtype=np.int64)
            alike = np.where(all_there > 0, shared / np.maximum(all_there, 1), 1.0)
        total += np.where(known, alike, 0) * np.sqrt(width)
        weight += known * np.sqrt(width)
    return total, weight


def _alike_texts(column: pa.Array, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarity of the texts numbered `a` and `b`, 0 where one is missing, and whether both are there."""
    from rapidfuzz import process
    from rapidfuzz.distance import Indel

    codes = column.dictionary_encode()
    values = codes.dictionary.to_pylist()
    code = pc.fill_null(codes.indices, -1).to_numpy(zero_copy_only=False)
    x, y = code[a], code[b]
    both = (x >= 0) & (y >= 0)
    alike = (both & (x == y)).astype(np.float64)
    differ = both & (x != y)
    kinds, which = np.unique(np.stack([x[differ], y[differ]], axis=1), axis=0, return_inverse=True)
    scores = process.cpdist(
        [values[i] for i in kinds[:, 0]],
        [values[i] for i in kinds[:, 1]],
        scorer=Indel.normalized_similarity,
        dtype=np.float64,
    )
    alike[differ] = scores[which.reshape(-1)] if len(kinds) else 0
    return alike, both.astype(np.float64)


def _fetch(
    take: Callable[[np.ndarray], pa.Table], here: int, wanted: np.ndarray, schema: pa.Schema, comm: MPI.Intracomm
) -> pa.Table:
    """Collective. Return the rows with the global numbers `wanted`, wherever they are, in that order.

    Args:
        take: gives those of this rank's rows, of which there are `here`, that stand at some rising places.
    """
    starts = np.concatenate([[0], np.cumsum(counts(here, comm))])
    holder = np.searchsorted(starts, wanted, side="right") - 1
    order = np.argsort(holder, kind="stable")
    edges = np.searchsorted(holder[order], np.arange(comm.size + 1))
    asked = exchange([wanted[order[a:b]].astype(np.int64).tobytes() for a, b in pairwise(edges.tolist())], comm)
    places = [np.frombuffer(numbers, np.int64) - starts[comm.rank] for numbers in asked]
    held = np.unique(np.concatenate(places))
    found = take(held)
    answers = [to_bytes(found.take(np.searchsorted(held, place)).to_batches(), schema) for place in places]
    arrived = pa.Table.from_batches([b for part in exchange(answers, comm) for b in from_bytes(part)], schema)
    return arrived.take(np.argsort(order, kind="stable")).combine_chunks()


def _taker(table: Table, names: list[str]) -> tuple[Callable[[np.ndarray], pa.Table], pa.Schema]:
    """Return what `_fetch` needs to take rows of a table, categories as text, reading it batch by batch."""
    types = [table.schema.field(name).type for name in names]
    plain_types = [type.value_type if pa.types.is_dictionary(type) else type for type in types]
    schema = pa.schema(list(zip(names, plain_types, strict=True)))

    def take(places: np.ndarray) -> pa.Table:
        found, start = [schema.empty_table()], 0
        for batch in table.batches() if len(places) else ():
            first, last = np.searchsorted(places, [start, start + batch.num_rows])
            chosen = batch.select(names).take(pa.array(places[first:last] - start))
            found.append(pa.table([plain(column) for column in chosen.columns], schema=schema))
            start += batch.num_rows
        return pa.concat_tables(found)

    return take, schema


def _close(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all records in `pairs`, rising, and for each the first record of those it is tied to, also by others.

    Each record points at one that it is tied to and that stands before it; the ends of the pointers are hooked onto
    each other, and the pointers shortened, until both sides of each pair point at the same.

    Source: Shiloach and Vishkin 1982, An O(log n) parallel connectivity algorithm.
    """
    rows, ends = np.unique(pairs, return_inverse=True)
    a, b = ends.reshape(-1, 2).T
    first = np.arange(len(rows))
    while (first[a] != first[b]).any():
        low = np.minimum(first[a], first[b])
        np.minimum.at(first, first[a], low)
        np.minimum.at(first, first[b], low)
        while (first[first] != first).any():
            first = first[first]
    return rows, rows[first]


def _merge(table: Table, id: str, rows: np.ndarray, cluster: np.ndarray, comm: MPI.Intracomm) -> Table:
    """Collective. Return this rank's rows without those that go, the kept ones filled from them.

    Args:
        rows, cluster: the records that are alike, global numbers, rising, and the first one of each one's cluster.
    """
    names = [name for name in table.columns if name != id]
    start = int(counts(table.num_rows, comm)[: comm.rank].sum())
    whole = fetch_rows(_complete(table, names), rows, comm)
    best = np.lexsort((rows, -whole, cluster))
    first = best[np.unique(cluster[best], return_index=True)[1]]  # the place in `rows` of the one that each keeps
    kept = rows[first[np.searchsorted(cluster[first], cluster)]]
    is_here = (kept >= start) & (kept < start + table.num_rows)
    gives = is_here & (rows != kept) & (whole[np.searchsorted(rows, kept)] < len(names))
    fillers = _fillers(table, names, rows[gives], kept[gives], comm)
    fillers = {name: (places - start, cells) for name, (places, cells) in fillers.items()}
    row = 0

    def fill(batch: pa.RecordBatch) -> pa.RecordBatch:
        nonlocal row
        row += batch.num_rows
        return _filled(batch, (row - batch.num_rows, row), fillers, table)

    result = table.map(fill)

    goes = (rows != kept) & (rows >= start) & (rows < start + table.num_rows)
    gone, stays = rows[goes] - start, kept[goes]
    take, schema = _taker(table, list(ORIGIN))
    went = take(gone)
    stayed = _fetch(take, table.num_rows, stays, schema, comm)
    nothing = pa.nulls(len(gone), pa.string())
    table.workspace.log_changes(
        _file=went["_file"].combine_chunks(),
        _line=went["_line"].combine_chunks(),
        column=nothing,
        before=nothing,
        after=pc.binary_join_element_wise(stayed["_file"], stayed["_line"].cast(pa.string()), ":").combine_chunks(),
        rule=["duplicate"] * len(gone),
    )
    keep = np.ones(table.num_rows, bool)
    keep[gone] = False
    return result.filter(keep)


def _complete(table: Table, names: list[str]) -> np.ndarray:
    """Return how many of the columns `names` each of this rank's rows has a cell of."""
    held = [np.empty(0, np.int64)]
    for batch in table.batches():
        held.append(np.zeros(batch.num_rows, np.int64))
        for name in names:
            held[-1] += np.asarray(batch.column(name).is_valid())
    return np.concatenate(held)


def _fillers(
    table: Table, names: list[str], givers: np.ndarray, kept: np.ndarray, comm: MPI.Intracomm
) -> dict[str, tuple[np.ndarray, pa.Array]]:
    """Collective. Return column -> kept rows, rising, and the value for each: the most frequent, then first, given.

    Clusters are taken in rounds of about `ROUND_ROWS` givers.
    """
    names = [name for name in names if not pa.types.is_nested(table.schema.field(name).type)]
    take, schema = _taker(table, names)
    order = np.lexsort((givers, kept))
    givers, kept = givers[order], kept[order]
    turn = np.searchsorted(kept, kept) // ROUND_ROWS  # alike for the givers of one kept row
    turns = np.array(turn[-1] + 1 if len(turn) else 0, np.int64)
    comm.Allreduce(MPI.IN_PLACE, turns, op=MPI.MAX)
    found: dict[str, list[pa.Table]] = {name: [] for name in names}
    for now in range(int(turns)):
        here = turn == now
        given = _fetch(take, table.num_rows, givers[here], schema, comm)
        for name in names:
            cells = pa.table({"kept": kept[here], "place": givers[here], "value": given[name]}).drop_null()
            votes = cells.group_by(["kept", "value"]).aggregate([("place", "count"), ("place", "min")])
            votes = votes.sort_by([("kept", "ascending"), ("place_count", "descending"), ("place_min", "ascending")])
            found[name].append(votes.take(np.unique(votes["kept"], return_index=True)[1]))
    return {
        name: (np.asarray(pa.concat_tables(votes)["kept"]), pa.concat_tables(votes)["value"].combine_chunks())
        for name, votes in found.items()
        if sum(map(len, votes))
    }


def _filled(
    batch: pa.RecordBatch, rows: tuple[int, int], fillers: dict[str, tuple[np.ndarray, pa.Array]], table: Table
) -> pa.RecordBatch:
    """Return the batch, which holds this rank's `rows`, with the empty cells of kept rows filled, and log them."""
    for name, (kept, values) in fillers.items():
        here = slice(*np.searchsorted(kept, rows))
        places = kept[here] - rows[0]
        column = plain(batch.column(name))
        empty = np.asarray(column.take(pa.array(places)).is_null())
        if not empty.any():
            continue
        places, given = pa.array(places[empty]), values.slice(here.start, len(empty)).filter(pa.array(empty))
        index = np.arange(len(column))
        index[places] = len(column) + np.arange(len(places))
        whole = pa.concat_arrays([column, given]).take(pa.array(index))
        field = batch.schema.field(name)
        batch = batch.set_column(batch.schema.get_field_index(name), field, whole.cast(field.type))
        table.workspace.log_changes(
            _file=batch.column("_file").take(places),
            _line=batch.column("_line").take(places),
            column=[name] * len(places),
            before=pa.nulls(len(places), pa.string()),
            after=to_text(given),
            rule=["merged"] * len(places),
        )
    return batch


def _judge(
    table: Table, id: str, rows: np.ndarray, cluster: np.ndarray, true: pa.Table, comm: MPI.Intracomm
) -> dict[str, float]:
    """Collective. Return precision, recall and f1 over all pairs of records that are in one cluster."""
    start = int(counts(table.num_rows, comm)[: comm.rank].sum())
    ids = pa.chunked_array([to_text(batch.column(id)) for batch in table.batches()], pa.string()).combine_chunks()
    names, groups = true.column(0), true.column(1)
    are_pairs = _are_pairs(true, ids, comm)
    known = pc.unique(pa.chunked_array([*names.chunks, *groups.chunks] if are_pairs else names.chunks, pa.string()))
    links = np.stack(
        [pc.index_in(names, known), pc.index_in(groups, known if are_pairs else pc.unique(groups))], axis=1
    )
    if are_pairs:
        members, first = _close(links)
        of_name = np.full(len(known), -1)
        of_name[members] = first
    else:
        of_name = links[np.unique(links[:, 0], return_index=True)[1], 1]

    told = pc.index_in(ids, known)
    true_here = np.where(told.is_valid(), of_name[pc.fill_null(told, 0)] if len(known) else -1, -1)
    found_here = np.full(table.num_rows, -1)
    mine = (rows >= start) & (rows < start + table.num_rows)
    found_here[rows[mine] - start] = cluster[mine]
    is_either = (true_here >= 0) | (found_here >= 0)
    both = allgather_rows(np.stack([true_here, found_here], axis=1)[is_either].astype(np.int64), comm)

    def pairs_in(labels: np.ndarray) -> int:
        sizes = np.unique(labels[(labels >= 0).all(axis=1)], axis=0, return_counts=True)[1]
        return int((sizes * (sizes - 1) // 2).sum())

    return known_truth.rates(pairs_in(both), pairs_in(both[:, 1:]), pairs_in(both[:, :1]))


def _are_pairs(true: pa.Table, ids: pa.Array, comm: MPI.Intracomm) -> bool:
    """Collective. Tell a file of id and cluster from one of two ids, whose second cells are mostly ids of the table."""
    seconds = pc.unique(true.column(1))
    known = np.asarray(pc.is_in(seconds, value_set=ids)).astype(np.uint8)
    comm.Allreduce(MPI.IN_PLACE, known, op=MPI.MAX)
    return true.column_names[1] != "cluster" and 2 * int(known.sum()) > len(known)

"""Making one record of each cluster: which one stays, which values it takes from the others, and the log of both."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import plain, to_floats, to_text
from hvdedge.parallel import counts, exchange, fetch_rows, send_rows
from hvdedge.tables import ORIGIN, Table, from_bytes, to_bytes

ROUND_ROWS = 16384  # of the records to merge, fetched at a time
Values = dict[str, tuple[np.ndarray, pa.Array]]


def merge(
    table: Table, names: list[str], first: np.ndarray, keep: str, newest: str, drops: bool, comm: MPI.Intracomm
) -> Table:
    """Collective. Return this rank's rows with each cluster made one row, and log what went and what was filled.

    Args:
        names: the columns that may take values from other records.
        first: for each of this rank's rows the first row of its cluster, global numbers.
        keep: complete (the most complete row stays, its empty cells are filled with the most frequent value of the
            others), frequent (its other cells take the cluster's most frequent value, too), newest (the row that is
            greatest in the column `newest` stays, its empty cells are filled). The first row of equals counts.
        drops: False leaves all rows as they are and only lists them.
    """
    here = table.num_rows
    starts = np.concatenate([[0], np.cumsum(counts(here, comm))])
    start = int(starts[comm.rank])
    rows = np.arange(start, start + here)
    rank = _complete(table, names) if keep != "newest" else _newest(table, newest)
    stays = _best(rows, first, rank, starts, comm)
    goes = np.flatnonzero(stays != rows)
    if drops:
        giver, kept = rows[goes], stays[goes]
        if keep == "complete":  # a row that lacks nothing takes nothing
            lacks = fetch_rows(rank, kept, comm) < len(names)
            giver, kept = giver[lacks], kept[lacks]
        if keep == "frequent":  # the row that stays has a vote, too
            giver, kept = np.concatenate([giver, np.unique(kept)]), np.concatenate([kept, np.unique(kept)])
        ties = np.stack([kept, giver], axis=1)
        ties = np.unique(send_rows(ties, np.searchsorted(starts, kept, side="right") - 1, comm), axis=0)
        values = _values(table, names, ties[:, 1], ties[:, 0], comm)
        values = {name: (places - start, cells) for name, (places, cells) in values.items()}
        left = np.ones(here, bool)
        left[goes] = False

        def merged() -> Iterator[pa.RecordBatch]:
            row = 0
            for batch in table.batches():
                rows_of = (row, row + batch.num_rows)
                yield _filled(batch, rows_of, values, table, keep == "frequent").filter(pa.array(left[slice(*rows_of)]))
                row += batch.num_rows

        result = Table.from_batches(table.schema, merged(), table.workspace)
    _log(table, goes, stays[goes], "duplicate" if drops else "link", comm)
    return result if drops else table


def _best(rows: np.ndarray, first: np.ndarray, rank: np.ndarray, starts: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return for each of this rank's rows the one of its cluster with the highest `rank`.

    Who holds a cluster's first row decides; rows that are alone do not travel.
    """
    start = int(starts[comm.rank])
    tied = np.zeros(len(rows), bool)
    others = np.flatnonzero(first != rows)
    tied[send_rows(first[others], np.searchsorted(starts, first[others], side="right") - 1, comm) - start] = True
    tied[others] = True
    told = np.empty(int(tied.sum()), [("first", np.int64), ("rank", np.float64), ("row", np.int64)])
    told["first"], told["rank"], told["row"] = first[tied], rank[tied], rows[tied]
    arrived = send_rows(told, np.searchsorted(starts, told["first"], side="right") - 1, comm)
    arrived = arrived[np.lexsort((arrived["row"], -arrived["rank"], arrived["first"]))]
    clusters, places = np.unique(arrived["first"], return_index=True)
    winners = np.arange(start, start + len(rows))
    winners[clusters - start] = arrived["row"][places]
    stays = rows.copy()
    stays[tied] = fetch_rows(winners, first[tied], comm)
    return stays


def _complete(table: Table, names: list[str]) -> np.ndarray:
    """Return how many of the columns `names` each of this rank's rows has a cell of."""
    held = [np.empty(0)]
    for batch in table.batches():
        held.append(np.zeros(batch.num_rows))
        for name in names:
            held[-1] += np.asarray(batch.column(name).is_valid())
    return np.concatenate(held)


def _newest(table: Table, name: str) -> np.ndarray:
    cells = [to_floats(batch.column(0)) for batch in table.select([name]).batches()]
    return np.nan_to_num(np.concatenate([np.empty(0), *cells]), nan=-np.inf)


def _values(table: Table, names: list[str], givers: np.ndarray, kept: np.ndarray, comm: MPI.Intracomm) -> Values:
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
            place = np.where(givers[here] == kept[here], -1, givers[here])  # of equals, the row's own
            cells = pa.table({"kept": kept[here], "place": place, "value": given[name]}).drop_null()
            votes = cells.group_by(["kept", "value"]).aggregate([("place", "count"), ("place", "min")])
            votes = votes.sort_by([("kept", "ascending"), ("place_count", "descending"), ("place_min", "ascending")])
            found[name].append(votes.take(np.unique(votes["kept"], return_index=True)[1]))
    return {
        name: (np.asarray(pa.concat_tables(votes)["kept"]), pa.concat_tables(votes)["value"].combine_chunks())
        for name, votes in found.items()
        if sum(map(len, votes))
    }


def _filled(
    batch: pa.RecordBatch, rows: tuple[int, int], values: Values, table: Table, all_cells: bool
) -> pa.RecordBatch:
    """Return the batch, which holds this rank's `rows`, with cells of kept rows filled, and log them.

    Args:
        all_cells: whether cells that hold something else get the value, too.
    """
    for name, (kept, given) in values.items():
        here = slice(*np.searchsorted(kept, rows))
        places = kept[here] - rows[0]
        column = plain(batch.column(name))
        before, after = column.take(pa.array(places)), given.slice(here.start, len(places))
        wanted = np.asarray(before.is_null())
        if all_cells:
            wanted |= np.asarray(pc.fill_null(pc.not_equal(before, after), True))
        if not wanted.any():
            continue
        places, after, before = (
            pa.array(places[wanted]),
            after.filter(pa.array(wanted)),
            before.filter(pa.array(wanted)),
        )
        index = np.arange(len(column))
        index[places] = len(column) + np.arange(len(places))
        whole = pa.concat_arrays([column, after]).take(pa.array(index))
        field = batch.schema.field(name)
        batch = batch.set_column(batch.schema.get_field_index(name), field, whole.cast(field.type))
        table.workspace.log_changes(
            _file=batch.column("_file").take(places),
            _line=batch.column("_line").take(places),
            column=[name] * len(places),
            before=to_text(before),
            after=to_text(after),
            rule=["merged"] * len(places),
        )
    return batch


def _log(table: Table, places: np.ndarray, stays: np.ndarray, rule: str, comm: MPI.Intracomm) -> None:
    """Collective. Log for the rows at `places` which row stands for them, as file:line."""
    take, schema = _taker(table, list(ORIGIN))
    went = take(places)
    stayed = _fetch(take, table.num_rows, stays, schema, comm)
    nothing = pa.nulls(len(places), pa.string())
    table.workspace.log_changes(
        _file=went["_file"].combine_chunks(),
        _line=went["_line"].combine_chunks(),
        column=nothing,
        before=nothing,
        after=pc.binary_join_element_wise(stayed["_file"], stayed["_line"].cast(pa.string()), ":").combine_chunks(),
        rule=[rule] * len(places),
    )


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

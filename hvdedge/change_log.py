"""What a stage's change log and quarantine hold, in short: how many entries of each rule, and examples of each."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.parallel import allgather_json

EXAMPLES = 3  # of each rule
MOST_CHARS = 80
ORDER = [(name, "ascending") for name in ("_file", "_line", "column")]


def summarise(batches: Iterable[pa.RecordBatch], comm: MPI.Intracomm) -> dict[str, dict]:
    """Collective. Return rule -> {count, examples} of all ranks' entries, the most frequent rule first.

    The examples are the first ones in the order of files, lines and columns that show a text; long ones are cut.
    """
    counts: dict[str, int] = {}
    examples: dict[str, list[dict]] = {}
    for batch in batches:
        found = batch.column("rule").value_counts()
        for rule, count in zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True):
            counts[rule] = counts.get(rule, 0) + count
            entries = batch.filter(pc.equal(batch.column("rule"), rule))
            shown = entries.filter(_shows(entries))
            entries = shown if len(shown) else entries
            first = entries.take(pc.select_k_unstable(entries, EXAMPLES, sort_keys=ORDER)).to_pylist()
            examples[rule] = _first([*examples.get(rule, []), *first])
    result: dict[str, dict] = {}
    for part in allgather_json([counts, examples], comm):
        for rule, count in part[0].items():
            entry = result.setdefault(rule, {"count": 0, "examples": []})
            entry["count"] += count
            entry["examples"] = _first([*entry["examples"], *part[1][rule]])
    for entry in result.values():
        entry["examples"] = [_short(row) for row in entry["examples"]]
    return dict(sorted(result.items(), key=lambda item: (-item[1]["count"], item[0])))


class Totals:
    """What was done to a table in all: rows, cells changed, of these emptied, rows gone.

    It counts batches that pass on their way to `summarise`, so that what may be large is read once.

    Args:
        rows: of this rank's part of the table.
    """

    def __init__(self, rows: int):
        self._found = dict.fromkeys(("rows", "cells_changed", "cells_emptied", "rows_taken_out", "rows_set_aside"), 0)
        self._found["rows"] = rows

    def changed(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the batches of a change log, and count them."""
        for batch in batches:
            is_row = batch.column("column").is_null()
            is_emptied = pc.and_(batch.column("before").is_valid(), batch.column("after").is_null())
            is_cell = pc.fill_null(pc.not_equal(batch.column("column"), ""), False)  # else a row whose cells moved
            self._found["rows_taken_out"] += is_row.true_count
            self._found["cells_changed"] += is_cell.true_count
            self._found["cells_emptied"] += pc.and_(is_cell, is_emptied).true_count
            yield batch

    def set_aside(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the batches of a quarantine, and count them."""
        for batch in batches:
            is_row = pc.and_(batch.column("column").is_null(), pc.not_equal(batch.column("rule"), "preamble"))
            self._found["rows_set_aside"] += is_row.true_count
            yield batch

    def over(self, comm: MPI.Intracomm) -> dict[str, int]:
        """Collective. Return the counts of all ranks."""
        sums = np.array([*self._found.values()], np.int64)
        comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        return dict(zip(self._found, sums.tolist(), strict=True))


def _shows(entries: pa.RecordBatch) -> pa.Array:
    """Return which entries have a text, before or after: those of private columns were blotted out."""
    names = [name for name in ("before", "after", "text") if name in entries.schema.names]
    found = entries.column(names[0]).is_valid()
    for name in names[1:]:
        found = pc.or_(found, entries.column(name).is_valid())
    return found


def _first(rows: list[dict]) -> list[dict]:
    def place(row: dict) -> tuple:
        is_blank = all(row.get(name) is None for name in ("before", "after", "text"))
        return is_blank, row["_file"] or "", row["_line"] or 0, row["column"] or ""

    return sorted(rows, key=place)[:EXAMPLES]


def _short(row: dict) -> dict:
    return {
        name.lstrip("_"): value[:MOST_CHARS] + "..." if isinstance(value, str) and len(value) > MOST_CHARS else value
        for name, value in row.items()
        if name != "rule"
    }

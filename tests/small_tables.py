"""Tables written down in a test, and what cleaners made of them."""

import csv

import numpy as np
import pyarrow as pa

from hvdedge.tables import Table


def table_of(workspace, batch_rows: int = 4, **columns) -> Table:
    """Return the columns as a table of one rank, from lines 2, 3, ... of a.csv; the logs are emptied."""
    count = len(next(iter(columns.values())))
    rows = pa.table({**columns, "_file": pa.array(["a.csv"] * count, pa.string()), "_line": np.arange(count) + 2})
    workspace.changes.clear()
    workspace.quarantine.clear()
    return Table.from_batches(rows.schema, rows.to_batches(batch_rows), workspace)


def rows_of(table: Table, *names: str) -> list:
    """Return the rows, as dicts; of one name, its cells."""
    rows = table.to_arrow().select(names or table.columns).to_pylist()
    return [row[names[0]] if len(names) == 1 else row for row in rows]


def changes(workspace) -> list[tuple]:
    """Return line, column, before, after, rule of each change."""
    return [tuple(row.values())[1:] for batch in workspace.changes for row in batch.to_pylist()]


def write_csv(path, header: str, rows) -> str:
    """Write a CSV file and return its path."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return str(path)

"""The rows of a run's table or log, as `hvdedge show` prints them."""

import pathlib
import sys

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
from rich.console import Console

from hvdedge.columns import to_text
from hvdedge.report_tables import Column, ReportTable

FIRST_ROWS = 20


def is_table(path: pathlib.Path) -> bool:
    """Tell whether `path` is a Parquet file, or a folder with the parts of a run's table."""
    return path.suffix == ".parquet" if path.is_file() else any(path.glob("part-*.parquet"))


def show(path: pathlib.Path, as_csv: bool) -> None:
    """Print the first rows of a table, or all of them as CSV, a batch at a time."""
    parts = [path] if path.is_file() else sorted(path.glob("part-*.parquet"))
    table = pyarrow.dataset.dataset([str(part) for part in parts])
    if as_csv:
        schema = pa.schema([(f.name, pa.string() if _is_odd(f.type) else f.type) for f in table.schema])
        with pyarrow.csv.CSVWriter(sys.stdout.buffer, schema) as writer:
            for batch in table.to_batches():
                cells = [to_text(column) if _is_odd(column.type) else column for column in batch.columns]
                writer.write_batch(pa.record_batch(cells, schema=schema))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # a pipe gets one line a row
    rows = table.head(FIRST_ROWS).to_pylist()
    columns = [Column(name, name) for name in table.schema.names]
    title, nothing = f"{path}: {table.count_rows():,} rows", f"Its columns: {', '.join(table.schema.names)}."
    shown = ReportTable(title, tuple(columns), [tuple(row.values()) for row in rows], empty=nothing)
    console.print(*shown.to_rich(console.width if console.is_terminal else None), sep="\n")


def _is_odd(type: pa.DataType) -> bool:
    """Tell whether CSV has no form for it."""
    return pa.types.is_nested(type) or pa.types.is_binary(type) or pa.types.is_fixed_size_binary(type)

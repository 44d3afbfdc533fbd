"""The raw files and the form that was found in each."""

from collections.abc import Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, rows

SECTION, OF, ORDER = "Data and repairs", "run", 50
COLUMNS = (
    Column("file", is_key=True),
    Column("encoding"),
    Column("delimiter"),
    Column("quote"),
    Column("escape"),
    Column("preamble_rows", "preamble", "count"),
    Column("header_rows", "header", "count"),
    Column("rows", "", "count"),
    Column("rows_quarantined", "set aside", "count"),
)
MARKS = {"\t": "tab", " ": "blank"}


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the raw files with encoding, delimiter, quote, header and rows as they were found."""
    return over_runs(
        records,
        "Raw files as they were found",
        COLUMNS,
        lambda run: [
            tuple(_mark(file.get(column.key)) for column in COLUMNS) for file in rows(run.metric("prepare", "files"))
        ],
        note="Preamble and header in rows; rows set aside, below the header, are kept in the quarantine.",
        empty="No file was read.",
    )


def _mark(value: object) -> object:
    return MARKS.get(value, value) if isinstance(value, str) else value

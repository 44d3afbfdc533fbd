"""The options that each stage ran with."""

from collections.abc import Iterator, Sequence
from typing import Any

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run

SECTION, OF, ORDER = "Options", "run", 80
COLUMNS = (Column("stage", is_key=True), Column("option", is_key=True), Column("value"))


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the options of every stage with the values that it ran with."""
    return over_runs(
        records, "Options as they were run", COLUMNS, _rows, empty="No options were recorded.", is_folded=True
    )


def _rows(run: Run) -> Iterator[tuple]:
    for stage, record in run.records.items():
        yield from ((stage, name, '""' if value == "" else value) for name, value in _leaves(record.options, ""))


def _leaves(options: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

"""What preparation and cleaning changed, in numbers."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number, reformatted, rows, sum_known

SECTION, OF, ORDER = "Data and repairs", "run", 52
BY_COLUMN = ("filled", "changed")  # metrics that count by column
COLUMNS = (
    Column("stage", is_key=True),
    Column("method", is_key=True),
    Column("what", is_key=True),
    Column("count", "", "count"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """Count the rows set aside and merged and the cells changed and filled."""
    return over_runs(records, "Changes to the data", COLUMNS, _rows, empty="Nothing was prepared or cleaned.")


def _rows(run: Run) -> Iterator[tuple]:
    files = rows(run.metric("prepare", "files"))
    if files:
        yield "prepare", "reader", "rows read", sum_known(number(file.get("rows")) for file in files)
    columns = [mapping(column) for column in mapping(run.metric("prepare", "columns")).values()]
    for key, words, count in (("changed", "cells reformatted", reformatted), ("missing", "cells missing", _missing)):
        counts = [count(column) for column in columns if key in column]
        if counts:
            yield "prepare", "types", words, sum_known(counts)
    aside = mapping(run.metric("prepare", "set_aside"))
    for rule, entry in aside.items():
        yield "prepare", "quarantine", rule.replace("_", " "), number(mapping(entry).get("count"))
    for method, measured in mapping(run.metric("clean")).items():
        if method in ("changes", "set_aside", "totals"):
            continue
        for what, value in mapping(measured).items():
            if isinstance(value, dict) and what in BY_COLUMN:
                value = sum_known(map(number, value.values()))
            counted = number(value)
            if isinstance(counted, int) and counted:  # precision and the like are no counts
                yield "clean", method, what.replace("_", " "), counted


def _missing(column: dict) -> float | None:
    return number(column.get("missing"))

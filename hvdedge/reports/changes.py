"""What preparation and cleaning changed, in numbers."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number, rows, sum_known

SECTION, OF, ORDER = "Data and repairs", "run", 52
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
        aside = sum_known(number(file.get("rows_quarantined")) for file in files)
        yield "prepare", "reader", "rows set aside", aside
    columns = [mapping(column) for column in mapping(run.metric("prepare", "columns")).values()]
    for key, words in (("changed", "cells changed"), ("missing", "cells missing")):
        counts = [number(column[key]) for column in columns if key in column]
        if counts:
            yield "prepare", "types", words, sum_known(counts)
    for method, measured in mapping(run.metric("clean")).items():
        if method in ("changes", "set_aside"):
            continue
        for what, value in mapping(measured).items():
            counted = sum_known(map(number, value.values())) if isinstance(value, dict) else number(value)
            if isinstance(counted, int):  # precision and the like are no counts; the table of repairs has them
                yield "clean", method, what.replace("_", " "), counted

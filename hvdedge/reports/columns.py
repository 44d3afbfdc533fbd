"""The table's columns: what each holds and what was done to its cells."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number, reformatted

SECTION, OF, ORDER = "Data and repairs", "run", 51
COLUMNS = (
    Column("column", is_key=True),
    Column("type"),
    Column("missing", "", "count"),
    Column("reformatted", "", "count"),
    Column("mended", "", "count"),
    Column("filled", "", "count"),
    Column("filled_by", "by"),
    Column("fill_error", "error", "number"),
    Column("left", "left empty, as"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List each column with its type, its empty cells, and how many cells were changed by what."""
    return over_runs(
        records,
        "Columns and their repairs",
        COLUMNS,
        _rows,
        note="Missing as prepared; reformatted (not emptied) by prepare, mended by clean.errors, filled by "
        "clean.missing; error: on known cells that were hidden, in standard deviations, or the share of wrong ones "
        "for categories.",
        empty="No column was looked at.",
    )


def _rows(run: Run) -> Iterator[tuple]:
    mended = mapping(run.metric("clean", "errors", "columns"))
    filled, by, errors, left = (
        mapping(run.metric("clean", "missing", key)) for key in ("filled", "methods", "errors", "left")
    )
    for name, column in mapping(run.metric("prepare", "columns")).items():
        found = mapping(column)
        method = by.get(name)
        yield (
            *(name, found.get("type"), number(found.get("missing")), reformatted(found)),
            *(number(mended.get(name)), number(filled.get(name)), method),
            *(number(mapping(errors.get(name)).get(method)), left.get(name)),
        )

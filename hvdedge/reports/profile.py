"""What each column of the cleaned table holds, and which others it goes with most."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number, rows

SECTION, OF, ORDER = "Data and repairs", "run", 54
COLUMNS = (
    Column("column", is_key=True),
    Column("type"),
    Column("missing", "", "count"),
    Column("distinct", "", "count"),
    Column("min"),
    Column("median"),
    Column("max"),
    Column("mean", "", "number"),
    Column("std", "", "number"),
    Column("most_frequent", "most frequent"),
    Column("goes_with", "goes with"),
)
SHOWN = 3  # columns that one goes with


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List each column with its counts, its spread, its most frequent value and its strongest correlations."""
    return over_runs(
        records,
        "Columns as profiled",
        COLUMNS,
        _rows,
        note="Of the first 100 columns; after clean. Many distinct values are estimated, to about 1 %. Goes with: the "
        "strongest correlations, where they were asked for. All figures are in data_profile.json.",
        empty="No column was profiled.",
    )


def _rows(run: Run) -> Iterator[tuple]:
    related: dict[str, dict[str, float]] = {}  # column -> other one -> its strongest correlation
    for one in rows(run.metric("profile", "correlations")):
        value = number(one.get("value")) or 0.0
        for here, there in ((one.get("left"), one.get("right")), (one.get("right"), one.get("left"))):
            others = related.setdefault(str(here), {})
            others[str(there)] = max(others.get(str(there), 0.0), value, key=abs)
    prepared = mapping(run.metric("prepare", "columns"))
    for name, column in mapping(run.metric("profile", "columns")).items():
        its, read = mapping(column), mapping(prepared.get(name)).get("type")
        is_category = (its.get("type"), read) == ("text", "category")  # which are stored as text
        strongest = sorted(related.get(name, {}).items(), key=lambda pair: (-abs(pair[1]), pair[0]))[:SHOWN]
        yield (
            *(name, read if is_category else its.get("type"), number(its.get("missing")), number(its.get("distinct"))),
            *(_short(its.get(key)) for key in ("min", "median", "max")),
            *(number(its.get("mean")), number(its.get("std")), its.get("most_frequent")),
            ", ".join(f"{other} {value:.2f}" for other, value in strongest) or None,
        )


def _short(value: object) -> str | None:
    """Return an end of a column for a cell: few digits of a number, the begin of a text."""
    if value is None:
        return None
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:40]

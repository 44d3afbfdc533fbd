"""What reductions and selections kept: columns with what they still tell, rows by class."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number

SECTION, OF, ORDER = "Features", "run", 59
COLUMNS = (
    Column("method", is_key=True),
    Column("columns", "columns kept", "count"),
    Column("variance", "of the variance", "percent"),
    Column("rows", "rows before", "count"),
    Column("kept", "rows kept", "count"),
    Column("by_class", "by class"),
    Column("seconds", "took", "seconds"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the reductions and selections with the columns or rows that each kept."""
    return over_runs(
        records, "Fewer columns, fewer rows", COLUMNS, _rows, empty="All columns and all training rows were kept."
    )


def _rows(run: Run) -> Iterator[tuple]:
    for kind in ("reductions", "selections"):
        for name, facts in mapping(run.metric("extract", kind)).items():
            found = mapping(facts)
            classes = mapping(found.get("by_class"))
            yield (
                name,
                *(number(found.get(key)) for key in ("columns", "variance", "rows", "kept")),
                ", ".join(f"{label}: {count}" for label, count in classes.items()) or None,
                number(found.get("seconds")),
            )

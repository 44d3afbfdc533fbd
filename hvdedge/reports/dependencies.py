"""What follows from what in the table: the dependencies that tell most, and keys."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number, rows

SECTION, OF, ORDER = "Data and repairs", "run", 55
COLUMNS = (
    Column("kind", is_key=True),
    Column("left", "columns"),
    Column("right", "determine"),
    Column("redundant", "", "percent"),
    Column("covered", "", "percent"),
    Column("score", kind="number"),
)
SHOWN = 10  # of each kind


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the functional dependencies and unique columns that tell most."""
    return over_runs(
        records,
        "Dependencies",
        COLUMNS,
        _rows,
        note="Redundant: the rows whose right-hand cell could be left out, as another row tells it; covered: those "
        "that share their left-hand cells with another. Score: how much unique columns look like a key, up to 1; those "
        "with empty cells come last. All dependencies are in data_profile.json.",
        empty="No dependencies were looked for.",
    )


def _rows(run: Run) -> Iterator[tuple]:
    found = mapping(run.metric("profile", "dependencies"))
    for one in rows(found.get("best_functional_dependencies"))[:SHOWN]:
        shares = number(one.get("redundant")), number(one.get("covered"))
        yield "functional dependency", _named(one.get("left")), one.get("right"), *shares, None
    for one in rows(found.get("best_unique_columns"))[:SHOWN]:
        names = one.get("columns")
        yield "unique", _named(names) if names else "(at most one row)", None, None, None, number(one.get("score"))


def _named(names: object) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) and names else "(constant)"

"""Which column refers to which key, as a table and as a graph of tables."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, Plot, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number, rows

SECTION, OF, ORDER = "Data and repairs", "run", 56
COLUMNS = (
    Column("table", is_key=True),
    Column("column", is_key=True),
    Column("of_table", "of table"),
    Column("of_column", "key"),
    Column("used", "key values used", "percent"),
    Column("score", kind="number"),
)
LEAST_SCORE = 0.5  # what is below holds by chance more often than not


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the likeliest foreign key of each column, and draw them as arrows between tables."""
    table = over_runs(
        records,
        "Foreign keys",
        COLUMNS,
        _rows,
        note="The likeliest key of each column, from a score of 0.5 on. All are in data_profile.json.",
        empty="No foreign keys were found, or none were looked for.",
    )
    if len(records) != 1:
        return table
    told = "; ".join(f"{one}.{column} refers to {of}.{key}" for one, column, of, key, *_ in table.rows)
    plot = Plot("graph", x="table", panels=(("Foreign keys", ("column", "of_table", "of_column")),), alternative=told)
    return ReportTable(table.title, table.columns, table.rows, table.note, empty=table.empty, plot=plot)


def _rows(run: Run) -> Iterator[tuple]:
    names = [str(name) for name in mapping(run.metric("profile", "tables"))]
    seen = set()
    for one in rows(run.metric("profile", "dependencies", "foreign_keys")):
        column, of = str(one.get("column")), str(one.get("of"))
        if column in seen or (number(one.get("score")) or 0) < LEAST_SCORE:
            continue
        seen.add(column)
        yield *_parted(column, names, run.case), *_parted(of, names, run.case), number(one.get("used")), one["score"]


def _parted(column: str, names: list[str], own: str) -> tuple[str, str]:
    """Return the table and the column of a name such as clients.id; `own` is what the pipeline's own is called."""
    title = max((name for name in names if column.startswith(f"{name}.")), key=len, default="")
    return (title, column[len(title) + 1 :]) if title else (own, column)

"""Repairs by kind, each with examples of a cell before and after."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number, rows

SECTION, OF, ORDER = "Data and repairs", "run", 53
COLUMNS = (
    Column("stage", is_key=True),
    Column("kind", is_key=True),
    Column("count", "", "count"),
    Column("where"),
    Column("column"),
    Column("before"),
    Column("after"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List each kind of repair with its count and examples before and after."""
    return over_runs(
        records,
        "Repairs by kind, with examples",
        COLUMNS,
        _rows,
        note="All changes are in changes/, all rows and values set aside in quarantine/ of the run.",
        empty="Nothing was changed.",
    )


def _rows(run: Run) -> Iterator[tuple]:
    for stage in ("prepare", "clean"):
        for log in ("changes", "set_aside"):
            for kind, entry in mapping(run.metric(stage, log)).items():
                count = number(mapping(entry).get("count"))
                for example in rows(mapping(entry).get("examples")):
                    where = f"{example.get('file')}:{example.get('line')}"
                    before = example.get("text") if log == "set_aside" else example.get("before")
                    after = "set aside" if log == "set_aside" else example.get("after")
                    yield stage, kind.replace("_", " "), count, where, example.get("column"), before, after
                    count = None

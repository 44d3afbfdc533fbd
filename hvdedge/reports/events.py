"""What happened on the way: ranks lost, settings adapted, checkpoints taken up."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run

SECTION, OF, ORDER = "Events", "run", 70
COLUMNS = (
    Column("stage", is_key=True),
    Column("seconds", "after", "seconds", is_key=True),
    Column("what"),
    Column("rank", "", "count"),
    Column("action"),
    Column("took_seconds", "took", "seconds"),
    Column("more"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List what happened in each stage, when, to which rank, and what was done about it."""
    return over_runs(records, "Events", COLUMNS, _rows, empty="Nothing out of the ordinary happened.")


def _rows(run: Run) -> Iterator[tuple]:
    named = [column.key for column in COLUMNS[1:-1]]
    for stage, record in run.records.items():
        for event in record.events:
            more = ", ".join(f"{key} = {value}" for key, value in event.items() if key not in named)
            yield stage, *(event.get(key) for key in named), more or None

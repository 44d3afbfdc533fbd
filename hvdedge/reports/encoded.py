"""What became of each column: the way it is encoded, or why it is left out."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping

SECTION, OF, ORDER = "Features", "run", 58
COLUMNS = (Column("column", is_key=True), Column("decision", "becomes"), Column("left_out", "left out, as"))


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the columns with the way that each is encoded, or why it is left out."""
    return over_runs(
        records,
        "Columns as features",
        COLUMNS,
        _rows,
        note="What x is made of; all numbers that encode a row stand in features.json.",
        empty="No column was encoded by itself.",
    )


def _rows(run: Run) -> Iterator[tuple]:
    for name, decision in mapping(run.metric("extract", "decisions")).items():
        yield name, decision, None
    for name, why in mapping(run.metric("extract", "left_out")).items():
        yield name, None, why

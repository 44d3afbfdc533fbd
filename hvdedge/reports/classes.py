"""Precision, recall and F1 of each class."""

from collections.abc import Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, number, rows

SECTION, OF, ORDER = "Quality", "run", 31
MEASURES = ("precision", "recall", "f1", "support")
COLUMNS = (
    Column("class", is_key=True),
    Column("precision", "", "percent"),
    Column("recall", "", "percent"),
    Column("f1", "F1", "percent"),
    Column("support", "", "count"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List precision, recall, F1 and the number of examples of each class."""
    return over_runs(
        records,
        "Quality by class",
        COLUMNS,
        lambda run: [
            (row.get("class"), *(number(row.get(measure)) for measure in MEASURES))
            for row in rows(run.metric("evaluate", "classes"))
        ],
        note="On the test data; support is the number of its examples.",
        empty="There are no figures for classes.",
    )

"""How far off the numbers are that a model tells, each in its own unit."""

from collections.abc import Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, number, rows

SECTION, OF, ORDER = "Quality", "run", 33
MEASURES = ("mae", "rmse", "mse", "r2")
COLUMNS = (Column("target", is_key=True), *(Column(name, kind="number") for name in MEASURES))


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List mean absolute and squared errors of each target, and the share of its variance that is explained."""
    return over_runs(
        records,
        "Errors by target",
        COLUMNS,
        lambda run: [
            (row.get("target"), *(number(row.get(name)) for name in MEASURES))
            for row in rows(run.metric("evaluate", "targets"))
        ],
        note="On the test rows, in the unit of each column; of a forecast over all steps ahead.",
        empty="No numbers were told.",
    )

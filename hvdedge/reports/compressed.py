"""The compressed models: size, quality and speed of each."""

from collections.abc import Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number

SECTION, OF, ORDER = "Compressed models", "run", 60
COLUMNS = (
    Column("model", is_key=True),
    Column("bytes", "size", "bytes"),
    Column("ratio", "smaller", "times"),
    Column("accuracy", "", "percent"),
    Column("weights_left", "", "share"),
    Column("latency_seconds", "latency", "seconds"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the compressed models with size, ratio, accuracy, weights left and latency."""
    return over_runs(
        records,
        "Compressed models",
        COLUMNS,
        lambda run: [
            (name, *(number(mapping(model).get(column.key)) for column in COLUMNS[1:]))
            for name, model in mapping(run.metric("compress", "models")).items()
        ],
        note="Run by the interpreter that runs on the device; latency is that of one example here.",
        empty="No model was compressed.",
    )

"""The compressed models: size, quality and speed of each."""

from collections.abc import Sequence

from hvdedge.report_tables import Column, ReportTable, kind_of, over_runs
from hvdedge.runs import Run, mapping, number

SECTION, OF, ORDER = "Compressed models", "run", 60
COLUMNS = (
    Column("model", is_key=True),
    Column("bytes", "size", "bytes"),
    Column("ratio", "smaller", "times"),
    Column("weights_left", "", "share"),
    Column("latency_seconds", "latency", "seconds"),
    Column("latency_p95_seconds", "of 95 %", "seconds"),
    Column("latency_ratio", "to float32", "number"),
    Column("joules_per_thousand", "of 1,000", "joules"),
)
MEASURES = ("accuracy", "mse", "mae")  # whichever the task has


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the compressed models with size, ratio, scores, weights left and latency."""
    models = {run.folder: mapping(run.metric("compress", "models")) for run in records}
    measured = {name for its in models.values() for model in its.values() for name in mapping(model)}
    measures = [Column(name, kind=kind_of(name)) for name in MEASURES if name in measured]
    columns = (*COLUMNS[:3], *measures, *COLUMNS[3:])
    return over_runs(
        records,
        "Compressed models",
        columns,
        lambda run: [
            (name, *(number(mapping(model).get(column.key)) for column in columns[1:]))
            for name, model in models[run.folder].items()
        ],
        note="Run by the interpreter that runs on the device; latency is that of one example here.",
        empty="No model was compressed.",
    )

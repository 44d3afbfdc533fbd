"""What training measured of itself: speed, traffic, idle time, size."""

from collections.abc import Sequence

from hvdedge.report_tables import Column, ReportTable, kind_of, over_runs
from hvdedge.runs import Run, mapping, number

SECTION, OF, ORDER = "Training", "run", 41
FIRST = (
    "loss",
    "accuracy",
    "examples_per_second",
    "step_seconds",
    "bytes_per_step",
    "idle_share",
    "steps",
    "parameters",
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the figures that training measured: examples a second, step time, bytes a step, idle share."""
    measured = [mapping(run.metric("train")) for run in records]
    names = {name for metrics in measured for name, value in metrics.items() if number(value) is not None}
    ordered = [*(name for name in FIRST if name in names), *sorted(names - set(FIRST))]
    return over_runs(
        records,
        "Training in figures",
        tuple(Column(name, kind=kind_of(name)) for name in ordered),
        lambda run: (
            [tuple(number(run.metric("train", name)) for name in ordered)] if ordered and run.metric("train") else []
        ),
        note="Examples a second are those of the whole cluster, once warm.",
        empty="Training measured nothing.",
    )

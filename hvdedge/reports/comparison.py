"""All runs beside each other: cores, time, speed-up, efficiency, quality and cost.

speedup = train_seconds(baseline ranks) / train_seconds;  efficiency = speedup * baseline ranks / ranks
"""

from collections.abc import Sequence

from hvdedge.report_tables import Column, ReportTable
from hvdedge.runs import Run, labels, number, scaling

SECTION, OF, ORDER = "Comparison of all runs", "runs", 10
ACCURACY, MSE = Column("accuracy", "accuracy", "percent"), Column("mse", "squared error", "number")
COLUMNS = (
    Column("case"),
    Column("run", is_key=True),
    Column("status"),
    Column("cluster"),
    Column("strategy"),
    Column("ranks", "cores", "count"),
    Column("train_seconds", "training", "seconds"),
    Column("total_seconds", "all stages", "seconds"),
    Column("speedup", "speed-up", "times"),
    Column("efficiency", "efficiency", "share"),
    Column("baseline_ranks", "against", "count"),
    ACCURACY,
    Column("examples_per_second", "examples", "rate"),
    Column("bytes_sent", "sent", "bytes"),
    Column("energy_joules", "energy", "joules"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """Compare all runs: cores, time, speed-up, efficiency, accuracy, traffic, energy."""
    rows = []
    errors = [number(run.metric("evaluate", "mse")) for run in records]
    has_errors = any(error is not None for error in errors)
    for run, label, scaled, error in zip(records, labels(records), scaling(records), errors, strict=True):
        rows.append(
            (
                run.case,
                label,
                run.status,
                run.cluster,
                run.strategy,
                run.world_size,
                run.train_seconds,
                run.total_seconds,
                scaled.speedup if scaled else None,
                scaled.efficiency if scaled else None,
                scaled.baseline_ranks if scaled else None,
                number(run.metric("evaluate", "accuracy")),
                *([error] if has_errors else []),
                number(run.metric("train", "examples_per_second")),
                run.total("bytes_sent"),
                run.total("energy_joules"),
            )
        )
    place = COLUMNS.index(ACCURACY) + 1
    return ReportTable(
        "All runs",
        (*COLUMNS[:place], *([MSE] if has_errors else []), *COLUMNS[place:]),
        rows,
        note="A core is a rank. Speed-up is that of training against the run of the same work on as many ranks as "
        "“against” says, efficiency its share of what these ranks could reach. Bytes and energy are those of "
        "all ranks in all stages but the report.",
        empty="There is no run.",
    )

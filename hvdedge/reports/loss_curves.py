"""The loss curves of all runs in one plot."""

from collections.abc import Sequence
from itertools import zip_longest

from hvdedge.report_tables import Column, Plot, ReportTable
from hvdedge.runs import Run, labels, number

SECTION, OF, ORDER = "Comparison of all runs", "runs", 30
COLUMNS = (
    Column("case"),
    Column("run", is_key=True),
    Column("ranks", "cores", "count"),
    Column("epoch", "", "count", is_key=True),
    Column("loss", "loss, training", "number"),
    Column("validation_loss", "loss, validation", "number"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """Show the training loss of every run, epoch by epoch."""
    rows, last = [], []
    for run, label in zip(records, labels(records), strict=True):
        curves = zip_longest(run.history("loss"), run.history("validation_loss"))
        own = [(run.case, label, run.world_size, at, *map(number, pair)) for at, pair in enumerate(curves, start=1)]
        rows.extend(own)
        if own and own[-1][4] is not None:
            last.append(f"{label} {own[-1][4]:.3g}")
    return ReportTable(
        "Loss curves of all runs",
        COLUMNS,
        rows,
        empty="No run was trained.",
        plot=Plot(
            "lines",
            "epoch",
            (("Training loss over epochs", ("loss",)), ("Validation loss over epochs", ("validation_loss",))),
            "run",
            alternative=f"Loss after the last epoch: {', '.join(last)}.",
        ),
    )

"""What training on fewer rows costs and saves: accuracy and seconds over the share of the rows that was kept."""

from collections.abc import Sequence

from hvdedge.report_tables import Column, Plot, ReportTable
from hvdedge.runs import Run, labels, mapping, number, sum_known

SECTION, OF, ORDER = "Comparison of all runs", "runs", 25
COLUMNS = (
    Column("line", "rows chosen by", is_key=True),
    Column("run", is_key=True),
    Column("kept_percent", "kept, %", "number"),
    Column("rows", "training rows", "count"),
    Column("accuracy", "accuracy", "percent"),
    Column("epochs_seconds", "all epochs", "seconds"),
)
ALL = "all rows"


def tabulate(records: Sequence[Run]) -> ReportTable:
    """Show accuracy and training time over the share of the training rows kept, of cases that select some."""
    points = [
        (run.case, *point, label)
        for run, label in zip(records, labels(records), strict=True)
        if (point := _point(run)) is not None
    ]
    selecting = {case for case, method, *_ in points if method != ALL}
    drawn = sorted((point for point in points if point[0] in selecting), key=lambda point: point[:3])
    rows = [
        (method if len(selecting) == 1 else f"{case}, {method}", label, *point) for case, method, *point, label in drawn
    ]
    said = "; ".join(f"{line}: {share:.3g} %, accuracy {_text(score)}" for line, _, share, _, score, _ in rows)
    return ReportTable(
        "Training on fewer rows",
        COLUMNS,
        rows,
        note="A run is a point: how many of the training rows its selections kept, its accuracy on the test rows, and "
        "the seconds of all its epochs.",
        empty="No run selects rows.",
        plot=Plot(
            "lines",
            "kept_percent",
            (
                ("Accuracy over the share of rows kept", ("accuracy",)),
                ("Seconds of training over the share of rows kept", ("epochs_seconds",)),
            ),
            "line",
            alternative=f"Rows kept: {said}.",
        ),
    )


def _point(run: Run) -> tuple | None:
    """Return method, percent kept, rows, accuracy, seconds; None for a run without training rows that are known."""
    selections = {name: mapping(its) for name, its in mapping(run.metric("extract", "selections")).items()}
    rows = number(run.metric("extract", "rows", "train"))
    before = number(next(iter(selections.values())).get("rows")) if selections else rows
    if not rows or not before:
        return None
    seconds = sum_known(map(number, run.history("epoch_seconds")))
    method = ", ".join(selections) or ALL
    return method, 100 * rows / before, int(rows), number(run.metric("evaluate", "accuracy")), seconds


def _text(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.4g} %"

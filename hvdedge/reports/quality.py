"""How good the model is, trained on cleaned data and, as a comparison, on the data as it came."""

from collections.abc import Sequence

from hvdedge.report_tables import Column, ReportTable, kind_of, over_runs
from hvdedge.runs import Run, mapping, number

SECTION, OF, ORDER = "Quality", "run", 30
FIRST = ("accuracy", "precision", "recall", "f1", "auc", "mse", "mae", "rmse", "r2")


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List what the model reached on the test data, trained on cleaned and on uncleaned data."""
    names = {name for run in records for _, measures in _measures(run) for name in measures}
    ordered = [*(name for name in FIRST if name in names), *sorted(names - set(FIRST))]
    return over_runs(
        records,
        "Quality of the model",
        (Column("trained_on", is_key=True), *(Column(name, kind=kind_of(name)) for name in ordered)),
        lambda run: [(on, *(measures.get(name) for name in ordered)) for on, measures in _measures(run)],
        note="All on the test rows of the cleaned data, each model in the scale that it was trained in: errors of "
        "numbers are in standard deviations of its training rows.",
        empty="The model was not evaluated.",
    )


def _measures(run: Run) -> list[tuple[str, dict[str, float]]]:
    metrics = mapping(run.metric("evaluate"))
    found = [("cleaned data", _numbers(metrics)), ("uncleaned data", _numbers(mapping(metrics.get("uncleaned"))))]
    for name, measures in mapping(metrics.get("baselines")).items():
        found.append((f"nothing: {name.replace('_', ' ')}", _numbers(mapping(measures))))
    return [(on, measures) for on, measures in found if measures]


def _numbers(metrics: dict) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if number(value) is not None}

"""The learning curves of a run: loss and scores over the epochs, on training and validation data."""

from collections.abc import Sequence
from itertools import zip_longest

from hvdedge.report_tables import Column, Plot, ReportTable, kind_of, over_runs
from hvdedge.runs import Run, number

SECTION, OF, ORDER = "Training", "run", 40


def tabulate(records: Sequence[Run]) -> ReportTable:
    """Show loss and accuracy of training and validation, epoch by epoch."""
    names = dict.fromkeys(name for run in records for name in ("loss", "accuracy", *_curves(run)) if run.history(name))
    scores = [name for name in names if not name.startswith("validation_") and not name.endswith("_seconds")]
    others = [name for name in names if name.removeprefix("validation_") not in scores]
    shown = [name for score in scores for name in (score, f"validation_{score}") if name in names] + others
    ends = [f"{name} {_text(values[0])} to {_text(values[-1])}" for name, values in _known(records[-1], shown)]
    panels = tuple((score.replace("_", " ").capitalize(), _pair(score, names)) for score in scores)
    return over_runs(
        records,
        "Learning curves",
        (Column("epoch", "", "count", is_key=True), *(Column(name, _title(name), kind_of(name)) for name in shown)),
        lambda run: [
            (at, *map(number, values))
            for at, values in enumerate(zip_longest(*(run.history(name) for name in shown)), start=1)
        ],
        empty="The model was not trained.",
        plot=Plot("lines", "epoch", panels, alternative=f"From the first to the last epoch: {', '.join(ends)}.")
        if len(records) == 1
        else None,
    )


def _curves(run: Run) -> list[str]:
    return list(run.records["train"].history) if "train" in run.records else []


def _known(run: Run, names: list[str]) -> list[tuple[str, list]]:
    return [(_title(name), run.history(name)) for name in names if run.history(name)]


def _pair(score: str, names: dict[str, None]) -> tuple[str, ...]:
    return tuple(name for name in (score, f"validation_{score}") if name in names)


def _text(value: object) -> str:
    known = number(value)
    return "unknown" if known is None else f"{known:.3g}"


def _title(name: str) -> str:
    if name == "epoch_seconds":
        return "time"
    if name.startswith("validation_"):
        return f"{name.removeprefix('validation_').replace('_', ' ')}, validation"
    return f"{name.replace('_', ' ')}, training" if not name.endswith("_seconds") else ""

"""The confusion matrix: which class was taken for which."""

from collections.abc import Sequence

from hvdedge.report_tables import Column, Plot, ReportTable, over_runs
from hvdedge.runs import Run, number, rows

SECTION, OF, ORDER = "Quality", "run", 32
CLASS = Column("class")


def tabulate(records: Sequence[Run]) -> ReportTable:
    """Count the test examples of each true class by the class that the model gave them."""
    width = max((len(row) for run in records for row in _matrix(run)), default=0)
    names = _names(records[0], width) if len(records) == 1 else [str(at) for at in range(width)]
    return over_runs(
        records,
        "Confusion matrix",
        (Column("true", "true ↓ given →", is_key=True), *(Column(name, kind="count") for name in names)),
        lambda run: [
            (name, *(number(cell) for cell in row), *[None] * (width - len(row)))
            for name, row in zip(_names(run, len(_matrix(run))), _matrix(run), strict=True)
        ],
        note="Test examples by their true class, one a row, and the class given by the model, one a column. "
        "The darker, the larger the share of its row.",
        empty="There is no confusion matrix.",
        plot=Plot("matrix"),
    )


def _matrix(run: Run) -> list[list]:
    matrix = run.metric("evaluate", "confusion")
    return [row for row in matrix if isinstance(row, list)] if isinstance(matrix, list) else []


def _names(run: Run, size: int) -> list[str]:
    """Return the names of the classes, which are numbered where the record does not name them."""
    names = [CLASS.text(row.get("class")) for row in rows(run.metric("evaluate", "classes"))]
    return names if len(names) == size else [str(at) for at in range(size)]

"""Repairs found and missed, judged after the fact against the known truth.

precision = right / found;  recall = right / true;  f1 = 2 * right / (found + true)
"""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number

SECTION, OF, ORDER = "Data and repairs", "run", 51
COLUMNS = (
    Column("repair", is_key=True),
    Column("true", "to repair", "count"),
    Column("found", "", "count"),
    Column("right", "", "count"),
    Column("wrong", "", "count"),
    Column("missed", "", "count"),
    Column("precision", "", "percent"),
    Column("recall", "", "percent"),
    Column("f1", "F1", "percent"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List how many faults of each kind were repaired rightly, wrongly and not at all."""
    return over_runs(
        records,
        "Repairs found and missed",
        COLUMNS,
        _rows,
        note="Judged against the known truth, which preparation and cleaning did not see: right and wrong are what "
        "was found, missed is what was not.",
        empty="No truth is known to judge the repairs by.",
    )


def _rows(run: Run) -> Iterator[tuple]:
    judged = {name: value for name, value in mapping(run.metric("clean")).items() if "f1" in mapping(value)}
    for name, value in (judged | mapping(run.metric("evaluate", "repairs"))).items():
        scores = {
            key: number(mapping(value).get(key)) for key in ("true", "found", "right", "precision", "recall", "f1")
        }
        true, found, right = (scores[key] for key in ("true", "found", "right"))
        yield (
            name.replace("_", " "),
            true,
            found,
            right,
            None if found is None or right is None else found - right,
            None if true is None or right is None else true - right,
            scores["precision"],
            scores["recall"],
            scores["f1"],
        )

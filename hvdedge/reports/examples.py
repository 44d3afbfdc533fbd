"""Repairs by kind, each with examples of a cell before and after."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number, rows

SECTION, OF, ORDER = "Data and repairs", "run", 53
PRIVATE = "(private)"  # columns that clean.privacy treated, and whole rows where it treated any
COLUMNS = (
    Column("stage", is_key=True),
    Column("kind", is_key=True),
    Column("count", "", "count"),
    Column("where"),
    Column("column"),
    Column("before"),
    Column("after"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List each kind of repair with its count and examples before and after."""
    return over_runs(
        records,
        "Repairs by kind, with examples",
        COLUMNS,
        _rows,
        note="All changes are in changes/, all rows and values set aside in quarantine/ of the run.",
        empty="Nothing was changed.",
    )


def _rows(run: Run) -> Iterator[tuple]:
    secret = {*mapping(run.metric("clean", "privacy", "changed")), *_texts(run.metric("clean", "privacy", "dropped"))}
    for stage in ("prepare", "clean"):
        for log in ("changes", "set_aside"):
            for kind, entry in mapping(run.metric(stage, log)).items():
                if log == "changes" and _count(run, stage, "set_aside", kind) == number(mapping(entry).get("count")):
                    continue  # cells that were set aside: each is in both logs
                count = number(mapping(entry).get("count"))
                for example in rows(mapping(entry).get("examples")):
                    where, name = f"{example.get('file')}:{example.get('line')}", example.get("column")
                    before = example.get("text") if log == "set_aside" else example.get("before")
                    after = "set aside" if log == "set_aside" else example.get("after")
                    if secret and stage == "prepare" and (name in secret or name is None):
                        before, after = PRIVATE, PRIVATE
                    yield stage, kind.replace("_", " "), count, where, name, before, after
                    count = None


def _count(run: Run, stage: str, log: str, kind: str) -> int | float | None:
    return number(mapping(run.metric(stage, log, kind)).get("count"))


def _texts(tree: object) -> list[str]:
    return [text for text in tree if isinstance(text, str)] if isinstance(tree, list) else []

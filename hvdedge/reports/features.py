"""What extract made: how many rows each split has, what x is and how it is kept, how many rows are in no split."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number, sum_known

SECTION, OF, ORDER = "Features", "run", 57
COLUMNS = (
    Column("variant", "rows", is_key=True),
    *(Column(split, kind="count") for split in ("train", "validation", "test")),
    Column("left_out", "left out", "count"),
    Column("why", "as they have"),
    Column("shape", "an example"),
    Column("task"),
    Column("type", "kept as"),
    Column("bytes", "size", "bytes"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the rows of each split, those left out, the shape of an example and the size of all of them."""
    return over_runs(
        records,
        "Examples",
        COLUMNS,
        _rows,
        note="Training rows after selections; all is fitted on training rows alone.",
        empty="No features were extracted.",
    )


def _rows(run: Run) -> Iterator[tuple]:
    variants = {"cleaned": mapping(run.metric("extract")), "uncleaned": mapping(run.metric("extract", "uncleaned"))}
    for variant, made in variants.items():
        splits = mapping(made.get("rows"))
        if not splits:
            continue
        left_out, shape, kept = made.get("rows_left_out"), made.get("shape"), mapping(made.get("storage"))
        counts = {str(why): number(count) for why, count in mapping(left_out).items()}
        total = 0 if left_out == {} else sum_known(counts.values())
        yield (
            variant,
            *(number(splits.get(split)) for split in ("train", "validation", "test")),
            total,
            ", ".join(f"{why}: {count}" if len(counts) > 1 else why for why, count in counts.items()) or None,
            " × ".join(map(str, shape)) or "a node" if isinstance(shape, list) else None,
            *(made.get("task"), kept.get("type"), number(kept.get("bytes"))),
        )

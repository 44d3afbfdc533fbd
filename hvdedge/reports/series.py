"""How series are sampled, and after how many rows each column repeats itself."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number

SECTION, OF, ORDER = "Data and repairs", "run", 56
COLUMNS = (
    Column("what", is_key=True),
    Column("period", "repeats after", "count"),
    Column("strength", "as strongly as", "number"),
    Column("first", "next row", "number"),
    Column("more"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the period of each column with its autocorrelation, and the step and the gaps of the times."""
    return over_runs(
        records,
        "Series",
        COLUMNS,
        _rows,
        note="Repeats after so many rows, with that autocorrelation; next row is the autocorrelation of one row to the "
        "next. All lags are in data_profile.json.",
        empty="No series were looked at.",
    )


def _rows(run: Run) -> Iterator[tuple]:
    found = mapping(run.metric("profile", "series"))
    if not found:
        return
    sampling = mapping(found.get("sampling"))
    told = [f"{found.get('rows')} rows in {found.get('series')} series"]
    if sampling:
        told.append(f"a step of {sampling.get('step')} ({sampling.get('unit')})")
        told.append(f"{sampling.get('gaps')} gaps of {sampling.get('missing_steps')} steps")
        told.append(f"{sampling.get('equal_times')} equal times")
    yield "mean of the columns", number(found.get("period")), number(found.get("strength")), None, ", ".join(told)
    for name, column in mapping(found.get("columns")).items():
        its = mapping(column)
        first = its.get("autocorrelation")
        next_row = number(first[0]) if isinstance(first, list) and first else None
        yield name, number(its.get("period")), number(its.get("strength")), next_row, None

"""The best value that a search over settings had found, trial by trial as they ended."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, Plot, ReportTable, over_runs
from hvdedge.runs import Run
from hvdedge.trial_records import COMPLETE, Search, search_of, value_column

SECTION, OF, ORDER = "Search over settings", "run", 45


def tabulate(records: Sequence[Run]) -> ReportTable:
    """Show the best value found so far over the seconds since the search began."""
    searches = {run.folder: search_of(run) for run in records}
    value = value_column(searches.values())
    found = Column("best", f"best {value.heading} so far", value.kind)
    ended = Column("ended_seconds", "time since the search began", "seconds", is_key=True)
    return over_runs(
        records,
        "The best found over time",
        (ended, Column("trial", "", "count"), Column("state"), value, found),
        lambda run: _rows(searches[run.folder]),
        note="A trial counts when it ends, and only if it was not ended early.",
        empty="No settings were searched.",
        plot=_plot(searches[records[0].folder], value, found) if len(records) == 1 else None,
        is_optional=True,
    )


def _rows(search: Search) -> Iterator[tuple]:
    best = None
    ended = [(trial.ended_seconds, trial) for trial in search.trials if trial.ended_seconds is not None]
    for seconds, trial in sorted(ended, key=lambda pair: (pair[0], pair[1].number or 0)):
        best = search.better(best, trial.value if trial.state == COMPLETE else None)
        yield seconds, trial.number, trial.state, trial.value, best


def _plot(search: Search, value: Column, found: Column) -> Plot:
    steps: dict[float, float] = {}
    for seconds, *_, best in _rows(search):
        if best is not None and best not in steps:
            steps[best] = seconds
    told = ", ".join(f"{found.text(best)} after {seconds:,.3g} s" for best, seconds in steps.items())
    panels = ((f"Best {value.heading} over the time of the search", (found.key, value.key)),)
    return Plot("steps", "ended_seconds", panels, "state", alternative=f"Best so far: {told}.")

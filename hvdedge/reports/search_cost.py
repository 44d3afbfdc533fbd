"""What a search over settings cost.

rank-seconds = sum over trials of seconds * ranks;  pruned share = rank-seconds of the pruned / those of all
"""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, sum_known
from hvdedge.trial_records import COMPLETE, FAILED, PRUNED, search_of

SECTION, OF, ORDER = "Search over settings", "run", 46
COLUMNS = (
    Column("search"),
    Column("trials", "", "count"),
    *(Column(state, "", "count") for state in (COMPLETE, PRUNED, FAILED)),
    Column("epochs", "", "count"),
    Column("seconds", "time", "seconds"),
    Column("rank_seconds", "rank-seconds", "seconds"),
    Column("pruned_share", "on pruned trials", "share"),
    Column("best_seconds", "until the best", "seconds"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """Sum up a search over settings: trials by state, epochs, time, and how much of it went into trials ended early."""
    return over_runs(
        records,
        "Cost of the search",
        COLUMNS,
        _rows,
        note="Rank-seconds are those of all trials, each times its ranks; until the best is from the beginning of the "
        "search to the end of its best trial.",
        empty="No settings were searched.",
        is_optional=True,
    )


def _rows(run: Run) -> Iterator[tuple]:
    search = search_of(run)
    if not search.trials:
        return
    states = [trial.state for trial in search.trials]
    pruned = [trial for trial in search.trials if trial.state == PRUNED]
    spent, on_pruned = search.rank_seconds(search.trials), search.rank_seconds(pruned) if pruned else 0
    yield (
        search.method,
        len(states),
        *(states.count(state) for state in (COMPLETE, PRUNED, FAILED)),
        sum_known(trial.epochs for trial in search.trials),
        search.seconds,
        spent,
        on_pruned / spent if spent and on_pruned is not None else None,
        search.best.ended_seconds if search.best else None,
    )

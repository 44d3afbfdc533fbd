"""The trials of a search over settings: what each tried, what it reached and what it cost."""

from collections.abc import Sequence

from hvdedge.report_tables import Column, Plot, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number
from hvdedge.trial_records import Search, Trial, search_of, value_column

SECTION, OF, ORDER = "Search over settings", "run", 44
FIRST = (Column("trial", "", "count", is_key=True), Column("state"))
LAST = (
    Column("epochs", "", "count"),
    Column("seconds", "time", "seconds"),
    Column("ranks", "on ranks"),
    Column("attempts", "losses of ranks", "count"),
    Column("copied", "copied from trial"),
    Column("cause"),
)
RARE = {"attempts": 0, "copied": None, "cause": None}
"""Columns that are there only where a trial has something else in them."""
NOTE = "The best first, then those that were ended early (pruned), then those that failed."
STRONGER = " The stronger a line, the better its trial."
MOST_AXES, TOLD = 10, 10


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the trials of a search over settings, best first, and draw them over their options."""
    searches = {run.folder: search_of(run) for run in records}
    trials = [trial for its in searches.values() for trial in its.trials]
    value = value_column(searches.values())
    last = [
        column
        for column in LAST
        if column.key not in RARE or any(getattr(its, column.key) not in (None, RARE[column.key]) for its in trials)
    ]
    options = _option_columns(trials, [value, *FIRST, *LAST])
    plot = _plot(records[0], searches[records[0].folder], options, value) if len(records) == 1 else None
    return over_runs(
        records,
        "Trials",
        (*FIRST, value, *options, *last),
        lambda run: [_row(trial, options, last) for trial in searches[run.folder].trials],
        note=NOTE + (STRONGER if plot and plot.kind == "parallel" else ""),
        empty="No settings were searched.",
        plot=plot,
        is_optional=True,
    )


def _option_columns(trials: list[Trial], others: list[Column]) -> list[Column]:
    """Return a column an option that was searched; its heading is the key's last word where that is no other's."""
    tried: dict[str, list] = {}
    for trial in trials:
        for key, value in trial.options.items():
            tried.setdefault(key, []).append(value)
    taken = [column.heading for column in others] + [_last_word(key) for key in tried]
    columns = []
    for key, values in tried.items():
        is_number = all(value is None or number(value) is not None for value in values)
        title = _last_word(key) if taken.count(_last_word(key)) == 1 else key
        columns.append(Column(key, title, "setting" if is_number else "text"))
    return columns


def _last_word(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")


def _row(trial: Trial, options: list[Column], last: list[Column]) -> tuple:
    ranks = None if trial.ranks is None else ", ".join(str(rank) for rank in trial.ranks)
    costs = (ranks if column.key == "ranks" else getattr(trial, column.key) for column in last)
    return trial.number, trial.state, trial.value, *(trial.options.get(column.key) for column in options), *costs


def _plot(run: Run, search: Search, options: list[Column], value: Column) -> Plot | None:
    """Draw values over each option where they are one or two, else lines through the axes of all."""
    drawn = [column for column in options if any(its.options.get(column.key) is not None for its in search.trials)]
    if not drawn or all(trial.value is None for trial in search.trials):
        return None
    told = "; ".join(_told(trial, drawn, value) for trial in search.trials[:TOLD])
    more = f"; and {len(search.trials) - TOLD:,} more" if len(search.trials) > TOLD else ""
    metric = value.heading[:1].upper() + value.heading[1:]
    alternative = f"Best first: {told}{more}."
    if len(drawn) <= 2:
        panels = tuple((f"{metric} over {column.heading}", (column.key, value.key)) for column in drawn)
        return Plot("scatter", FIRST[0].key, panels, "state", is_log=_is_log(run), alternative=alternative)
    some = f"the first {MOST_AXES} of {len(drawn)} options" if len(drawn) > MOST_AXES else "all options"
    keys = (*(column.key for column in drawn[:MOST_AXES]), value.key)
    panel = (f"{metric} and {some}, a line a trial", keys)
    return Plot("parallel", FIRST[0].key, (panel,), "state", is_log=_is_log(run), alternative=alternative)


def _is_log(run: Run) -> dict[str, bool]:
    """Return of the options that were searched in a range whether that was logarithmic."""
    space = mapping(mapping(run.option("train", "tune")).get("space"))
    return {key: its["log"] for key, its in space.items() if isinstance(mapping(its).get("log"), bool)}


def _told(trial: Trial, options: list[Column], value: Column) -> str:
    tried = ", ".join(f"{column.heading} {column.text(trial.options.get(column.key))}" for column in options)
    return f"trial {FIRST[0].text(trial.number)} ({trial.state}): {value.heading} {value.text(trial.value)} by {tried}"

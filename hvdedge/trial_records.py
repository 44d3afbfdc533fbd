"""The trials of a search over settings as the record of training tells them, best first: read with care, as records are
of any shape."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hvdedge.report_tables import Column, kind_of, plain
from hvdedge.runs import Run, mapping, number, rows, sum_known

COMPLETE, PRUNED, UNKNOWN, FAILED = "complete", "pruned", "unknown", "failed"
ORDER = (COMPLETE, PRUNED, UNKNOWN, FAILED)
MOST_LETTERS = 120


@dataclass(frozen=True)
class Trial:
    """One trial; what is not known is None.

    Attributes:
        state: one of `ORDER`.
        options: dotted key -> what was tried.
        ranks: the ranks that it ran on.
        copied: the trials whose weights it took over, and after which epoch.
        cause: why it failed, in one short line.
    """

    number: float | None
    state: str
    value: float | None
    options: dict[str, Any]
    epochs: float | None
    seconds: float | None
    began_seconds: float | None
    ranks: tuple[int, ...] | None
    attempts: float | None
    copied: str | None
    cause: str | None

    @property
    def ended_seconds(self) -> float | None:
        """When it ended, in seconds since the search began."""
        return number(sum_known((self.began_seconds, self.seconds)))


@dataclass(frozen=True)
class Search:
    """A search: its trials, best first and failed last, and `best` of them."""

    method: str | None = None
    metric: str = "value"
    is_minimized: bool = False
    seconds: float | None = None
    ranks: float | None = None
    best: Trial | None = None
    trials: list[Trial] = field(default_factory=list)

    def rank_seconds(self, trials: Iterable[Trial]) -> float | None:
        """Return the seconds of the trials, each times its ranks; None where one of them is not known."""
        return sum_known(map(self._rank_seconds, trials))

    def better(self, one: float | None, other: float | None) -> float | None:
        """Return the better of two values; the one that is known where the other is not."""
        if one is None or other is None:
            return other if one is None else one
        return min(one, other) if self.is_minimized else max(one, other)

    def _rank_seconds(self, trial: Trial) -> float | None:
        ranks = len(trial.ranks) if trial.ranks else self.ranks
        return None if trial.seconds is None or ranks is None else trial.seconds * ranks


def search_of(run: Run) -> Search:
    """Return what a run's record tells of its search; one without trials where there was none."""
    told = mapping(run.metric("train", "search"))
    trials = [_trial(row) for row in rows(run.metric("train", "trials"))]
    is_minimized = told.get("direction") == "minimize"
    trials.sort(key=lambda trial: _place(trial, is_minimized))
    named = [trial for trial in trials if trial.number is not None and trial.number == number(told.get("best"))]
    best = next((trial for trial in [*named, *trials] if trial.state == COMPLETE and trial.value is not None), None)
    return Search(
        method=_text(told.get("search")),
        metric=_text(told.get("metric")) or "value",
        is_minimized=is_minimized,
        seconds=_real(told.get("seconds")),
        ranks=_count(told.get("ranks")),
        best=best,
        trials=sorted(trials, key=lambda trial: trial is not best),
    )


def value_column(searches: Iterable[Search]) -> Column:
    """Return the column of the trials' values, named by their metric where it is the same in all searches."""
    metrics = {search.metric for search in searches if search.trials}
    metric = metrics.pop() if len(metrics) == 1 else "value"
    return Column("value", metric.replace("_", " "), kind_of(metric))


def _trial(row: dict) -> Trial:
    copies = [f"{plain(copy.get('from'))} after epoch {plain(copy.get('epoch'))}" for copy in rows(row.get("copies"))]
    ranks = row.get("ranks")
    return Trial(
        number=_count(row.get("number")),
        state=row.get("state") if row.get("state") in ORDER else UNKNOWN,  # type: ignore[arg-type]
        value=_real(row.get("value")),
        options={_dotted(key): _option(value) for key, value in mapping(row.get("options")).items()},
        epochs=_count(row.get("epochs")),
        seconds=_real(row.get("seconds")),
        began_seconds=_real(row.get("began_seconds")),
        ranks=tuple(rank for rank in ranks if number(rank) is not None) if isinstance(ranks, list) else None,
        attempts=_count(row.get("attempts")),
        copied=", ".join(copies) or None,
        cause=_text(row.get("cause")),
    )


def _place(trial: Trial, is_minimized: bool) -> tuple:
    value = trial.value or 0.0
    known = (trial.value is None, value if is_minimized else -value)
    return ORDER.index(trial.state), *known, trial.number is None, trial.number or 0


def _count(value: Any) -> float | None:
    """Return a number that can be added to others without one becoming too large."""
    known = number(value)
    return known if known is not None and abs(known) <= 2**53 else None


def _real(value: Any) -> float | None:
    known = number(value)
    return None if known is None else float(known)


def _dotted(key: Any) -> str:
    """Return a key that is no other column's, which have no dots."""
    return plain(key) if "." in str(key) else f"options.{plain(key)}"


def _option(value: Any) -> Any:
    return value if isinstance(value, bool | str | list | dict) else number(value)


def _text(value: Any) -> str | None:
    """Return the beginning of a text, in one line."""
    text = plain(" ".join(value.split())) if isinstance(value, str) else ""
    return (text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}") or None

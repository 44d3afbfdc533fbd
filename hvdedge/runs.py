"""Runs as a report sees them: their records, what these add up to, and which of them did the same work."""

import math
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hvdedge import records
from hvdedge.errors import InputError
from hvdedge.records import RunRecord
from hvdedge.trial_folders import LEDGER

SCALED_OPTIONS = ("batch_size", "learning_rate", "seed")
"""Options of training that a user sets anew for each number of ranks, or for each repetition of the same work."""


@dataclass(frozen=True)
class Run:
    """One run's folder and its records, stage -> record, in the order of the stages; at least one.

    Attributes:
        is_reported: whether it came as far as its report, whose record need not be among these.
    """

    folder: pathlib.Path
    records: dict[str, RunRecord]
    is_reported: bool = False

    @property
    def case(self) -> str:
        return self._any.case

    @property
    def name(self) -> str:
        return self._any.run

    @property
    def cluster(self) -> str:
        return self._any.cluster

    @property
    def started(self) -> str:
        """When its first stage started, as ISO 8601 in UTC."""
        return min(record.started for record in self.records.values())

    @property
    def status(self) -> str:
        """`done` once it was evaluated, or reported where it is about tables only; else what became of the stage that
        did not end, or the last one that did."""
        for stage, record in self.work.items():
            if record.status != "done":
                return f"{record.status} in {stage}"
        last = list(self.work)[-1] if self.work else "report"
        is_reported = self.is_reported or "report" in self.records
        return "done" if last == "evaluate" or is_reported else f"done up to {last}"

    @property
    def work(self) -> dict[str, RunRecord]:
        """Its records without that of the report, which is still being written when it counts the others."""
        return {stage: record for stage, record in self.records.items() if stage != "report"}

    @property
    def world_size(self) -> int | None:
        """The ranks that it was trained on, or, before that, those of its last stage."""
        record = self.records.get("train", self._any)
        return record.world_size

    @property
    def hosts(self) -> list[str]:
        return list(dict.fromkeys(rank.host for record in self.records.values() for rank in record.ranks))

    @property
    def strategy(self) -> str | None:
        return self.option("train", "strategy")

    @property
    def train_seconds(self) -> float | None:
        """How long training took, from start to end; None unless it was done, and in one go."""
        record = self.records.get("train")
        is_whole = record and record.status == "done" and all(event.get("what") != "resumed" for event in record.events)
        return record.wall_seconds if record and is_whole else None

    @property
    def total_seconds(self) -> float | None:
        """How long its stages took together, without the report; None unless it is done."""
        return sum_known(record.wall_seconds for record in self.work.values()) if self.status == "done" else None

    @property
    def peak_rss_bytes(self) -> int | None:
        """The memory of its fullest rank in its hungriest stage."""
        return max((rank.peak_rss_bytes for record in self.work.values() for rank in record.ranks), default=None)

    @property
    def failures(self) -> list[tuple[str, dict[str, Any]]]:
        """(stage, {rank, host, cause}) of each stage that failed."""
        return [(stage, record.error or {}) for stage, record in self.records.items() if record.status == "failed"]

    @property
    def versions(self) -> dict[str, str]:
        return {name: version for record in self.records.values() for name, version in record.versions.items()}

    def total(self, field: str) -> float | None:
        """Return the sum of `field` over all ranks of all its stages; None where one of them does not know."""
        return sum_known(total(record, field) for record in self.work.values())

    def metric(self, stage: str, *keys: str) -> Any:
        """Return what a stage measured under `keys`, or None."""
        return dig(self.records[stage].metrics, *keys) if stage in self.records else None

    def option(self, stage: str, *keys: str) -> Any:
        """Return what a stage was told under `keys`, or None."""
        return dig(self.records[stage].options, *keys) if stage in self.records else None

    def history(self, name: str) -> list:
        """Return a curve of training, one value an epoch; empty where there is none."""
        record = self.records.get("train")
        return record.history.get(name, []) if record else []

    @property
    def _any(self) -> RunRecord:
        return list(self.records.values())[-1]


@dataclass(frozen=True)
class Scaling:
    """How much faster a run trained than the run of the same work on fewest ranks.

    speedup = seconds(baseline_ranks) / seconds(ranks);  efficiency = speedup * baseline_ranks / ranks

    With one rank as the baseline, as it should be, these are speed-up and efficiency as everybody knows them.
    """

    baseline_ranks: int
    speedup: float
    efficiency: float


def load(results: pathlib.Path) -> tuple[list[Run], list[str]]:
    """Return all runs below `results`, oldest first, and a line for each folder left out as it cannot be read.

    Raises:
        InputError: where there is no run at all.
    """
    found, left_out = [], []
    folders = {path.parent.resolve() for stage in records.STAGES for path in results.rglob(f"{stage}.json")}
    asked = results.resolve()
    for folder in sorted(one for one in folders if one == asked or not (one.parent / LEDGER).exists()):  # no trials
        try:
            found.append(Run(folder, records.current(records.read_run(folder))))
        except InputError as error:
            left_out.append(str(error))
    if not found:
        reason = left_out[0] if left_out else "received no runs there, expected folders with <stage>.json"
        raise InputError(f"{results}: {reason}; start one with `hvdedge run PIPELINE.toml`")
    return sorted(found, key=lambda run: (run.started, run.folder)), left_out


def labels(runs: Sequence[Run]) -> list[str]:
    """Return the shortest names that tell the runs apart: their own, with their case, or their folders."""
    choices = ([run.name for run in runs], [f"{run.case}/{run.name}" for run in runs])
    for names in choices:
        if len(set(names)) == len(names):
            return names
    return [str(run.folder) for run in runs]


def scaling(runs: Sequence[Run]) -> list[Scaling | None]:
    """Return each run's speed-up of training; None where it is not known.

    Same work is the same case, cluster, number of training rows and strategy with the same options of training, but
    for SCALED_OPTIONS.
    The baseline is one rank, or else the fewest ranks of at least two numbers of ranks; several runs of it count by
    their median.
    """
    work = [_work(run) for run in runs]
    found: list[Scaling | None] = []
    for run, own in zip(runs, work, strict=True):
        same = [other for other, its in zip(runs, work, strict=True) if its == own and other.train_seconds]
        sizes = sorted({other.world_size or 0 for other in same})
        if not run.train_seconds or not run.world_size or not sizes or (sizes[0] != 1 and len(sizes) < 2):
            found.append(None)
            continue
        baseline = statistics.median(other.train_seconds or 0.0 for other in same if other.world_size == sizes[0])
        speedup = baseline / run.train_seconds
        found.append(Scaling(sizes[0], speedup, speedup * sizes[0] / run.world_size))
    return found


def _work(run: Run) -> tuple:
    options = run.records["train"].options if "train" in run.records else {}
    rows = run.metric("extract", "rows", "train")
    return run.case, run.cluster, rows, {name: value for name, value in options.items() if name not in SCALED_OPTIONS}


def total(record: RunRecord, field: str) -> float | None:
    """Return the sum of `field` over the ranks of a stage; None where one of them does not know, or there is none."""
    return sum_known(getattr(rank, field) for rank in record.ranks)


def sum_known(values: Iterable[float | None]) -> float | None:
    """Return the sum; None where a value is None or there is none: a sum without it would be too small."""
    known = list(values)
    if not known or any(value is None for value in known):
        return None
    return sum(value for value in known if value is not None)


def dig(tree: Any, *keys: str) -> Any:
    """Return what stands under `keys` in nested mappings, or None."""
    for key in keys:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(key)
    return tree


def mapping(tree: Any) -> dict:
    """Return `tree` if it is a mapping, or else an empty one: records carry what methods measured, of any shape."""
    return tree if isinstance(tree, dict) else {}


def rows(tree: Any) -> list[dict]:
    """Return the mappings of a list of mappings, or an empty list."""
    return [row for row in tree if isinstance(row, dict)] if isinstance(tree, list) else []


def number(value: Any) -> float | None:
    """Return `value` if it is a finite number, or else None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer beyond all floats
        return None


def reformatted(column: dict) -> float | None:
    """Return how many cells of a column prepare brought into another form, without those that it emptied."""
    changed = number(column.get("changed"))
    return None if changed is None else changed - (number(column.get("emptied")) or 0)

"""Windows of series: the rows up to a moment become x, those after it, or the class of the last one, y.

    rows of a series      0 1 2 3 4 5 6 7 8 9        window = 4, horizon = 2, stride = 3
    first window          x x x x y y
    second                      x x x x y y

A window is for training, validation or test as the rows of its y are. They may not be of two splits, and splits may
not alternate along a series; so what is learnt from a training window is never what a test window asks for. The x of a
test window may reach back into rows for training: at that moment they are known. Numbers are scaled by mean and
deviation of the training rows. A window belongs to the rank of its last row, which gets the rows before from others.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from mpi4py import MPI

from hvdedge.columns import NUMBERS, kind, matching, of_kind, shown, to_floats
from hvdedge.errors import InputError
from hvdedge.exact_sums import ends, moments
from hvdedge.label_values import Label, find_task, fit
from hvdedge.mixed_series import find_mixed
from hvdedge.options import ColumnName, Count, Natural
from hvdedge.sequences import Sequences
from hvdedge.splits import LEFT_OUT, SPLITS
from hvdedge.tables import SPLIT, Table
from hvdedge.tensors import Features
from hvdedge.window_aggregates import aggregate, width

EXAMPLES = ("windows",)
ABLE = ("boolean", *NUMBERS)
BATCH_BYTES = 1 << 23
BATCH_ROWS = 1 << 16


def extract(
    table: Table,
    comm: MPI.Intracomm,
    *,
    columns: tuple[ColumnName, ...] = (),
    targets: tuple[ColumnName, ...] = (),
    label: ColumnName = "",
    time: ColumnName = "",
    series: ColumnName = "",
    window: Count = 24,
    horizon: Count = 1,
    stride: Count = 1,
    missing: Literal["leave_out", "mean"] = "leave_out",
    aggregates: tuple[
        Literal["mean", "std", "min", "max", "median", "first", "last", "change", "slope", "histogram"], ...
    ] = (),
    raw: bool = False,
    season: Natural = 0,
    anomalies: bool = False,
) -> Features:
    """Collective. Make windows of series, to forecast what follows each or to tell its class.

    Args:
        table: this rank's rows; its column `_split`, uint8, says which are for training (0), validation (1) and
            test (2). Others, and those without a time or series, are left out before windows are made.
        columns: names or patterns (p*) of the channels, numbers or booleans; all numbers for none.
        targets: those of the columns that are forecast; the channels for none.
        label: the column with the class of a row; a window's is that of its last row, nothing is forecast.
        time: the column by which rows follow each other; the table's order for none.
        series: the column that names the series that a row is of, such as a sensor; one series for none.
        window: rows of x.
        horizon: rows of y, in a forecast.
        stride: rows from the begin of a window to that of the next one, counted from the begin of a series.
        missing: leave_out leaves out windows with a missing number, mean puts the training rows' mean in x. A window
            with one in y is left out in any case.
        aggregates: what is told of each channel in a window instead of its numbers, as `hvdedge/window_aggregates.py`
            says.
        raw: whether the numbers, laid flat, stand behind the aggregates.
        season: rows after which a series repeats itself, such as 24 of hours, for a forecast to compare with; 0: none.
        anomalies: whether the label, booleans or numbers above 0, says which rows are out of the ordinary, which a
            model is to find without having seen it; a window is one where any of its rows is.
    Returns:
        The windows by series and time: x float32 (rows, window, channels), or (rows, columns) with aggregates; y
        float32 (rows, horizon, targets) in standard deviations, or int64 (rows,), the number of the class.
    Raises:
        InputError: where a column is not there or of another kind, splits alternate along a series, or no window is
            left for training or the test.
    """
    if SPLIT not in table.columns:
        raise InputError(f"extract: received a table without {SPLIT!r}, allowed: one that is split; split it first")
    plan = _Plan(window, 0 if label else horizon, stride, missing == "mean")
    channels = _chosen(table, columns, "columns", {time, series, label, SPLIT})
    if label and targets:
        raise InputError(
            f"extract.targets: received {list(targets)} with label = {label!r}, allowed: one of the two; leave one out"
        )
    asked = _chosen(table, targets, "targets", {time, series, SPLIT}) if targets else []
    if raw and not aggregates:
        raise InputError("extract.raw: received true without aggregates, allowed: false, as x is raw; leave it out")
    if season and label:
        raise InputError(
            f"extract.season: received {season} with label = {label!r}, allowed: 0, as nothing is forecast; "
            "leave it out"
        )
    if season > window:
        raise InputError(
            f"extract.season: received {season} with window = {window}, allowed: up to the window; change one"
        )
    split = _splits(table)
    scales, left_out = _scales(table.select([*dict.fromkeys([*channels, *asked])]).filter(split == 0), comm)
    channels = [name for name in channels if name not in left_out]
    if not channels or {*asked} & {*left_out}:
        raise InputError(
            f"extract.{'targets' if channels else 'columns'}: received {shown([*left_out])} without a number in the "
            "training rows, allowed: columns that have some; name others or change the split"
        )
    asked = asked if label else asked or channels
    if anomalies and (not label or kind(table.schema.field(label).type) not in ABLE):
        raise InputError(
            f"extract.anomalies: received true with label = {label!r}, allowed: with a label of booleans or numbers; "
            "name one"
        )
    answer = _classes(table, label, comm) if label and not anomalies else None
    in_none = np.array((split == LEFT_OUT).sum())
    comm.Allreduce(MPI.IN_PLACE, in_none, op=MPI.SUM)
    rows = Sequences(
        table, comm, time=time, series=series, where=("extract.time", "extract.series"), keep=split != LEFT_OUT
    )
    if time and not series:
        _tell_mixed(table, time, split != LEFT_OUT, rows, comm)
    names = [*dict.fromkeys([*channels, *asked]), *([label] if anomalies else [])]
    halo = max(plan.span - 1, 1)

    def scaled(name: str, numbers: np.ndarray) -> np.ndarray:
        return numbers > 0 if name == label else (numbers - scales[name]["mean"]) / scales[name]["deviation"]

    values = rows.place(names, scaled, halo)
    codes = rows.before(rows.sort(split), halo)
    y = rows.sort(_labels(table, label, answer)) if answer else np.zeros(len(rows.places), np.int64)
    places = [[names.index(name) for name in chosen] for chosen in (channels, asked)]
    found = _find(plan, rows, values, codes, y, places, comm)
    if answer:
        _check_classes(found, answer.facts["classes"], comm)
    shape: tuple[int, ...] = (window, len(channels))
    if aggregates:
        shape = (len(channels) * (width(aggregates) + raw * window),)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        at_once = max(BATCH_BYTES // (4 * plan.span * len(names)), 1)
        for start in range(0, len(found.lasts), at_once):
            here = slice(start, start + at_once)
            cut = plan.cut(values, found.lasts[here])  # (windows, span, columns)
            x = np.nan_to_num(cut[:, :window, places[0]])
            if aggregates:
                told = aggregate(x, aggregates)
                x = np.concatenate([told, x.reshape(len(x), -1)], axis=1) if raw else told
            y = found.classes[here] if answer else cut[:, window:, places[1]]
            yield found.codes[here], x, np.any(cut[:, :, -1], axis=1).astype(np.int64) if anomalies else y

    facts = answer.facts if answer else {"task": "regression", "output_shape": [horizon, len(asked)]}
    if anomalies:
        facts = {"task": "anomalies"}
    elif not answer:
        facts |= {"targets": [scales[name] for name in asked], "season": season}
    spec = {
        **facts,
        "input_shape": list(shape),
        **{"channels": [scales[name] for name in channels], "window": window, "time": time, "series": series},
        **{"label": label, "missing": missing, "aggregates": list(aggregates), "raw": raw},
    }
    used = {*channels, *asked, time, series, label, SPLIT}
    rest = [name for name in table.columns if name not in used | {*left_out}]
    left_out |= dict.fromkeys(rest, "not among extract.columns")
    decisions = {name: "channel" + ", forecast" * (name in asked) for name in channels}
    decisions |= {name: "forecast" for name in asked if name not in channels}
    return Features(
        spec,
        batches,
        y_type="int64" if label else "float32",
        y_shape=() if label else (horizon, len(asked)),
        left_out=left_out,
        decisions=decisions,
        rows_left_out=({"rows in no split": int(in_none)} if in_none else {}) | rows.left_out | found.left_out,
    )


@dataclass(frozen=True)
class _Plan:
    """How windows are cut: rows of x, of y, between the begins of two; whether x may have missing numbers."""

    window: int
    horizon: int
    stride: int
    fills: bool

    @property
    def span(self) -> int:
        return self.window + self.horizon

    def cut(self, values: np.ndarray, lasts: np.ndarray) -> np.ndarray:
        """Return the rows of windows whose last rows are at `lasts`: (windows, span, columns)."""
        return values[lasts[:, None] + np.arange(1 - self.span, 1)]


@dataclass(frozen=True)
class _Found:
    """The windows of this rank: where their last rows are, after the halo, their splits and classes; others by why."""

    lasts: np.ndarray
    codes: np.ndarray
    classes: np.ndarray
    left_out: dict[str, int]


def _chosen(table: Table, patterns: tuple[str, ...], option: str, taken: set[str]) -> list[str]:
    where = f"extract.{option}"
    found = matching(table, patterns, where) if patterns else of_kind(table, NUMBERS)
    found = [name for name in found if name not in taken]
    wrong = [name for name in found if kind(table.schema.field(name).type) not in ABLE]
    if wrong or not found:
        raise InputError(
            f"{where}: received {list(patterns)}, which matches {shown(wrong)}, allowed: "
            f"{shown([name for name in of_kind(table, ABLE) if name not in taken])}; name one of these"
        )
    return found


def _classes(table: Table, label: str, comm: MPI.Intracomm) -> Label:
    """Collective."""
    task, why = find_task(table, label, "auto", comm)
    if task == "regression":
        raise InputError(
            f"extract.label: received {label!r} for windows ({why}), allowed: a column of classes; name another, or "
            f"forecast it with extract.targets = [{label!r}]"
        )
    return fit(table, label, "classification", comm)


def _splits(table: Table) -> np.ndarray:
    """Return the split of each row, LEFT_OUT for one that is in none: uint8 (rows,)."""
    parts = [np.asarray(batch.column(0).fill_null(LEFT_OUT), np.uint8) for batch in table.select([SPLIT]).batches()]
    split = np.concatenate([np.empty(0, np.uint8), *parts])
    return np.where(split < len(SPLITS), split, LEFT_OUT).astype(np.uint8)


def _tell_mixed(table: Table, time: str, keep: np.ndarray, rows: Sequences, comm: MPI.Intracomm) -> None:
    """Collective. Make it an event that the rows, taken for one series, are plainly of several."""
    times = np.concatenate([np.empty(0), *(to_floats(batch.column(0)) for batch in table.select([time]).batches())])
    shows = find_mixed(np.where(keep, times, np.nan), rows, comm)
    if shows:
        action = f"took all rows for one series, though {shows}; if they are of several, name their column in "
        table.workspace.events.append({"what": "series_mixed", "action": f"{action}extract.series"})


def _scales(train: Table, comm: MPI.Intracomm) -> tuple[dict[str, dict], dict[str, str]]:
    """Collective. Return column -> {column, mean, deviation} of the training rows, and which have nothing to scale."""
    names = train.columns
    low, high = ends(train, comm)
    mean, deviation = moments(train, names, low, high, comm)
    scales = {
        name: {"column": name, "mean": float(m), "deviation": float(d) or 1.0}
        for name, m, d in zip(names, mean, deviation, strict=True)
    }
    unknown = [name for name, m in zip(names, mean, strict=True) if math.isnan(m)]
    return scales, dict.fromkeys(unknown, "no value in the training rows")


def _labels(table: Table, label: str, answer: Label) -> np.ndarray:
    """Return the number of each row's class, -1 for none: int64 (rows,)."""
    found = [answer.encode(batch.column(0)) for batch in table.select([label]).batches()]
    return np.concatenate([np.empty(0, np.int64), *found])


def _find(
    plan: _Plan,
    rows: Sequences,
    values: np.ndarray,
    codes: np.ndarray,
    classes: np.ndarray,
    places: Sequence[Sequence[int]],
    comm: MPI.Intracomm,
) -> _Found:
    """Collective. Return which windows there are, and how many are left out for what.

    Args:
        values, codes: of the rows here after the halo.
        classes: of the rows here.
        places: those of the channels, and of the targets, among the columns of `values`.
    """
    before = len(codes) - len(rows.places)
    later = np.flatnonzero(rows.places > 0) + before
    falls = (codes[later] < codes[later - 1]).sum()
    begins = rows.places - plan.span + 1
    whole = np.flatnonzero((begins >= 0) & (begins % plan.stride == 0))
    lasts = whole + before
    first, cut = lasts - plan.span + 1, lasts - plan.horizon + 1  # the first row of x, the one behind its last
    of_x, of_y = (_running(values, its) for its in places)
    reasons = {
        "windows whose y is of two splits": codes[np.minimum(cut, lasts)] != codes[lasts],
        "windows with a missing number": (of_x[cut] > of_x[first]) & (not plan.fills) | (of_y[lasts + 1] > of_y[cut]),
        "windows without a label": classes[whole] < 0,
    }
    kept, counted = np.ones(len(lasts), bool), []
    for are in reasons.values():
        counted.append((kept & are).sum())
        kept &= ~are
    lasts, whole = lasts[kept], whole[kept]
    sums = np.array([falls, len(kept), *np.bincount(codes[lasts], minlength=len(SPLITS)), *counted])
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    longest = np.array(rows.lengths.max(initial=0))
    comm.Allreduce(MPI.IN_PLACE, longest, op=MPI.MAX)
    left_out = {why: count for why, count in zip(reasons, sums[-len(reasons) :].tolist(), strict=True) if count}
    _check(plan, int(longest), sums[: -len(reasons)].tolist(), left_out)
    return _Found(lasts, codes[lasts], classes[whole], left_out)


def _running(values: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Return how many rows before each, and before the end, miss a number: int64 (rows + 1,)."""
    sums = np.zeros(len(values) + 1, np.int64)
    for start in range(0, len(values), BATCH_ROWS):
        part = values[start : start + BATCH_ROWS, places]
        sums[start + 1 : start + 1 + len(part)] = np.isnan(part).any(axis=1)
    return np.cumsum(sums)


def _check(plan: _Plan, longest: int, counted: list[int], left_out: dict[str, int]) -> None:
    """Raise where splits alternate, no series is as long as a window, or no window is for training or the test."""
    falls, windows, *rows = counted
    if falls:
        raise InputError(
            f"extract.split: received rows of a series that go back to an earlier split, {falls} times, allowed: "
            "splits along series, or of whole ones; set extract.split = 'time' with extract.by and extract.time the "
            "column of time, or 'group' with extract.by and extract.series the column of series"
        )
    if not windows:
        sizes = f"window = {plan.window}" + f" and horizon = {plan.horizon}" * (plan.horizon > 0)
        raise InputError(
            f"extract.window: received {sizes} for series of up to {longest} rows, allowed: at most as many; lower it"
        )
    for name, count in (("training", rows[0]), ("the test", rows[2])):
        if not count:
            told = "".join(f"; {why}: {number}" for why, number in left_out.items())
            raise InputError(
                f"extract: received {windows} windows, none of them for {name}{told}, allowed: at least one; lower "
                "extract.window or extract.horizon, or change the shares"
            )


def _check_classes(found: _Found, names: list, comm: MPI.Intracomm) -> None:
    """Collective. Raise where a class has no window for training."""
    rows = np.bincount(found.classes[found.codes == 0], minlength=len(names))
    comm.Allreduce(MPI.IN_PLACE, rows, op=MPI.SUM)
    if not rows.all():
        lacking = [str(name) for name, count in zip(names, rows, strict=True) if not count]
        raise InputError(
            f"extract.label: received classes of which no window is for training ({shown(lacking)}), allowed: at least "
            "one of each; split otherwise or leave their rows out"
        )

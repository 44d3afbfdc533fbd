"""Fill empty cells: by what is usual in their column, by the rest of their row, by similar rows, by the rows around.

    mean, median, mode   of the column's known cells, exact; the lower median; the nearest whole number among such
    regression           on all other columns, where any of them may be missing: see `hvdedge.gaussian`
    knn                  the weighted mean, or vote, of the nearest rows: see `hvdedge.neighbours`
    last, linear         the value before, the line between the values around: see `hvdedge.series`
    drop                 the row goes

`auto` takes for each column what did best on known cells that it hid: the median or mode, linear, regression, knn, or
the middle of the last two (blend); see `hvdedge.imputation`. It looks at a sample of the rows of a large table.

A cell stays within its column's range and of its type: whole numbers stay whole, a column of few numbers gets one of
these, categories are known ones. A column that a file does not have stays empty in its rows: the table has it from
other files, which tell nothing about this one's. A file does not have it where no cell is known, and so many empty
ones would be there by chance less than once in a hundred files, as empty cells go in the files that have the column.
Methods give the same cells on any number of ranks.

Source: Little and Rubin 2002, Statistical analysis with missing data; van Buuren and Groothuis-Oudshoorn 2011, mice.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge import fillings, imputation, series
from hvdedge.columns import (
    CLOCKS,
    NUMBERS,
    TEXTS,
    from_floats,
    kind,
    matching,
    of_kind,
    plain,
    shown,
    to_floats,
    to_text,
    value_counts,
)
from hvdedge.coordinates import Column, Number, describe
from hvdedge.errors import InputError
from hvdedge.exact_sums import means
from hvdedge.imputation import LINE, USUAL, Model
from hvdedge.options import ColumnName, Count, Natural, Path, Share
from hvdedge.parallel import agree, allgather_json, counts
from hvdedge.quantiles import select
from hvdedge.tables import Table
from hvdedge.truth import Cells, CleanTable, rates, read_cells, to_numbers

KEPT = ("label",)
MOST_VALUES = 100_000  # a column of more different values has no value that stands for it
ID_SHARE = 0.5  # nor has a text column of which more than this share of the cells are different
LEAST_ROWS = 30  # below, nothing can be learnt from hidden cells
EMPTY_KINDS = ("missing", "out_of_range", "ragged")  # kinds of cells that are or ought to be empty before filling
MODELS = ("auto", "knn", "regression")
SERIES = ("last", "linear")
ORDERED = (*SERIES, "auto")
MOST_FILE_CELLS = 1_000_000  # files times columns of which it is looked at what each file has
CHANCE = 0.01  # that all cells of a column are empty in a file that has it
ALL = ("boolean", *NUMBERS, *CLOCKS, *TEXTS)
KINDS_BY_METHOD = {
    "auto": ("boolean", *NUMBERS, *TEXTS),
    "median": (*NUMBERS, *CLOCKS),
    "mean": (*NUMBERS, *CLOCKS),
    "mode": ALL,
    "knn": ALL,
    "regression": ALL,
    "last": ALL,
    "linear": (*NUMBERS, *CLOCKS),
    "drop": (*ALL, "array"),
}
Suggest = Callable[[pa.RecordBatch, np.ndarray], dict[str, pa.Array]]


def clean(
    table: Table,
    comm: MPI.Intracomm,
    *,
    method: Literal["auto", "mean", "median", "mode", "knn", "regression", "last", "linear", "drop"] = "auto",
    columns: tuple[ColumnName, ...] = (),
    keep: tuple[ColumnName, ...] = ("label",),
    neighbours: Count = 10,
    order: ColumnName = "",
    by: ColumnName = "",
    least_right: Share = 0.1,
    seed: Natural = 0,
    truth: Path = "",
    tolerance: Share = 0.1,
) -> Table:
    """Collective. Fill empty cells by their column, their row, similar rows or the rows around, or drop such rows.

    Args:
        table: this rank's rows.
        method: auto takes the best for each column, of those that fit its kind. It leaves dates and times empty, and
            text columns of which more than half of the cells are different (ids, names): no value stands for them.
        columns: names or patterns (p*) of the columns to fill; all that the method can fill for none.
        keep: columns that stay as they are and by which none is filled, by default a column called label: an invented
            label is a wrong example, and a feature made from the label tells it. So what [extract] names as its label,
            targets or by, and [clean.labels] as label, is kept in any case, but where `columns` names it.
        neighbours: how many rows make up a cell, for knn.
        order: a column of numbers or times by which rows follow each other, for last, linear and auto; the rows' order
            for none.
        by: a column that names the series that each row is of, such as a sensor, for the same; one series for none.
        least_right: auto leaves a column of categories empty where it gets fewer of the hidden cells right, as a share.
        seed: of the sample and of what is hidden.
        truth: a clean table of the same shape, or a file that tells the true values of wrong cells (id, column, kind,
            value); it judges the result and changes nothing. Right is a number within `tolerance` of the range of a
            clean table's column, or else of the column itself; other cells when equal. To be filled were the cells of
            the kinds missing, out_of_range and ragged that are not right already, and any other one that is empty and
            has a true value, of the records that the table still has and columns that are not kept.
        tolerance: see `truth`.
    Returns:
        The same rows with fewer empty cells, or fewer rows. Each filled cell (rule filled) and dropped row (rule
        dropped) is in the change log. The metrics tell each column's method, the errors on hidden cells (in standard
        deviations; the share of wrong ones for categories), and why a column was left.
    Raises:
        InputError: where a pattern matches no column or one that the method cannot fill, the order is no column that
            orders, or the truth cannot be used.
    """
    kept = _kept(table, keep, columns)
    fillable = _fillable(table, method, columns)
    names = [name for name in fillable if name not in kept]
    _check_order(table, order, by, method)
    total = int(counts(table.num_rows, comm).sum())
    known: Cells | CleanTable | None = None
    with agree(comm):
        known = read_cells(truth, (*EMPTY_KINDS, "text_number"), table.columns, total) if truth else None
    if method == "drop":
        return _drop(table, names, {*fillable} & {*kept}, comm)
    work = _Work(table, names, _Judge(table, known, kept, tolerance, comm) if known else None, comm)
    for name in fillable:
        if name in kept and work.empty[name]:
            work.leave(name, _tell_kept(table, name, work.empty[name]))
    for name in set(table.columns) - set(names) - kept if not columns else ():
        if work.empty[name]:
            work.left[name] = f"{kind(table.schema.field(name).type)}: method = {method!r} does not fill this kind"
    if method in SERIES:
        is_line = method == "linear"
        described = describe(table, of_kind(table, NUMBERS, work.names), {}, comm) if is_line else {}
        table = work.fill_series(table, [*work.names], order, by, is_line, described)
    else:
        usual = _usual(table, work, method, comm)
        models = []
        if method in MODELS:
            found = _models(table, work, usual, kept, method, neighbours, order, by, seed, comm)
            models = work.without_wrong(found, least_right)
        lines = {
            name: model.coordinates.columns[name]
            for model in models
            for name, chosen in model.methods.items()
            if chosen == LINE
        }
        table = work.fill_series(table, [*lines], order, by, True, lines)
        table = work.fill(table, [name for name in work.names if name not in lines], _suggest(usual, models))
        table.workspace.kept[fillings.FILE] = fillings.to_json(usual, models, work.methods)
    table.workspace.metrics["missing"] = work.metrics(table)
    return table


def _kept(table: Table, keep: tuple[str, ...], columns: tuple[str, ...]) -> set[str]:
    learned = {name for name in table.columns if _why_learned(table, name)}
    if keep in (KEPT, ()):  # the default need not be in the table
        return learned - {*columns} | {*keep}
    return learned - {*columns} | {*matching(table, keep, "clean.missing.keep")}


def _why_learned(table: Table, name: str) -> str:
    """Return the option that names a column as what is learnt or split by, "" for none."""
    return next((why for one, why in table.workspace.learned.items() if one == name or fnmatchcase(name, one)), "")


def _tell_kept(table: Table, name: str, empty: int) -> str:
    """Return why a column with so many empty cells is kept, with an event where no option of this method says so."""
    option = _why_learned(table, name)
    if option:
        action = f"left {empty} empty cells of {name!r}, which {option} names; to fill it, name it in columns"
        table.workspace.events.append({"what": "kept", "action": action})
    return f"kept: it is what {option} names" if option else "kept"


def _absent(table: Table, names: list[str], comm: MPI.Intracomm) -> dict[str, dict[str, int]]:
    """Collective. Return column -> file -> rows, of the files that do not have a column that others have.

    With e empty cells in the r rows of the f files that have a known one, a file of n rows without any does not have
    the column where (e / (r - f)) ** n < CHANCE: the known cell that each of the f must have is set aside.
    """
    room = MOST_FILE_CELLS // (len(names) + 1)
    known: dict[str, np.ndarray] = {}  # file -> its rows, and its known cells of each column
    for batch in table.batches():
        files = to_text(batch.column("_file")).dictionary_encode()
        code, count = np.asarray(files.indices), len(files.dictionary)
        cells = np.empty((count, len(names) + 1), np.int64)
        cells[:, 0] = np.bincount(code, minlength=count)
        for place, name in enumerate(names):
            cells[:, place + 1] = np.bincount(code[~_is_empty(batch.column(name))], minlength=count)
        if len(known) <= room:
            for file, row in zip(files.dictionary.to_pylist(), cells, strict=True):
                known[file] = known.get(file, 0) + row
    told = {file: cells.tolist() for file, cells in known.items()} if len(known) <= room else None
    parts = allgather_json(told, comm)
    if None in parts:
        event = {"what": "many_files", "action": f"filled all alike: more than {room} files of {len(names)} columns"}
        table.workspace.events.append(event)
        return {}
    total: dict[str, np.ndarray] = {}
    for part in parts:
        for file, row in part.items():
            total[file] = total.get(file, 0) + np.array(row)
    found: dict[str, dict[str, int]] = {}
    files, cells = sorted(total), np.array([total[file] for file in sorted(total)]).reshape(-1, len(names) + 1)
    rows = cells[:, 0]
    for name, count in zip(names, cells[:, 1:].T, strict=True):
        has = count > 0
        others = (rows[has] - 1).sum()
        chance = (rows[has] - count[has]).sum() / others if others else 1.0
        lacking = np.flatnonzero(~has & (chance**rows < CHANCE))
        if len(lacking):
            found[name] = {files[place]: int(rows[place]) for place in lacking}
    if found:
        columns = shown([*found])
        event = {"what": "columns_of_other_files", "action": f"left {columns} empty in files without such cells"}
        table.workspace.events.append(event)
    return found


def _why_absent(files: dict[str, int]) -> str:
    return f"{sum(files.values())} cells of {shown([*files])}, where no cell of the column is known"


def _is_open(batch: pa.RecordBatch, name: str, absent: dict[str, dict[str, int]]) -> np.ndarray:
    """Return which cells are empty and of a file that has the column."""
    empty = _is_empty(batch.column(name))
    if name not in absent:
        return empty
    files = pa.array([*absent[name]], pa.string())
    return empty & ~np.asarray(pc.is_in(to_text(batch.column("_file")), value_set=files))


def _fillable(table: Table, method: str, patterns: tuple[str, ...]) -> list[str]:
    chosen = matching(table, patterns, "clean.missing.columns")
    names = of_kind(table, KINDS_BY_METHOD[method], chosen)
    if patterns and len(names) < len(chosen):
        raise InputError(
            f"clean.missing.columns: received {shown([name for name in chosen if name not in names])}, allowed for "
            f"method = {method!r}: {shown(of_kind(table, KINDS_BY_METHOD[method]))}; leave it out"
        )
    return names


def _check_order(table: Table, order: str, by: str, method: str) -> None:
    for key, name, able in (
        ("order", order, of_kind(table, (*NUMBERS, *CLOCKS))),
        ("by", by, of_kind(table, ALL)),
    ):
        if name and method not in ORDERED:
            raise InputError(
                f"clean.missing.{key}: received {name!r} with method = {method!r}, allowed with: {', '.join(ORDERED)}; "
                "leave it out"
            )
        if name and name not in able:
            raise InputError(f"clean.missing.{key}: received {name!r}, allowed: {shown(able)}; name one of these")


def _is_empty(column: pa.Array) -> np.ndarray:
    return np.asarray(column.is_null(nan_is_null=pa.types.is_floating(column.type)))


def _drop(table: Table, names: list[str], kept: set[str], comm: MPI.Intracomm) -> Table:
    """Collective. Return the rows without an empty cell in those of `names` that their file has; tell of `kept`."""
    absent = _absent(table, names, comm)
    keep = []
    held = sorted(kept)
    counted = np.zeros(len(held), np.int64)
    for batch in table.batches():
        counted += np.array([_is_empty(batch.column(name)).sum() for name in held], np.int64)
        empty = np.zeros(batch.num_rows, bool)
        for name in names:
            empty |= _is_open(batch, name, absent)
        keep.append(~empty)
        table.workspace.log_rows(batch, np.flatnonzero(empty), "dropped")
    result = table.filter(np.concatenate([np.empty(0, bool), *keep]))
    dropped = np.array(table.num_rows - result.num_rows)
    comm.Allreduce(MPI.IN_PLACE, dropped, op=MPI.SUM)
    comm.Allreduce(MPI.IN_PLACE, counted, op=MPI.SUM)
    left = {name: _why_absent(files) for name, files in absent.items()}
    left |= {name: _tell_kept(table, name, count) for name, count in zip(held, counted.tolist(), strict=True) if count}
    table.workspace.metrics["missing"] = {"filled": {}, "rows_dropped": int(dropped), "left": left}
    return result


class _Work:
    """What there is to fill, how it was filled, and what was left.

    Attributes:
        names: the columns to fill that have an empty cell anywhere and a known one.
        empty: column -> how many of its cells are empty, over all rows of files that have the column.
        absent: column -> the files of several that have no cell of it.
        methods: column -> by what it was filled.
        left: column -> why it has cells that stay empty.
    """

    def __init__(self, table: Table, names: list[str], judge: "_Judge | None", comm: MPI.Intracomm):
        """Collective."""
        self.comm = comm
        self.judge = judge
        self._looked: set[str] = set()
        counted = np.zeros(len(table.columns) + 1, np.int64)
        for batch in table.batches():
            counted += [*(_is_empty(batch.column(name)).sum() for name in table.columns), batch.num_rows]
        comm.Allreduce(MPI.IN_PLACE, counted, op=MPI.SUM)
        self.rows = int(counted[-1])
        self.empty = dict(zip(table.columns, counted[:-1].tolist(), strict=True))
        known = [name for name in names if 0 < self.empty[name] < self.rows]
        self.left = {name: "no cell is known" for name in names if 0 < self.empty[name] == self.rows}
        self.absent = _absent(table, known, comm)
        for name, files in self.absent.items():
            self.empty[name] -= sum(files.values())
            self.left[name] = _why_absent(files)
        self.names = [name for name in known if self.empty[name]]
        self.methods: dict[str, str] = {}
        self.notes: dict[str, object] = {}
        self._filled: dict[str, int] = {}

    def fill(self, table: Table, names: list[str], suggest: Suggest) -> Table:
        """Collective. Fill the empty cells in `names` by what `suggest` says for the rows that have any."""
        names = [name for name in names if name in self.methods]
        counted = dict.fromkeys(names, 0)

        def filled(batch: pa.RecordBatch) -> pa.RecordBatch:
            before = batch
            empty = {name: _is_open(batch, name, self.absent) for name in names}
            rows = np.flatnonzero(np.any([*empty.values()], axis=0)) if names else np.empty(0, np.int64)
            suggested = suggest(batch, rows) if names else {}
            for name in names:
                if empty[name].any():
                    batch, count = self._put(table, batch, name, empty[name], suggested[name].filter(empty[name][rows]))
                    counted[name] += count
            if self.judge:
                self.judge.look(before, batch, {*names})
            return batch

        result = table.map(filled)
        totals = np.array([*counted.values()], np.int64)
        self.comm.Allreduce(MPI.IN_PLACE, totals, op=MPI.SUM)
        self._filled |= dict(zip(names, totals.tolist(), strict=True))
        self._looked |= {*names}
        return result

    def leave(self, name: str, why: str) -> None:
        """Note why cells of a column stay empty, beside what there is already."""
        self.left[name] = "; ".join([*([self.left[name]] if name in self.left else []), why])

    def without_wrong(self, models: list[Model], least_right: float) -> list[Model]:
        """Return the models without the columns of categories that they would nearly always fill wrongly."""
        for model in models:
            for name, errors in model.errors.items():
                error = errors[model.methods[name]]
                if not isinstance(model.coordinates.columns[name], Number) and 1 - error < least_right:
                    del model.methods[name], self.methods[name]
                    self.leave(name, f"{error:.0%} of the hidden cells came out wrong; least_right = {least_right:g}")
        return models

    def _put(
        self, table: Table, batch: pa.RecordBatch, name: str, empty: np.ndarray, values: pa.Array
    ) -> tuple[pa.RecordBatch, int]:
        """Return the batch with `values` in the cells that are `empty`, and how many these are; log them."""
        field = batch.schema.field(name)
        column = plain(batch.column(name))
        values = plain(values).cast(column.type)
        rows = pa.array(np.flatnonzero(empty)).filter(values.is_valid())
        values = values.drop_null()
        whole = pc.replace_with_mask(column, _at(rows, len(column)), values)
        table.workspace.log_changes(
            _file=batch.column("_file").take(rows),
            _line=batch.column("_line").take(rows),
            column=[name] * len(rows),
            before=pa.nulls(len(rows), pa.string()),
            after=to_text(values),
            rule=["filled"] * len(rows),
        )
        return batch.set_column(batch.schema.get_field_index(name), field, whole.cast(field.type)), len(rows)

    def fill_series(
        self, table: Table, names: list[str], order: str, by: str, is_line: bool, described: dict[str, Column]
    ) -> Table:
        """Collective. Fill the gaps in `names` from the rows around, a few columns at a time.

        Args:
            described: the columns of numbers, so that a point on a line becomes a cell that they may have.
        """
        at_once = np.array(table.workspace.table_bytes // (64 * (table.num_rows + 1)), np.int64)
        self.comm.Allreduce(MPI.IN_PLACE, at_once, op=MPI.MIN)
        size = max(int(at_once), 1)
        for start in range(0, len(names), size):
            table = self._fill_series(table, names[start : start + size], order, by, is_line, described)
        return table

    def _fill_series(
        self, table: Table, names: list[str], order: str, by: str, is_line: bool, described: dict[str, Column]
    ) -> Table:
        """Collective."""
        texts = [name for name in names if kind(table.schema.field(name).type) in ("boolean", *TEXTS)]
        counted = value_counts(table, texts, MOST_VALUES, self.comm)
        levels = {name: found["value"].combine_chunks() for name, found in counted.items() if found is not None}
        for name in texts:
            if name not in levels:
                self.leave(name, f"more than {MOST_VALUES} values")
        names = [name for name in names if name not in texts or name in levels]
        values = np.empty((table.num_rows, len(names)))
        keys, groups, row = np.empty(table.num_rows), np.empty(table.num_rows), 0
        for batch in table.batches():
            for number, name in enumerate(names):
                values[row : row + batch.num_rows, number] = _codes(batch.column(name), levels.get(name))
            if order:
                keys[row : row + batch.num_rows] = to_floats(batch.column(order))
            if by:
                groups[row : row + batch.num_rows] = series.groups(batch.column(by))
            row += batch.num_rows
        values = series.fill_by(keys if order else None, values, is_line, self.comm, groups if by else None)
        self.methods |= dict.fromkeys(names, "linear" if is_line else "last")
        done = {"rows": 0}

        def suggest(batch: pa.RecordBatch, rows: np.ndarray) -> dict[str, pa.Array]:
            found = values[done["rows"] + rows]
            done["rows"] += batch.num_rows
            return {
                name: _decoded(found[:, number], levels.get(name), described.get(name), table.schema.field(name).type)
                for number, name in enumerate(names)
            }

        result = self.fill(table, names, suggest)
        for name in names:
            if self._filled[name] < self.empty[name]:
                why = f"{self.empty[name] - self._filled[name]} cells have no value before them"
                why += f", or none in {order!r}" if order else ""
                self.leave(name, why)
        return result

    def metrics(self, table: Table) -> dict:
        """Collective. Return what the record shall say; `table` is the result."""
        rest = {*table.columns} - self._looked
        if self.judge and rest:
            for batch in table.batches():
                self.judge.look(batch, batch, rest)  # nothing was filled there, though it may have been wanted
        names = [name for name in self.empty if name in self._filled]
        found = {
            "filled": {name: self._filled[name] for name in names},
            "methods": {name: self.methods[name] for name in names},
            **self.notes,
            "left": {name: self.left[name] for name in self.empty if name in self.left},
        }
        return found | (self.judge.rates(self.comm) if self.judge else {})


def _at(rows: pa.Array, length: int) -> pa.Array:
    mask = np.zeros(length, bool)
    mask[rows.to_numpy()] = True
    return pa.array(mask)


def _codes(column: pa.Array, levels: pa.Array | None) -> np.ndarray:
    """Return the cells as numbers; those with `levels` as their place among these."""
    if levels is None:
        return to_floats(column)
    places = pc.index_in(plain(column), value_set=levels)
    return places.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _decoded(values: np.ndarray, levels: pa.Array | None, column: Column | None, type: pa.DataType) -> pa.Array:
    if levels is None:
        return column.cells(values) if isinstance(column, Number) else from_floats(values, type)
    return levels.take(pa.array(values, pa.float64(), from_pandas=True).cast(pa.int64()))


def _usual(table: Table, work: _Work, method: str, comm: MPI.Intracomm) -> dict[str, pa.Scalar]:
    """Collective. Return column -> what usually stands in it; a column that has no such thing is left."""
    names = work.names
    ordered = of_kind(table, (*NUMBERS, *CLOCKS), names)
    found: dict[str, pa.Scalar] = {}
    if method == "mean":
        central = means(table, ordered, comm)
    elif method == "mode":
        central, ordered = np.empty(0), []
    else:
        central = select(table, [[name] for name in ordered], (0.5,), comm)[:, 0]
    for name, value in zip(ordered, central, strict=True):
        found[name] = from_floats(np.array([value]), table.schema.field(name).type)[0]
    for name, counted in value_counts(table, [n for n in names if n not in ordered], MOST_VALUES, comm).items():
        if counted is None or (method != "mode" and _is_id(table, name, counted)):
            work.leave(name, "nearly all cells are different: no value stands for them")
        elif len(counted):
            found[name] = counted["value"][0]
    for name in names:
        if name in found and found[name].is_valid:
            work.methods[name] = method if method in ("mean", "mode") else "median" if name in ordered else "mode"
        else:
            work.left.setdefault(name, "no cell is known")
    return {name: value for name, value in found.items() if name in work.methods}


def _is_id(table: Table, name: str, counted: pa.Table) -> bool:
    cells = pc.sum(counted["count"]).as_py() or 0
    return kind(table.schema.field(name).type) == "text" and len(counted) > ID_SHARE * cells


def _models(
    table: Table,
    work: _Work,
    usual: dict[str, pa.Scalar],
    kept: set[str],
    method: str,
    neighbours: int,
    order: str,
    by: str,
    seed: int,
    comm: MPI.Intracomm,
) -> list[Model]:
    """Collective. Return the models for those columns that can be filled from others."""
    if not usual or (method == "auto" and work.rows < LEAST_ROWS):
        return []
    names = of_kind(table, ALL, [name for name in table.columns if name not in kept])
    counted = value_counts(table, of_kind(table, ("boolean", *TEXTS), names), MOST_VALUES, comm)
    counted = {
        name: values if values is not None and not _is_id(table, name, values) else None
        for name, values in counted.items()
    }
    described: dict[str, Column] = describe(table, names, counted, comm)
    targets = [name for name in usual if name in described]
    if not targets:
        return []
    models = []
    for model in imputation.plan(table, described, targets, work.empty, method, neighbours, order, by, seed, comm):
        work.methods |= {name: chosen for name, chosen in model.methods.items() if chosen != USUAL}
        models.append(model)
    if models:
        errors = {
            name: _named(errors, work, described[name]) for model in models for name, errors in model.errors.items()
        }
        work.notes |= {"errors": errors} if method == "auto" else {}
        work.notes |= {
            "groups": len(models),
            "rows_looked_at": max(model.rows for model in models),
            "donors": max(model.donors for model in models),
        }
    return models


def _named(errors: dict[str, float], work: _Work, column: Column) -> dict[str, float]:
    return {
        ("median" if isinstance(column, Number) else "mode") if method == USUAL else method: error
        for method, error in errors.items()
    }


def _suggest(usual: dict[str, pa.Scalar], models: list[Model]) -> Suggest:
    def suggest(batch: pa.RecordBatch, rows: np.ndarray) -> dict[str, pa.Array]:
        found = {
            name: pa.array([value.as_py()], value.type).take(pa.array(np.zeros(len(rows), np.int64)))
            for name, value in usual.items()
        }
        chosen = batch.take(pa.array(rows))
        for model in models:
            found |= model.fill(chosen)
        return found

    return suggest


class _Judge:
    """Compares filled cells with the truth, batch by batch."""

    def __init__(self, table: Table, known: Cells | CleanTable, kept: set[str], tolerance: float, comm: MPI.Intracomm):
        """Collective."""
        self.known = known
        self.names = [name for name in table.columns if name not in kept]
        numbers = of_kind(table, NUMBERS, self.names)
        ends = select(table, [[name] for name in numbers], (0, 1), comm)
        if isinstance(known, CleanTable):  # what is wrong in the table must not widen it
            ends = np.array([known.ends(name) for name in numbers]).reshape(-1, 2)
        self.allowed = dict(zip(numbers, tolerance * (ends[:, 1] - ends[:, 0]), strict=True))
        self._tally = np.zeros(3, np.int64)  # right, filled, to be filled
        self._next = dict.fromkeys(self.names, int(counts(table.num_rows, comm)[: comm.rank].sum()))  # row to look at

    def look(self, before: pa.RecordBatch, after: pa.RecordBatch, names: set[str]) -> None:
        """Count what is right in those columns of `after` that are in `names`; both hold the same rows."""
        for name in self.names:
            if name not in names:
                continue
            empty = _is_empty(before.column(name))
            filled = empty & ~_is_empty(after.column(name))
            known, wanted, true = self._true(before, name)
            if not (known | filled).any():
                continue
            if isinstance(self.known, CleanTable):
                filled &= known  # of the others it tells nothing
            right = self._right(name, after.column(name), true) & known
            was_right = right & ~empty  # by merging with a duplicate, say
            self._tally += (filled & right).sum(), filled.sum(), (known & (empty | wanted) & ~was_right).sum()

    def rates(self, comm: MPI.Intracomm) -> dict[str, float]:
        """Collective. Return the `rates` of all ranks together."""
        comm.Allreduce(MPI.IN_PLACE, self._tally, op=MPI.SUM)
        return rates(*self._tally.tolist())

    def _true(self, batch: pa.RecordBatch, name: str) -> tuple[np.ndarray, np.ndarray, pa.Array]:
        """Return of which of the next cells of a column the true value is known, which have to be filled in any case,
        and the true values, as text."""
        if isinstance(self.known, Cells):
            known, kinds, true = self.known.find(to_text(batch.column(self.known.id)), name)
            return known, np.asarray(pc.fill_null(pc.is_in(kinds, value_set=pa.array(EMPTY_KINDS)), False)), true
        row = self._next[name]
        self._next[name] += batch.num_rows
        true = self.known.cells(name, row, batch.num_rows)
        return np.asarray(true.is_valid()), np.zeros(len(true), bool), true

    def _right(self, name: str, column: pa.Array, true: pa.Array) -> np.ndarray:
        if name not in self.allowed:
            return np.asarray(pc.fill_null(pc.equal(to_text(column), true), False))
        return np.abs(to_floats(column) - to_numbers(true)) <= self.allowed[name]

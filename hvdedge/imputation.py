"""Models that fill empty cells from the rest of their row, fitted on a sample of all rows, chosen by a hold-out.

    coordinates of the columns -> sample -> Gaussian (regression) -> rows filled by it -> their nearest neighbours
                                    |
                                    +-> some known cells hidden -> the same -> error of each method for each column

The error is the mean squared one in variances of the column, for categories the share of wrong ones. One cell counts
up to `ROBUST` widths of the column's middle, so that a few outliers do not decide. A column with few hidden cells is
judged by those of all columns as well, by how much less a method errs there than the usual value does:

    score = (cells * own error / own usual's + SHRINKAGE * mean of these ratios over all columns) / (cells + SHRINKAGE)

and a method has to be `WORTH` better than a simpler one. All sums are of whole numbers, so each rank, and each number
of ranks, comes to the same choice.

A table of more than `WIDTH` coordinates is modelled in groups: a column with those most correlated with it; with its
neighbours in the table where even the correlations of all pairs would be too many.

Memory of a rank: the sample, bounded by the workspace's `table_bytes`, and the donors of the neighbours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge import gaussian, neighbours, series
from hvdedge.columns import to_floats
from hvdedge.coordinates import ROBUST, Category, Column, Coordinates, Number
from hvdedge.gaussian import Gaussian, in_steps
from hvdedge.neighbours import Neighbours
from hvdedge.parallel import counts
from hvdedge.sampling import first_row, held_out, runs, uniform
from hvdedge.tables import Table

USUAL, LINE, REGRESSION, KNN, BLEND = METHODS = ("usual", "linear", "regression", "knn", "blend")  # simpler ones first
WIDTH = 256
MOST_PAIRED = 1024  # coordinates, for correlations of all pairs
MOST_ROWS = 200_000
LEAST_SAMPLE = 1000
MOST_SEARCHES = 2_000_000_000  # donors times rows to fill: some seconds a billion
LEAST_DONORS = 500
SHRINKAGE = 10
WORTH = 0.98
MOST_RATIO = 2.0  # that a method's error in one column may be of the usual's, for the others: clear own errors decide
ERROR_STEPS = 2**20
CELL_BYTES = 64  # what a cell of the sample takes: itself, filled, hidden, suggested
DONOR_CELL_BYTES = 48  # twice while it is chosen by


@dataclass
class Model:
    """What fills some columns of a table from these and others.

    Attributes:
        coordinates: of all columns that are looked at.
        methods: column to fill -> one of METHODS.
        errors: column -> method -> root of the mean squared error in standard deviations; for categories the share
            that is wrong. Empty where nothing was held out.
        rows: how many rows it was fitted on; donors: how many the neighbours are sought among.
    """

    coordinates: Coordinates
    methods: dict[str, str]
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    rows: int = 0
    donors: int = 0
    regression: Gaussian | None = None
    neighbours: Neighbours | None = None

    def fill(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        """Return column -> a cell for each row of `batch`, by the column's method; not for usual and linear ones."""
        wanted = {name: method for name, method in self.methods.items() if method not in (USUAL, LINE)}
        if not wanted or self.regression is None:
            return {}
        suggested = _suggest(self.regression, self.neighbours, self.coordinates.encode(batch))
        return {
            name: self.coordinates.columns[name].decode(suggested[method][:, self.coordinates.places[name]])
            for name, method in wanted.items()
        }


def plan(
    table: Table,
    columns: dict[str, Column],
    targets: Sequence[str],
    empty: dict[str, int],
    method: str,
    k: int,
    order: str,
    by: str,
    seed: int,
    comm: MPI.Intracomm,
) -> Iterator[Model]:
    """Collective. Yield the models that together fill `targets`.

    Args:
        columns: the columns to be looked at, `targets` among them.
        empty: target -> how many of its cells are empty in all rows.
        method: one of METHODS, or auto to choose for each column.
        k: how many neighbours make up a cell.
        order, by: the columns that tell how rows follow each other, and of which series they are; none for "".
    """
    total = int(counts(table.num_rows, comm).sum())
    groups = [*_groups(table, columns, targets, total, seed, comm)]
    room_bytes = table.workspace.table_bytes // len(groups)  # all models are held until the table is filled
    for names, chosen in groups:
        coordinates = Coordinates(columns[name] for name in names)
        yield _model(table, coordinates, chosen, empty, method, k, total, room_bytes, (order, by), seed, comm)


def _model(
    table: Table,
    coordinates: Coordinates,
    targets: list[str],
    empty: dict[str, int],
    method: str,
    k: int,
    total: int,
    room_bytes: int,
    along: tuple[str, str],
    seed: int,
    comm: MPI.Intracomm,
) -> Model:
    sample, numbers, keys, series_of = _sample(table, coordinates, total, along, seed, comm)
    rows = int(counts(len(sample), comm).sum())
    to_fill = min(total, sum(empty[name] for name in targets))  # at most, as a row may have several empty cells
    limit = int(np.clip(MOST_SEARCHES // max(to_fill, 1), LEAST_DONORS, neighbours.MOST_DONORS))
    limit = min(limit, max(room_bytes // (DONOR_CELL_BYTES * coordinates.width), LEAST_DONORS))
    is_donor = uniform(seed + 1, numbers) < limit / max(rows, 1)
    chunk_bytes = table.workspace.table_bytes // 4

    def fitted(points: np.ndarray, start: Gaussian | None) -> tuple[Gaussian, Neighbours]:
        found = gaussian.fit(points, comm, start)
        filled = in_steps(found.fill(points))
        return found, neighbours.gather(filled, points, found.explained, is_donor, k, chunk_bytes, comm)

    model = Model(coordinates, dict.fromkeys(targets, method), rows=rows)
    start: Gaussian | None = None
    if method == "auto":
        hidden, held = _hide(sample, coordinates, targets, seed, comm)
        start, near = fitted(hidden, None)
        suggested = _suggest(start, near, hidden)
        suggested[USUAL] = np.broadcast_to(
            np.concatenate([column.usual for column in coordinates.columns.values()]), sample.shape
        )
        suggested[LINE] = series.fill_by(keys, hidden, True, comm, series_of)
        model.methods, model.errors = _choose(coordinates, targets, sample, held, suggested, comm)
    if any(chosen not in (USUAL, LINE) for chosen in model.methods.values()):
        model.regression, near = fitted(sample, start)
        if {*model.methods.values()} & {KNN, BLEND}:
            model.neighbours, model.donors = near, near.size
    return model


def _sample(
    table: Table, coordinates: Coordinates, total: int, along: tuple[str, str], seed: int, comm: MPI.Intracomm
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Collective. Return a bounded sample of all rows, of those that are here.

    Returns:
        The rows' coordinates; their global numbers; where they stand in the order of `along`; of which series they are.
    """
    room = table.workspace.table_bytes // (CELL_BYTES * coordinates.width)
    share = min(max(room, LEAST_SAMPLE), MOST_ROWS) / max(total, 1)
    start = first_row(table.num_rows, comm)
    order, by = along
    points, numbers = [np.empty((0, coordinates.width))], [np.empty(0, np.int64)]
    keys, series_of = [np.empty(0)], [np.empty(0)]
    needed = dict.fromkeys([*coordinates.columns, *(name for name in along if name)])
    for batch in table.select([*needed]).batches():
        rows = start + np.arange(batch.num_rows)
        start += batch.num_rows
        chosen = runs(seed, rows, total, share)
        if chosen.any():
            batch = batch.filter(pa.array(chosen))
            points.append(coordinates.encode(batch))
            numbers.append(rows[chosen])
            keys.append(to_floats(batch.column(order)) if order else rows[chosen].astype(np.float64))
            series_of.append(series.groups(batch.column(by)) if by else np.zeros(batch.num_rows))
    return np.concatenate(points), np.concatenate(numbers), np.concatenate(keys), np.concatenate(series_of)


def _suggest(regression: Gaussian, near: Neighbours | None, points: np.ndarray) -> dict[str, np.ndarray]:
    """Return method -> cells for `points`; their own where they are known, so only missing ones mean something."""
    filled = regression.fill(points)
    found = {REGRESSION: filled}
    if near is not None:
        found[KNN] = filled.copy()
        rows = np.flatnonzero(np.isnan(points).any(axis=1))
        suggested = near.fill(in_steps(filled[rows]), np.isnan(points[rows]))
        found[KNN][rows] = np.where(np.isnan(suggested), filled[rows], suggested)
        found[BLEND] = (filled + found[KNN]) / 2
    return found


def _hide(
    sample: np.ndarray, coordinates: Coordinates, targets: list[str], seed: int, comm: MPI.Intracomm
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Collective. Return the sample with some known cells hidden, and target -> which rows these are."""
    firsts = [coordinates.places[name].start for name in targets]  # a column misses all its coordinates or none
    held = held_out(np.isnan(sample[:, firsts]), comm, seed)
    hidden = sample.copy()
    for name, rows in zip(targets, held.T, strict=True):
        hidden[rows, coordinates.places[name]] = np.nan
    return hidden, dict(zip(targets, held.T, strict=True))


def _choose(
    coordinates: Coordinates,
    targets: list[str],
    sample: np.ndarray,
    held: dict[str, np.ndarray],
    suggested: dict[str, np.ndarray],
    comm: MPI.Intracomm,
) -> tuple[dict[str, str], dict[str, dict[str, float]]]:
    """Collective. Return target -> the method of least error, and target -> method -> error."""
    sums = np.zeros((len(targets), len(METHODS)), np.int64)
    sizes = np.zeros(len(targets), np.int64)
    for number, name in enumerate(targets):
        column, place, rows = coordinates.columns[name], coordinates.places[name], held[name]
        sizes[number] = rows.sum()
        for order, method in enumerate(METHODS):
            off = _errors(column, sample[rows, place], suggested[method][rows, place])
            sums[number, order] = np.round(off * ERROR_STEPS).astype(np.int64).sum()
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    comm.Allreduce(MPI.IN_PLACE, sizes, op=MPI.SUM)
    measured = np.flatnonzero(sizes)
    errors = sums / ERROR_STEPS / np.maximum(sizes, 1)[:, None]
    ratios = errors / np.where(errors[:, :1] > 0, errors[:, :1], np.finfo(float).eps)
    methods, told = dict.fromkeys(targets, USUAL), {}
    is_category = np.array([isinstance(coordinates.columns[name], Category) for name in targets], bool)
    for number, name in enumerate(targets):
        alike = [other for other in measured if is_category[other] == is_category[number]]
        if not alike:
            continue
        score = sizes[number] * ratios[number] + SHRINKAGE * np.minimum(ratios[alike], MOST_RATIO).mean(axis=0)
        if is_category[number]:
            score[METHODS.index(LINE)] = np.inf
        best = 0
        for order in range(1, len(METHODS)):
            if score[order] < WORTH * score[best]:
                best = order
        methods[name] = METHODS[best]
        if sizes[number]:
            root = errors[number] if is_category[number] else np.sqrt(errors[number])
            told[name] = {
                method: round(float(value), 6)
                for method, value in zip(METHODS, root, strict=True)
                if not (is_category[number] and method == LINE)
            }
    return methods, told


def _errors(column: Column, true: np.ndarray, found: np.ndarray) -> np.ndarray:
    if isinstance(column, Number):
        off = np.abs(in_steps(true[:, 0]) - in_steps(column.encode(column.decode(found))[:, 0]))
        most = min(ROBUST * column.spread / column.std, gaussian.LIMIT)
        return np.where(np.isnan(off), most, np.minimum(off, most)) ** 2
    wrong = column.places(true) != column.places(found)
    return (wrong | (true + column.shares < 0.5).all(axis=1)).astype(np.float64)  # one of the rarer values


def _groups(
    table: Table, columns: dict[str, Column], targets: Sequence[str], total: int, seed: int, comm: MPI.Intracomm
) -> Iterator[tuple[list[str], list[str]]]:
    """Collective. Yield the columns to look at together, and those of `targets` that are filled from them."""
    every = Coordinates(columns.values())
    if every.width <= WIDTH:
        yield [*columns], [*targets]
        return
    names = [*columns]
    related = _correlations(table, every, total, seed, comm) if every.width <= MOST_PAIRED else None
    left = dict.fromkeys(targets)
    while left:
        first = names.index(next(iter(left)))
        apart = np.abs(np.arange(len(names)) - first)
        order = np.argsort(apart if related is None else -related[first], kind="stable")
        order = np.concatenate([[first], order[order != first]])
        widths = np.cumsum([columns[names[number]].width for number in order])
        group = order[: max(int(np.searchsorted(widths, WIDTH, side="right")), 1)]
        near = {names[number] for number in group[: max(len(group) // 2, 1)]}
        chosen = [name for name in left if name in near]
        left = dict.fromkeys(name for name in left if name not in near)
        yield [names[number] for number in sorted(group)], chosen


def _correlations(table: Table, coordinates: Coordinates, total: int, seed: int, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return for each two columns the largest correlation of their coordinates, without its sign."""
    width = coordinates.width
    sums = np.zeros((2, width, width))
    start = first_row(table.num_rows, comm)
    for batch in table.select([*coordinates.columns]).batches():
        rows = start + np.arange(batch.num_rows)
        start += batch.num_rows
        chosen = runs(seed, rows, total, min(MOST_ROWS / max(total, 1), 1.0))
        points = in_steps(coordinates.encode(batch.filter(pa.array(chosen))))
        known = ~np.isnan(points)
        points[~known] = 0.0
        sums[0] += points.T @ points
        sums[1] += (points * points).T @ known
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    spread = np.sqrt(sums[1] * sums[1].T)
    found = np.abs(sums[0]) / np.where(spread > 0, spread, np.inf)
    firsts = [place.start for place in coordinates.places.values()]
    return np.maximum.reduceat(np.maximum.reduceat(found, firsts, axis=0), firsts, axis=1)

"""Class scores of every row by a model that was not trained on it: ridge regression on random features.

The columns become numbers (of categories the most frequent ones a column each), these are brought to one scale, and

    phi(x) = [1, x, sqrt(2) cos(W x + b)],   W ~ N(0, 2 / columns),   b ~ U(0, 2 pi)

approximates a Gaussian kernel. For each fold k the model is fitted to the rows of the others from sums alone,

    B_k = (G - G_k + ridge I)^-1 (C - C_k),   G = sum phi phi',   C = sum phi y'

so rows never leave their rank; the ridge is the one of `RIDGES` with the least squared error over all folds, which the
same sums tell. The scores become probabilities by softmax(sharpness * scores), the sharpness being the one of
`SHARPNESS` under which the labels are likeliest. x, W and phi are taken in whole steps: every product is a whole
number of small steps, sums of up to 2**26 rows are exact, and so the same on any number of ranks.

Source: Rahimi and Recht 2007, Random features for large-scale kernel machines.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import CLOCKS, NUMBERS, TEXTS, arrays, of_kind, plain, to_floats, value_counts
from hvdedge.quantiles import select
from hvdedge.sampling import first_row, uniform
from hvdedge.tables import Table

STEPS = 2**8  # of a number of one standard deviation, and of a weight
PHI_STEPS = 2**10
LIMIT = 4.0  # standard deviations; what lies beyond is taken to lie there
CATEGORIES = 50
MOST_VALUES = 10_000
MOST_LINEAR = 256  # with more columns the random features alone are enough
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)
SHARPNESS = (1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0)
SCORE_STEPS = 2**20


class Numbers:
    """The cells of some columns as numbers of one scale.

    Attributes:
        left_out: column -> why it cannot be used.
        width: how many numbers a row has.
    """

    def __init__(self, table: Table, names: Sequence[str], comm: MPI.Intracomm):
        """Collective."""
        self._plain = of_kind(table, (*NUMBERS, *CLOCKS, "boolean"), names)
        words = of_kind(table, TEXTS, names)
        found = value_counts(table, words, MOST_VALUES, comm)
        self.left_out = {name: "neither numbers nor categories" for name in names if name not in {*self._plain, *words}}
        self._categories: dict[str, pa.Array] = {}
        for name, counted in found.items():
            if counted is None or len(counted) > CATEGORIES:
                self.left_out[name] = f"more than {CATEGORIES} values"
            else:
                self._categories[name] = counted["value"].combine_chunks()
        self.width = len(self._plain) + sum(map(len, self._categories.values()))
        self._low, self._high = self._ends(table, comm)
        self._mean, self._deviation = np.zeros(self.width), np.ones(self.width)
        self._mean, self._deviation = self._moments(table, comm)

    def of(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return float64 (rows, width), in standard deviations, in whole `STEPS`; 0 where a number is missing."""
        scaled = (self._scaled(batch) - self._mean) / self._deviation
        return np.round(np.clip(np.nan_to_num(scaled), -LIMIT, LIMIT) * STEPS) / STEPS

    def _scaled(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return the numbers between the ends of their columns, 0 to 1 but for the outermost; categories 0 or 1."""
        parts = [_floats(batch.column(name)) for name in self._plain]
        cells = np.stack(parts, axis=1) if parts else np.empty((batch.num_rows, 0))
        wide = np.where(self._high > self._low, self._high - self._low, 1.0)
        columns = [np.clip((cells - self._low) / wide, -1.0, 2.0)]
        for name, values in self._categories.items():
            place = pc.fill_null(pc.index_in(plain(batch.column(name)), value_set=values), -1).to_numpy()
            columns.append((place[:, None] == np.arange(len(values))).astype(np.float64))
        return np.round(np.concatenate(columns, axis=1) * PHI_STEPS) / PHI_STEPS

    def _ends(self, table: Table, comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray]:
        """Collective. Return the ends of each column of numbers, of an array's cells those of all of them."""
        numbers = [name for name in self._plain if name not in of_kind(table, ("boolean",))]
        pools = arrays(numbers)
        groups = [*pools, *([name] for name in numbers)]
        ends = select(table, groups, (0.01, 0.99, 0.0, 1.0), comm)
        ends = np.where((ends[:, :1] < ends[:, 1:2]), ends[:, :2], ends[:, 2:])
        of = dict.fromkeys(self._plain, (0.0, 1.0))
        for group, (low, high) in reversed([*zip(groups, ends.tolist(), strict=True)]):
            of |= dict.fromkeys(group, (low, high) if low <= high else (0.0, 1.0))
        self._pools = [[self._plain.index(name) for name in pool] for pool in pools]
        low, high = np.array([of[name] for name in self._plain]).reshape(-1, 2).T
        return low, high

    def _moments(self, table: Table, comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray]:
        """Collective. Return mean and standard deviation of the scaled numbers; the cells of an array share one."""
        sums = np.zeros((3, self.width))
        for batch in table.batches():
            cells = self._scaled(batch)
            known = np.isfinite(cells)
            cells = np.where(known, cells, 0.0)
            sums += known.sum(axis=0), cells.sum(axis=0), (cells**2).sum(axis=0)  # whole steps: exact
        comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        count = np.maximum(sums[0], 1)
        mean = sums[1] / count
        variance = np.maximum(sums[2] / count - mean**2, 0.0)
        for pool in self._pools:
            variance[pool] = variance[pool].mean()
        return mean, np.where(variance > 0, np.sqrt(variance), 1.0)


class CrossFit:
    """A model of the classes for each fold, fitted to the rows of the other folds.

    Args:
        classes: the values of the column `label`; rows with none of them are not learnt from.
        folds: into how many parts the rows are dealt, by the seed and their number in the whole table.
        features: random ones.
    """

    def __init__(
        self,
        table: Table,
        numbers: Numbers,
        label: str,
        classes: pa.Array,
        comm: MPI.Intracomm,
        *,
        folds: int,
        features: int,
        seed: int,
    ):
        """Collective."""
        self._numbers, self._label, self._classes = numbers, label, classes
        self._folds, self._seed = folds, seed
        self._first_row = first_row(table.num_rows, comm)
        draw = np.random.default_rng([seed, 7])
        spread = np.sqrt(2 / max(numbers.width, 1))
        self._weights = np.round(draw.normal(0, spread, (numbers.width, features)) * STEPS) / STEPS
        self._shift = np.round(draw.uniform(0, 2 * np.pi, features) * STEPS**2) / STEPS**2
        self._fit(table, comm)
        self._sharpness = self._likeliest(table, comm)

    def scores(self, table: Table) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield for each batch of the table the number of each row's class, -1 for none, and the probabilities of the
        classes: float64 (rows, classes), in whole `SCORE_STEPS`."""
        for given, raw in self._raw_scores(table):
            yield given, np.round(_softmax(self._sharpness * raw) * SCORE_STEPS) / SCORE_STEPS

    def _raw_scores(self, table: Table) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for phi, given, fold in self._rows(table):
            raw = np.zeros((len(phi), len(self._classes)))
            for number in range(self._folds):
                raw[fold == number] = phi[fold == number] @ self._models[number]
            yield given, raw

    def _likeliest(self, table: Table, comm: MPI.Intracomm) -> float:
        """Collective."""
        loss = np.zeros(len(SHARPNESS))
        for given, raw in self._raw_scores(table):
            rows = np.flatnonzero(given >= 0)
            for place, sharpness in enumerate(SHARPNESS):
                of_label = _softmax(sharpness * raw[rows])[np.arange(len(rows)), given[rows]]
                loss[place] -= np.round(np.log(np.maximum(of_label, 1e-9)) * PHI_STEPS).sum()  # whole: exact
        comm.Allreduce(MPI.IN_PLACE, loss, op=MPI.SUM)
        return SHARPNESS[int(loss.argmin())]

    def _fit(self, table: Table, comm: MPI.Intracomm) -> None:
        """Collective."""
        width = len(self._phi(np.zeros((1, self._numbers.width)))[0])
        gram = np.zeros((self._folds, width, width))
        cross = np.zeros((self._folds, width, len(self._classes)))
        for phi, given, fold in self._rows(table):
            for number in range(self._folds):
                mine = (fold == number) & (given >= 0)
                gram[number] += phi[mine].T @ phi[mine]
                cross[number] += phi[mine].T @ (given[mine][:, None] == np.arange(len(self._classes)))
        comm.Allreduce(MPI.IN_PLACE, gram, op=MPI.SUM)
        comm.Allreduce(MPI.IN_PLACE, cross, op=MPI.SUM)
        self._models = np.zeros_like(cross)
        if comm.rank == 0:  # one solution for all: another processor's would differ in the last digit
            tried = [self._solve(gram, cross, ridge) for ridge in RIDGES]
            self._models = min(tried, key=lambda models: self._error(gram, cross, models))
        comm.Bcast(self._models)

    def _solve(self, gram: np.ndarray, cross: np.ndarray, ridge: float) -> np.ndarray:
        whole, width = gram.sum(axis=0), gram.shape[1]
        rows = max(whole[0, 0], 1.0)  # the first feature is 1
        penalty = ridge * rows * np.eye(width)
        return np.stack(
            [np.linalg.solve(whole - g + penalty, c) for g, c in zip(gram, cross.sum(0) - cross, strict=True)]
        )

    @staticmethod
    def _error(gram: np.ndarray, cross: np.ndarray, models: np.ndarray) -> float:
        """Return the squared error over all folds, but for a constant."""
        return sum(float(np.sum(b * (g @ b - 2 * c))) for g, c, b in zip(gram, cross, models, strict=True))

    def _rows(self, table: Table) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield features, class and fold of each row, batch by batch."""
        start = self._first_row
        for batch in table.batches():
            given = pc.fill_null(pc.index_in(plain(batch.column(self._label)), value_set=self._classes), -1).to_numpy()
            rows = np.arange(start, start + batch.num_rows)
            fold = (uniform(self._seed, rows) * self._folds).astype(np.int64)
            yield self._phi(self._numbers.of(batch)), given, fold
            start += batch.num_rows

    def _phi(self, cells: np.ndarray) -> np.ndarray:
        linear = cells if self._numbers.width <= MOST_LINEAR else cells[:, :0]
        waves = np.sqrt(2) * np.cos(cells @ self._weights + self._shift)
        return np.concatenate([np.ones((len(cells), 1)), linear, np.round(waves * PHI_STEPS) / PHI_STEPS], axis=1)


def _softmax(scores: np.ndarray) -> np.ndarray:
    power = np.exp(scores - scores.max(axis=1, keepdims=True))
    return power / power.sum(axis=1, keepdims=True)


def _floats(column: pa.Array) -> np.ndarray:
    return to_floats(column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column)

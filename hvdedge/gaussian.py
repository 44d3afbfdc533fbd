"""Regression of every column on all others where any cell may be missing: regularised expectation maximisation.

Rows are taken as draws of a normal distribution with mean m and covariance S. Each round fills every row's missing
cells by their regression on the row's known ones, and estimates m and S anew from the filled rows, with what the
regression cannot know added:

    R = S + ridge diag(S),   P = R^-1
    x_missing = m_missing - P_mm^-1 P_mk (x_known - m_known)                the ridge regression, by the precision P
    S = 1/n sum (x - m)(x - m)' + P_mm^-1 - ridge diag(S)_mm                Gram matrices, all-reduced

with ridge = RIDGE + RIDGE_COLUMNS * columns / rows. Rows never leave their rank; what is summed are sums and Gram
matrices of columns + columns^2 numbers.

A cell is taken in steps of 1 / STEPS and within LIMIT (in standard deviations). So each product of two is a whole
number of 1 / STEPS^2, and sums of 2**27 rows of them are exact in float64 in any order. What a row's solution rounds
to depends on that row alone: rows are solved in systems whose size follows from their own gaps, of right sides that are
cut to OFFSET_STEPS. So the result is the same on any number of ranks.

Source: Schneider 2001, Analysis of incomplete climate data: estimation of mean values and covariance matrices and
imputation of missing values; Dempster, Laird and Rubin 1977.
"""

from collections.abc import Iterator

import numpy as np
from mpi4py import MPI

STEPS = 2**13
LIMIT = 16.0
SPREAD_STEPS = 2**20
OFFSET_STEPS = 2**30
PADDING = 1.25  # a row is solved as one of up to so many times its missing cells
RIDGE = 0.005
RIDGE_COLUMNS = 0.1
FLOOR = 1e-6  # keeps a column that never changes from being a division by zero
ROUNDS = 40
STILL = 0.005  # a covariance that changes less, in variances of a column, is there
CHUNK_BYTES = 8_000_000


def in_steps(rows: np.ndarray) -> np.ndarray:
    """Return the cells, in standard deviations, in steps and within limits that keep sums exact; NaN stays."""
    return np.clip(np.round(rows * STEPS), -LIMIT * STEPS, LIMIT * STEPS) / STEPS


class Gaussian:
    """A normal distribution of rows, by which a row's missing cells follow from its known ones.

    Attributes:
        mean, covariance: (columns,), (columns, columns).
        ridge: the share of its variance that is added to each column's.
    """

    def __init__(self, mean: np.ndarray, covariance: np.ndarray, ridge: float):
        self.mean = mean
        self.covariance = covariance
        self.ridge = ridge
        self._ridge = ridge * np.diag(covariance) + FLOOR
        self._precision = np.linalg.inv(covariance + np.diag(self._ridge))

    @property
    def explained(self) -> np.ndarray:
        """What share of each column's variance its regression on all others explains: (columns,), 0 to 1."""
        variance = np.diag(self.covariance)
        rest = 1 / np.diag(self._precision) - self._ridge
        return np.clip(1 - rest / np.maximum(variance, FLOOR), 0.0, 1.0)

    def fill(self, rows: np.ndarray) -> np.ndarray:
        """Return `rows`, float64 (rows, columns), NaN where missing, with the expected values in these places."""
        filled = rows.copy()
        for chunk, places, inside, offsets, block in self._chunks(rows):
            values = -np.linalg.solve(block, offsets[:, :, None])[:, :, 0] + self.mean[places]
            row, place = np.nonzero(inside)
            filled[chunk[row], places[row, place]] = values[row, place]
        return filled

    def expect(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what `fill` does, in steps, and the sum of the covariances of the missing cells, which are exact."""
        filled = rows.copy()
        columns = rows.shape[1]
        spread = np.zeros(columns * columns)
        for chunk, places, inside, offsets, block in self._chunks(rows):
            inverse = np.linalg.inv(block)
            values = -(inverse @ offsets[:, :, None])[:, :, 0] + self.mean[places]
            row, place = np.nonzero(inside)
            filled[chunk[row], places[row, place]] = values[row, place]
            width = places.shape[1]
            inverse[:, np.arange(width), np.arange(width)] -= self._ridge[places]
            both = inside[:, :, None] & inside[:, None, :]
            target = (places[:, :, None] * columns + places[:, None, :])[both]
            spread += np.bincount(
                target, np.round(inverse[both] * SPREAD_STEPS) / SPREAD_STEPS, minlength=columns * columns
            )
        return in_steps(filled), spread.reshape(columns, columns)

    def _chunks(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield rows of about equally many missing cells together, so that they are solved in one call.

        Yields:
            the rows' numbers; the places of their missing cells, (rows, most missing cells), known ones after them;
            which of these are missing; P_mk (x_known - m_known); P_mm, the identity in places that are known.
        """
        missing = np.isnan(rows)
        gaps = missing.sum(axis=1)
        widths = _widths(rows.shape[1])[gaps]
        order = np.argsort(widths, kind="stable")
        order = order[np.searchsorted(widths[order], 1) :]
        while len(order):
            width = int(widths[order[0]])
            size = max(1, CHUNK_BYTES // (32 * width * width))
            chunk = order[: min(size, int(np.searchsorted(widths[order], width + 1)))]
            order = order[len(chunk) :]
            places = np.argsort(~missing[chunk], axis=1, kind="stable")[:, :width]
            inside = np.arange(width) < gaps[chunk][:, None]
            known = np.where(missing[chunk], 0.0, rows[chunk] - self.mean)
            offsets = np.where(inside, np.take_along_axis(known @ self._precision, places, axis=1), 0.0)
            offsets = np.round(offsets * OFFSET_STEPS) / OFFSET_STEPS  # a product's rounding depends on its size
            block = self._precision[places[:, :, None], places[:, None, :]]
            block = np.where(inside[:, :, None] & inside[:, None, :], block, np.eye(width))
            yield chunk, places, inside, offsets, block


def _widths(columns: int) -> np.ndarray:
    """Return for each number of gaps the size of the system that it is solved in: a few sizes, for many rows each."""
    sizes = [0]
    while sizes[-1] < columns:
        sizes.append(min(max(sizes[-1] + 1, int(sizes[-1] * PADDING)), columns))
    return np.array(sizes)[np.searchsorted(sizes, np.arange(columns + 1))]


def fit(rows: np.ndarray, comm: MPI.Intracomm, start: Gaussian | None = None) -> Gaussian:
    """Collective. Return the normal distribution that explains the known cells of all rows best.

    Args:
        rows: this rank's, float64 (rows here, columns), about zero and in standard deviations, NaN where missing.
        start: what to begin with, if something like it is known.
    """
    rows = in_steps(rows)
    columns = rows.shape[1]
    is_whole = ~np.isnan(rows).any(axis=1)
    whole, broken = _sums(rows[is_whole]), rows[~is_whole]
    count = np.array(len(rows), np.int64)
    comm.Allreduce(MPI.IN_PLACE, count, op=MPI.SUM)
    size = max(int(count), 1)
    ridge = RIDGE + RIDGE_COLUMNS * columns / size
    found = start or Gaussian(np.zeros(columns), np.eye(columns), ridge)
    for _ in range(ROUNDS):
        filled, spread = found.expect(broken)
        sums = whole + _sums(filled)
        sums[1:] += spread
        comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        mean = sums[0] / size
        covariance = sums[1:] / size - mean[:, None] * mean
        change = np.abs(covariance - found.covariance).max(initial=0.0)
        found = Gaussian(mean, covariance, ridge)
        if change < STILL:  # alike on every rank, as sums of steps are exact
            break
    return found


def _sums(rows: np.ndarray) -> np.ndarray:
    """Return the sum of the rows above their Gram matrix."""
    return np.concatenate([rows.sum(axis=0)[None], rows.T @ rows])

"""Principal components of the training rows, from one Gram matrix that all ranks add up.

    C = sum of (x - mean) (x - mean)' / (n - 1) = V diag(variances) V',   x -> (x - mean) V[:, :components]

The components are scikit-learn's (the largest entry of each is positive), within the rounding of each column to 2**-24
of half its range; sums are exact, so they are the same bit for bit on any number of ranks. The root decomposes C.

Source: Pearson 1901, On lines and planes of closest fit.
"""

import numpy as np
from mpi4py import MPI

from hvdedge.errors import InputError
from hvdedge.options import Between, Natural
from hvdedge.parallel import agree
from hvdedge.projections import ends, flat_width, projected
from hvdedge.tensors import Features
from hvdedge.whole_products import STEPS, halves, joined

MOST_COLUMNS = 2000  # the sums of their products take 128 MB


def reduce(features: Features, comm: MPI.Intracomm, *, components: Natural = 0, variance: Between = 0.95) -> Features:
    """Collective. Replace the columns by their principal components.

    Args:
        components: how many; 0: as few as hold the share `variance` of the variance.
        variance: the share of the variance that is kept where `components` is 0.
    Returns:
        x float32 (rows, components). A rank holds 64 bytes for each pair of columns.
    Raises:
        InputError: where x is no numbers or over 2,000 columns, has fewer columns than `components`, does not vary, or
            there are not two training rows.
    """
    width = flat_width(features, "pca", MOST_COLUMNS)
    if components > width:
        raise InputError(f"extract.pca.components: received {components}, allowed: up to {width} columns; lower it")
    low, high, rows = ends(features, comm)
    if rows < 2 or not (high > low).any():
        raise InputError(
            f"extract.pca: received {rows} training rows{' that are all equal' if rows > 1 else ''}, allowed: at least "
            "2 different ones; leave [extract.pca] out"
        )
    middle, half = low / 2 + high / 2, np.where(high > low, high / 2 - low / 2, 1.0)
    products, sums = np.zeros((2 * width, 2 * width), np.int64), np.zeros(width, np.int64)
    for x, _, _ in features.training():
        steps = np.rint((x.reshape(len(x), -1).astype(np.float64) / half - middle / half) * STEPS).astype(np.int64)
        parts = halves(steps)
        products += (parts.T @ parts).astype(np.int64)
        sums += steps.sum(axis=0)
    comm.Allreduce(MPI.IN_PLACE, products, op=MPI.SUM)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    mean = sums / rows
    matrix, spread = np.empty((width, width)), np.empty(width)
    with agree(comm):
        if comm.rank == 0:  # so that ranks with other processors use the same components
            covariance = joined(products.astype(np.float64)) / rows - np.outer(mean, mean)
            covariance *= np.outer(half, half) / STEPS**2 * (rows / (rows - 1))
            spread[:], matrix[:] = _decomposed(covariance)
    comm.Bcast(spread, 0)
    comm.Bcast(matrix, 0)
    shares = np.cumsum(spread) / spread.sum()
    kept = components or int(np.searchsorted(shares, variance) + 1)
    kept = min(kept, width)
    step = {
        "as": "linear",
        "mean": (mean / STEPS * half + middle).tolist(),
        "matrix": matrix[:, :kept].tolist(),
    }
    return projected(features, step, kept, variance=float(shares[kept - 1]))


def _decomposed(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return variances, falling, and components, (columns, components), the largest entry of each positive."""
    variances, vectors = np.linalg.eigh(covariance)
    variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return variances, vectors * np.where(largest < 0, -1.0, 1.0)

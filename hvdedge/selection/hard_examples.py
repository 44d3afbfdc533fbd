"""The rows that a network finds hard early in its training, without the hardest, which are often mislabelled.

    EL2N(x, y) = mean over the networks of |softmax(network(x)) - one-hot(y)|

Small networks (hvdedge/small_networks.py) learn for a few epochs from a sample of the rows and judge all. In each
class the hardest `leave_out` of the rows are left out and the next hardest kept up to its share. Scores are rounded to
2**-20; of equal ones the first row counts as harder. The same rows are kept on any number of ranks, if their hosts are
of one kind.

The rows keep the weights that they have: what is kept is hard on purpose, and no weight makes that unbiased.

Source: Paul, Ganguli and Dziugaite 2021, Deep learning on a data diet: finding important examples early in training.
"""

import numpy as np
from mpi4py import MPI

from hvdedge import small_networks
from hvdedge.options import Count, Fraction, Portion
from hvdedge.parallel import allgather_rows
from hvdedge.projections import flat_width
from hvdedge.quotas import Labelled, check_classes, kept, labelled, quotas, smallest
from hvdedge.splits import splitmix64
from hvdedge.tensors import Features

BLOCK_BYTES = 1 << 24  # of probabilities at once
SAMPLE_BYTES = 1 << 25  # of the rows that the networks learn from, float32
MOST_SAMPLED = 20_000
SCORE_STEPS, HARDEST = 2**20, 2**21  # no score is above the square root of 2
NUMBER_BITS = 40


def select(
    features: Features,
    comm: MPI.Intracomm,
    *,
    share: Portion = 0.3,
    leave_out: Fraction = 0.02,
    models: Count = 4,
    epochs: Count = 4,
    seed: int = 0,
) -> Features:
    """Collective. Keep the rows of each class that small networks find hard.

    Args:
        share: of the rows of each class, largest remainder, but one of each at least.
        leave_out: the share of each class's rows, the hardest, that counts as mislabelled, as far as enough are left.
        models: how many networks judge.
        epochs: how long they learn. A rank holds up to 32 MB of rows for them.
        seed: of the networks; that of the pipeline by default.
    Raises:
        InputError: where x is no numbers, or there are not two classes.
    """
    width = flat_width(features, "hard_examples")
    rows = labelled(features, comm)
    check_classes(features, rows, "hard_examples")
    wanted, told = quotas(rows, share)
    x, y = _sample(features, rows, width, seed, comm)
    mean, deviation = small_networks.standardise(x)
    networks = small_networks.train_all(x, y, len(rows.names), models=models, epochs=epochs, seed=seed, comm=comm)
    scores = [np.empty(0)]
    rows_at_once = max(BLOCK_BYTES // (8 * len(rows.names)), 1)
    for x_part, y_part, _ in features.training():
        for start in range(0, len(y_part), rows_at_once):
            flat, its = x_part[start : start + rows_at_once], y_part[start : start + rows_at_once]
            flat = flat.reshape(len(flat), -1)
            scores.append(np.sum([_errors(flat, its, mean, deviation, one) for one in networks], axis=0))
    steps = np.rint(np.concatenate(scores) / models * SCORE_STEPS).astype(np.uint64)
    keys = (np.uint64(HARDEST) - steps) << np.uint64(NUMBER_BITS) | rows.numbers.astype(np.uint64)
    asked = np.floor(rows.sizes * leave_out + 1e-9).astype(np.int64)
    doubtful = np.minimum(asked, rows.sizes - wanted)
    if (doubtful < asked).any():
        few = f"{doubtful.sum()} of {asked.sum()} rows are left out as doubtful, as a share of {share:g} is to be kept"
        told["adapted"] = "; ".join([*filter(None, [told.get("adapted")]), few])
    chosen = smallest(keys, rows.classes, doubtful + wanted, comm) & ~smallest(keys, rows.classes, doubtful, comm)
    return kept(features, rows, rows.weights * chosen, comm, doubtful=int(doubtful.sum()), learnt_from=len(y), **told)


def _errors(
    x: np.ndarray, y: np.ndarray, mean: np.ndarray, deviation: np.ndarray, network: small_networks.Weights
) -> np.ndarray:
    """Return how far a network's probabilities of each row are from its class, float64 (rows,)."""
    found = small_networks.probabilities(x, mean, deviation, network).astype(np.float64)  # (rows, classes)
    found[np.arange(len(y)), y] -= 1
    return np.sqrt((found * found).sum(axis=1))


def _sample(
    features: Features, rows: Labelled, width: int, seed: int, comm: MPI.Intracomm
) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Return x, float32 (rows, columns), and the classes of a random sample of all rows, on every rank."""
    many = min(MOST_SAMPLED, max(SAMPLE_BYTES // (4 * width), 1), int(rows.sizes.sum()))
    drawn = smallest(splitmix64(rows.numbers, seed), np.zeros_like(rows.classes), np.array([many]), comm)
    parts, start = [np.empty((0, width), np.float32)], 0
    for x, _, _ in features.training():
        parts.append(x.reshape(len(x), -1)[drawn[start : start + len(x)]])
        start += len(x)
    return allgather_rows(np.concatenate(parts), comm), allgather_rows(rows.classes[drawn], comm)

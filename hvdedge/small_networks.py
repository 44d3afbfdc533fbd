"""Small networks trained for a short time with numpy alone, for stages that must not wait for TensorFlow.

    x -> (x - mean) / deviation -> dense 64 -> relu -> dense classes

They learn from a sample of the rows that every rank holds. Each is trained by one rank and sent to the others.

Source: Kingma and Ba 2015, Adam, a method for stochastic optimization; He et al. 2015, Delving deep into rectifiers.
"""

import numpy as np
from mpi4py import MPI

from hvdedge.parallel import agree
from hvdedge.projections import multiply

HIDDEN = 64
BATCH_SIZE = 64
RATE, DECAYS, TINY = 0.003, (0.9, 0.999), 1e-8

Weights = list[np.ndarray]
"""(columns, hidden), (hidden,), (hidden, classes), (classes,)."""


def train_all(
    x: np.ndarray, y: np.ndarray, classes: int, *, models: int, epochs: int, seed: int, comm: MPI.Intracomm
) -> list[Weights]:
    """Collective. Return networks for standardised x that begin and shuffle differently, the same on every rank.

    Args:
        x, y: float32 (rows, columns) and int64 (rows,), the same on every rank.
    """
    shapes = [(x.shape[1], HIDDEN), (HIDDEN,), (HIDDEN, classes), (classes,)]
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    found = np.zeros((models, int(ends[-1])))
    with agree(comm):
        for model in range(comm.rank, models, comm.size):
            found[model] = np.concatenate(
                [part.ravel() for part in _train(x, y, shapes, epochs, np.random.default_rng([seed, model]))]
            )
    comm.Allreduce(MPI.IN_PLACE, found, op=MPI.SUM)
    return [
        [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)] for flat in found
    ]


def standardise(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Change x, float32 (rows, columns), to mean 0 and deviation 1; return what they were, float64 (columns,)."""
    mean = x.mean(axis=0, dtype=np.float64)
    x -= mean.astype(np.float32)
    deviation = np.sqrt(np.einsum("ij,ij->j", x, x, dtype=np.float64) / len(x))
    deviation[deviation == 0] = 1
    x /= deviation.astype(np.float32)
    return mean, deviation


def probabilities(x: np.ndarray, mean: np.ndarray, deviation: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the probability of each class, float64 (rows, classes); for each row by itself, bit for bit.

    Args:
        x: as the features have it, laid flat.
    """
    first, first_bias, last, last_bias = weights
    hidden = np.maximum(multiply(x, mean, first / deviation[:, None]) + first_bias, 0)
    return _softmax(multiply(hidden, np.zeros(HIDDEN), last) + last_bias)


def _train(x: np.ndarray, y: np.ndarray, shapes: list, epochs: int, draw: np.random.Generator) -> Weights:
    scales = [np.sqrt(2 / shape[0]) if len(shape) > 1 else 0.0 for shape in shapes]
    weights = [
        (draw.normal(size=shape) * scale).astype(np.float32) for shape, scale in zip(shapes, scales, strict=True)
    ]
    means, squares = ([np.zeros_like(weight) for weight in weights] for _ in range(2))
    step = 0
    for _ in range(epochs):
        order = draw.permutation(len(x))
        for start in range(0, len(x), BATCH_SIZE):
            rows, step = order[start : start + BATCH_SIZE], step + 1
            grads = _gradient(x[rows], y[rows], weights)
            for weight, mean, square, grad in zip(weights, means, squares, grads, strict=True):
                mean += (1 - DECAYS[0]) * (grad - mean)
                square += (1 - DECAYS[1]) * (grad * grad - square)
                ahead, size = mean / (1 - DECAYS[0] ** step), np.sqrt(square / (1 - DECAYS[1] ** step))
                weight -= RATE * ahead / (size + TINY)
    return weights


def _gradient(x: np.ndarray, y: np.ndarray, weights: Weights) -> Weights:
    """Return the gradient of the mean cross-entropy of some rows."""
    first, first_bias, last, last_bias = weights
    hidden = np.maximum(x @ first + first_bias, 0)
    error = _softmax(hidden @ last + last_bias)
    error[np.arange(len(y)), y] -= 1
    error /= len(y)
    back = (error @ last.T) * (hidden > 0)
    return [x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)

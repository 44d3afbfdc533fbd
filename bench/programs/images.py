"""The images that all contestants train on: noise of MNIST's shape, as speed does not depend on what they show."""

import numpy as np

SHAPE, CLASSES = (28, 28, 1), 10
BATCH_SIZE, STEPS, EPOCHS = 128, 20, 4  # a worker's batch and steps an epoch; the first epoch warms up


def images(workers: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return x, float32 (rows, 28, 28, 1), and y, int64 (rows,), for `workers` workers together."""
    rng = np.random.default_rng(7)
    rows = workers * BATCH_SIZE * STEPS
    return rng.random((rows, *SHAPE), np.float32), rng.integers(0, CLASSES, rows)

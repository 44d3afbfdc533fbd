"""The learning rate of several ranks: that of one, grown with the global batch, step by step through the first epochs.

    rate(step) = base * (1 + (scale - 1) * min(1, step / warm-up steps)),   scale = n, sqrt(n) or 1

Source: Goyal et al. 2017, Accurate, large minibatch SGD (linear scaling, gradual warm-up); Krizhevsky 2014, One weird
trick for parallelizing convolutional neural networks (square root).
"""

import math

from hvdedge.options import Scaling
from hvdedge.training import TrainingTask


def grow(task: TrainingTask, ranks: int, scaling: Scaling, warmup_epochs: float, times: float = 1.0) -> None:
    """Set the rate of the step that comes next, so many `times`; `warmup_epochs` 0 begins with the full rate."""
    scale = {"linear": ranks, "sqrt": math.sqrt(ranks), "none": 1.0}[scaling]
    done = min(1.0, task.epochs_done / warmup_epochs) if warmup_epochs else 1.0
    task.optimizer.learning_rate.assign(task.learning_rate * (1 + (scale - 1) * done) * times)

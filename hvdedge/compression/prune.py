"""Magnitude pruning: the smallest weights become zero, more and more of them while the others are trained on.

    share of zeros after step t of T    s_t = s (1 - (1 - t / T)**3)
    share left in a layer               e (a + b + ...) / (a b ...), of a kernel of a x b x ..., at most 1, so that
                                        1 - s is left of all
    units left out in training          their share times the root of 1 - s, as what is left learns with fewer weights

Source: Han et al. 2015, Learning both weights and connections for efficient neural networks; Zhu and Gupta 2017, To
prune, or not to prune (the schedule); Evci et al. 2020, Rigging the lottery (shares by layer, the Erdos-Renyi kernel).
"""

import math
from typing import Literal

import numpy as np
import tensorflow as tf

from hvdedge.compressed import CompressedModel
from hvdedge.options import Fraction, Natural, Positive
from hvdedge.retraining import Retraining

ORDER = 3  # before what changes how weights are told
SETTLED = 0.6  # of the steps, after which no more weights go
TURNS = 50  # times at most that weights are chosen


def compress(
    model: CompressedModel,
    data: Retraining,
    *,
    sparsity: Fraction = 0.9,
    epochs: Natural = 3,
    rate: Positive = 0.5,
    shares: Literal["by_size", "alike"] = "by_size",
) -> CompressedModel:
    """Collective. Set the share `sparsity` of all kernels' weights to zero, the smallest of each; biases stay.

    Args:
        model: changed in place.
        epochs: that the weights which are left are trained on, while others go in the first 60 % of the steps; 0: all
            go at once, and nothing is trained.
        rate: the learning rate, as a share of that of training.
        shares: whether small kernels keep a larger share of their weights, or all the same.
    """
    weights = model.model.trainable_weights
    kernels = {place: weight for place, weight in enumerate(weights) if len(weight.shape) > 1}
    left = _left({place: weight.shape for place, weight in kernels.items()}, 1 - sparsity, shares == "by_size")
    steps = max(int(SETTLED * epochs * data.steps_per_epoch), 1)
    turn = max(steps // TURNS, 1)
    masks = {place: tf.Variable(tf.ones(weight.shape)) for place, weight in kernels.items()}

    def settle() -> None:
        for place, mask in masks.items():
            kernels[place].assign(kernels[place] * mask)

    def after(step: int) -> None:
        if step <= steps and (step % turn == 0 or step in (1, steps)):
            done = 1 - (1 - step / steps) ** 3
            masks_now = data.chosen(
                lambda: [
                    _largest(np.asarray(weight), (1 - left[place]) * done, model.kept.get(place))
                    for place, weight in kernels.items()
                ]
            )
            for place, kept in zip(kernels, masks_now, strict=True):
                model.kept[place] = kept
                masks[place].assign(kept.astype(np.float32))
            settle()

    data.train(model.model, epochs, rate=rate, dropout=math.sqrt(1 - sparsity), settle=settle, after=after)
    if not epochs:
        after(steps)
    return model


def _left(shapes: dict[int, tuple[int, ...]], share: float, by_size: bool) -> dict[int, float]:
    """Return which share of each kernel's weights is left, so that `share` is left of all."""
    sizes = {place: int(np.prod(shape)) for place, shape in shapes.items()}
    if not by_size:
        return dict.fromkeys(shapes, share)
    whole: set[int] = set()
    while True:
        parts = {place: sum(shape) / sizes[place] for place, shape in shapes.items() if place not in whole}
        if not parts:  # all is to be left
            return dict.fromkeys(shapes, 1.0)
        wanted = share * sum(sizes.values()) - sum(sizes[place] for place in whole)
        scale = wanted / sum(part * sizes[place] for place, part in parts.items())
        full = {place for place, part in parts.items() if scale * part >= 1}
        if not full:
            return dict.fromkeys(whole, 1.0) | {place: scale * part for place, part in parts.items()}
        whole |= full


def _largest(values: np.ndarray, zeros: float, before: np.ndarray | None) -> np.ndarray:
    """Return where the largest numbers are, all but a share; none of those that went before."""
    size = np.abs(values) if before is None else np.where(before, np.abs(values), -1.0)
    kept = np.ones(values.size, bool)
    kept[np.argsort(size, axis=None, kind="stable")[: int(zeros * values.size)]] = False
    return kept.reshape(values.shape)

"""Distillation: a narrower model learns from what the trained one gives, not from the labels alone.

    loss = a T**2 KL(softmax(teacher / T), softmax(student / T)) + (1 - a) loss by the labels       of classes
    loss = a mean of (teacher - student)**2 + (1 - a) loss by the labels                            of numbers

Source: Hinton, Vinyals and Dean 2015, Distilling the knowledge in a neural network.
"""

from typing import Any

import tensorflow as tf

from hvdedge import tasks, transfer
from hvdedge.compressed import CompressedModel
from hvdedge.errors import InputError
from hvdedge.layer_widths import widths, with_widths
from hvdedge.options import Between, Count, Positive, Share
from hvdedge.retraining import Retraining

ORDER = 1  # a model of other layers: before all that changes weights
TASKS = ("classification", "regression")


def compress(
    model: CompressedModel,
    data: Retraining,
    *,
    width: Between = 0.5,
    epochs: Count = 10,
    rate: Positive = 1.0,
    temperature: Positive = 4.0,
    share: Share = 0.7,
) -> CompressedModel:
    """Collective. Return a model whose hidden layers are narrower, taught by the one that comes in.

    Args:
        width: of its hidden layers, as a share of those of the model.
        epochs: that it learns.
        rate: the learning rate, as a share of that of training.
        temperature: by which logits are divided, so that it shows how alike the classes are.
        share: of the loss that comes from the teacher, `a` above.
    Raises:
        InputError: where the task has no outputs to learn from, or the model cannot be made narrower.
    """
    task = data.spec["task"]
    if task not in TASKS:
        raise InputError(f"compress.distill: received the task {task!r}, allowed: {', '.join(TASKS)}; leave it out")
    teacher = model.model
    narrow = {name: max(round(width * units), 1) for name, units in widths(teacher).items()}
    if not narrow:
        raise InputError(
            "compress.distill: received a model without hidden layers whose width is known, allowed: with dense, "
            "convolutional, GRU or LSTM layers; leave it out"
        )
    student = with_widths(teacher, narrow, "compress.distill.width")
    transfer.thaw(student)  # also what was frozen in the teacher, of which it has no weights
    by_labels = tasks.find(data.spec).losses

    def losses(x: Any, y: Any, outputs: Any) -> Any:
        told = tf.cast(teacher(x, training=False), tf.float32)
        if task == "classification":
            wanted = tf.nn.softmax(told / temperature)
            apart = tf.nn.softmax_cross_entropy_with_logits(wanted, outputs / temperature) * temperature**2
        else:
            rows = tf.shape(outputs)[0]
            apart = tf.reduce_mean(tf.reshape(told - outputs, [rows, -1]) ** 2, axis=1)
        return share * apart + (1 - share) * by_labels(y, outputs)[0]

    data.train(student, epochs, rate=rate, losses=losses)
    return CompressedModel(student, model.bits, coding=model.coding)

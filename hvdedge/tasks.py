"""What a task asks of a model and its training: the outputs, the loss, the scores, and how they are judged.

    task              outputs of a row      loss                         score
    classification    a logit a class       cross-entropy                accuracy
    regression        y, standardised       mean of (output - y)**2      mae, mean of |output - y|
    anomalies         an error, and a code  the error                    rmse, its root
    clusters          an error, and a code  the error                    rmse, its root

`find` gives the one that `features.json` names. TensorFlow is loaded by the loss alone.
"""

import math
from typing import Any, Protocol

import numpy as np
from mpi4py import MPI

from hvdedge import scores
from hvdedge.errors import InputError
from hvdedge.k_means import k_means


class Task(Protocol):
    """What each task below has.

    Attributes:
        score: the name of what training tells beside the loss.
        chance: the loss of telling the same of each row.
        judged: the measures of all rows that `judge` tells.
    """

    score: str
    chance: float
    judged: tuple[str, ...]

    def __init__(self, spec: dict[str, Any]): ...

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of what a model gives for a row."""

    def losses(self, y: Any, outputs: Any) -> tuple[Any, Any]:
        """Return for each row, as tensors of TensorFlow, its loss and its score, float32 (rows,)."""

    def measures(self, y: np.ndarray, outputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return measure -> for each row a number, whose mean over rows is the measure."""

    def judge(self, x: np.ndarray, y: np.ndarray, outputs: np.ndarray, comm: MPI.Intracomm) -> dict:
        """Collective. Return what the record of evaluate says of the test rows of all ranks."""


class Classification:
    """One of several classes; y is the number of the class."""

    score = "accuracy"

    def __init__(self, spec: dict[str, Any]):
        self._classes = spec["classes"]
        self.chance = math.log(max(len(self._classes), 2))
        ranked = ("auc", "average_precision") if len(self._classes) == 2 else ()
        self.judged = ("accuracy", "precision", "recall", "f1", *ranked)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (len(self._classes),)

    def losses(self, y: Any, outputs: Any) -> tuple[Any, Any]:
        import keras
        import tensorflow as tf

        right = tf.cast(tf.equal(tf.argmax(outputs, axis=-1, output_type=y.dtype), y), tf.float32)
        return keras.losses.sparse_categorical_crossentropy(y, outputs, from_logits=True), right

    def measures(self, y: np.ndarray, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {"accuracy": outputs.argmax(axis=1) == y}

    def judge(self, x: np.ndarray, y: np.ndarray, outputs: np.ndarray, comm: MPI.Intracomm) -> dict:
        matrix = scores.confusion(y, outputs.argmax(axis=1), len(self._classes))
        comm.Allreduce(MPI.IN_PLACE, matrix, op=MPI.SUM)
        found = scores.classification(matrix, self._classes)
        if len(self._classes) == 2:
            found |= scores.ranking(y, outputs[:, 1] - outputs[:, 0], comm)
        return found


class Regression:
    """Numbers; y and outputs are in standard deviations of the training rows, (rows,) or (rows, horizon, targets)."""

    score = "mae"
    chance = 1.0
    judged: tuple[str, ...] = ("mse", "mae", "rmse", "r2")

    def __init__(self, spec: dict[str, Any]):
        self._spec = spec

    @property
    def output_shape(self) -> tuple[int, ...]:
        return tuple(self._spec["output_shape"])

    def losses(self, y: Any, outputs: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        count = tf.shape(outputs)[0]
        away = tf.reshape(outputs, [count, -1]) - tf.reshape(y, [count, -1])
        return tf.reduce_mean(away**2, axis=1), tf.reduce_mean(tf.abs(away), axis=1)

    def measures(self, y: np.ndarray, outputs: np.ndarray) -> dict[str, np.ndarray]:
        shape = len(y), math.prod(self.output_shape)
        away = outputs.reshape(shape).astype(np.float64) - y.reshape(shape)
        return {"mse": (away**2).mean(axis=1), "mae": np.abs(away).mean(axis=1)}

    def judge(self, x: np.ndarray, y: np.ndarray, outputs: np.ndarray, comm: MPI.Intracomm) -> dict:
        targets = len(self._spec["targets"])
        shape = len(y), math.prod(self.output_shape) // targets, targets  # (rows, steps ahead, targets)
        y = y.reshape(shape)
        deviations = [target["deviation"] for target in self._spec["targets"]]
        names = [target["column"] for target in self._spec["targets"]]
        told = scores.regression(y, outputs.reshape(shape), names, deviations, comm)
        baselines = {name: scores.errors(y, guess, comm) for name, guess in self._naive(x, y.shape[1]).items()}
        return told | ({"baselines": baselines} if baselines else {})

    def _naive(self, x: np.ndarray, horizon: int) -> dict[str, np.ndarray]:
        """Return what one would forecast without a model, where x still holds the rows of all targets as they are."""
        channels = [channel["column"] for channel in self._spec.get("channels", ())]
        targets = [target["column"] for target in self._spec["targets"]]
        if not {*targets} <= {*channels} or x.shape[1:] != (self._spec["window"], len(channels)):
            return {}
        past = x[:, :, [channels.index(name) for name in targets]]
        found = {"repeat_last": np.repeat(past[:, -1:], horizon, axis=1)}
        season = self._spec["season"]
        if season:
            found["repeat_season"] = np.take(past[:, -season:], np.arange(horizon) % season, axis=1)
        return found


class Unlabelled:
    """What is learnt without y: an output is how far an example is from what was made of its code, then the code."""

    score = "rmse"
    chance = 1.0
    judged: tuple[str, ...] = ()

    def __init__(self, spec: dict[str, Any]):
        self._spec = spec

    @property
    def output_shape(self) -> tuple[int, ...]:
        raise InputError(
            f"train.model: received a model that learns labels for {self._spec['task']}, allowed: autoencoder, which "
            "sees none; change it, or the options of extract"
        )

    def losses(self, y: Any, outputs: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        return outputs[:, 0], tf.sqrt(outputs[:, 0])

    def measures(self, y: np.ndarray, outputs: np.ndarray) -> dict[str, np.ndarray]:
        return {"rmse": np.sqrt(outputs[:, 0])}


class Anomalies(Unlabelled):
    """What is unlike the rest; y, 1 for what is one, is looked at when it is judged."""

    judged: tuple[str, ...] = ("auc", "average_precision")

    def judge(self, x: np.ndarray, y: np.ndarray, outputs: np.ndarray, comm: MPI.Intracomm) -> dict:
        far = np.abs(x.reshape(len(x), -1)).max(axis=1, initial=0)  # x is in standard deviations
        share = scores.means(y[:, None], comm)[0]
        found = scores.ranking(y, outputs[:, 0], comm)
        return found | {"anomalies": share, "baselines": {"z_score": scores.ranking(y, far, comm)}}


class Clusters(Unlabelled):
    """Groups of examples that are alike; y, the classes, is looked at when they are judged."""

    judged: tuple[str, ...] = ("nmi", "ari")

    def judge(self, x: np.ndarray, y: np.ndarray, outputs: np.ndarray, comm: MPI.Intracomm) -> dict:
        count = len(self._spec["classes"])
        codes = outputs[:, 1:]
        directions = codes / np.maximum(np.linalg.norm(codes, axis=1, keepdims=True), 1e-9)  # of dark and light alike
        found = k_means(directions, count, comm)
        plain = k_means(x.reshape(len(x), -1), count, comm)
        judged = scores.clustering(y, found, count, comm)
        return judged | {"baselines": {"k_means": scores.clustering(y, plain, count, comm)}}


TASKS: dict[str, type[Task]] = {
    "classification": Classification,
    "regression": Regression,
    "anomalies": Anomalies,
    "clusters": Clusters,
}


def find(spec: dict[str, Any]) -> Task:
    """Return the task of features.

    Raises:
        InputError: where it is none that can be trained.
    """
    task = spec.get("task")
    if task not in TASKS:
        raise InputError(
            f"features.json: received the task {task!r}, allowed: {', '.join(TASKS)}; run again with --from extract"
        )
    return TASKS[task](spec)

"""What a model gives for rows, as the columns of a table to read: classes, numbers in their unit, errors.

task              columns
classification    prediction, and p_<class>, the probability of each, softmax of the logits
regression        <target>, or <target>_1, <target>_2, ... for each row ahead
anomalies         error: how far a row is from what the model makes of it
"""

import math
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from hvdedge.columns import plain, to_floats, to_text
from hvdedge.errors import InputError


class Answers(Protocol):
    """What each task has: the names of the columns, and their cells as text."""

    names: list[str]

    def __init__(self, spec: dict[str, Any]): ...

    def cells(self, outputs: np.ndarray) -> list[list[str]]:
        """Return a list a column, of what a model gives for rows."""

    def judge(self, outputs: np.ndarray, label: pa.Array) -> None:
        """Count how good that is, where the label is known."""

    def score(self) -> str:
        """Return how good it was, for the user; "" where no label was there."""


class Classes:
    """One of several classes."""

    def __init__(self, spec: dict[str, Any]):
        self._classes = spec["classes"]
        self._texts = np.array(to_text(pa.array(self._classes)).to_pylist(), object)
        self.names = ["prediction", *(f"p_{text}" for text in self._texts)]
        self._right = self._rows = 0

    def cells(self, outputs: np.ndarray) -> list[list[str]]:
        logits = outputs.astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        shares = powers / powers.sum(axis=1, keepdims=True)
        return [self._texts[outputs.argmax(axis=1)].tolist(), *(_written(column) for column in shares.T)]

    def judge(self, outputs: np.ndarray, label: pa.Array) -> None:
        texts = np.array(to_text(plain(label)).to_pylist(), object)
        known = np.isin(texts.astype(str), self._texts.astype(str)) & np.asarray(label.is_valid())
        self._right += int((self._texts[outputs.argmax(axis=1)] == texts)[known].sum())
        self._rows += int(known.sum())

    def score(self) -> str:
        if not self._rows:
            return ""
        return f"accuracy {self._right / self._rows:.4f} over {_rows(self._rows)}"


class Numbers:
    """Numbers, in the unit of the column that they tell."""

    def __init__(self, spec: dict[str, Any]):
        self._targets = spec["targets"]
        steps = math.prod(spec["output_shape"]) // len(self._targets)
        names = [target["column"] for target in self._targets]
        self.names = names if steps == 1 else [f"{name}_{step + 1}" for name in names for step in range(steps)]
        self._is_of_row = steps == len(names) == 1 and "window" not in spec
        self._off, self._rows = 0.0, 0

    def cells(self, outputs: np.ndarray) -> list[list[str]]:
        return [_written(column) for target in self._values(outputs) for column in target.T]

    def judge(self, outputs: np.ndarray, label: pa.Array) -> None:
        if self._is_of_row:
            off = np.abs(self._values(outputs)[0][:, 0] - to_floats(label))
            self._off += float(np.nansum(off))
            self._rows += int((~np.isnan(off)).sum())

    def score(self) -> str:
        if not self._rows:
            return ""
        return f"mean absolute error {self._off / self._rows:.6g} over {_rows(self._rows)}"

    def _values(self, outputs: np.ndarray) -> list[np.ndarray]:
        """Return for each target float64 (rows, steps)."""
        shaped = outputs.astype(np.float64).reshape(len(outputs), -1, len(self._targets))
        return [shaped[:, :, n] * one["deviation"] + one["mean"] for n, one in enumerate(self._targets)]


class Errors:
    """How far each row is from what the model makes of it."""

    names = ["error"]

    def __init__(self, spec: dict[str, Any]):
        pass

    def cells(self, outputs: np.ndarray) -> list[list[str]]:
        return [_written(outputs[:, 0])]

    def judge(self, outputs: np.ndarray, label: pa.Array) -> None:
        pass

    def score(self) -> str:
        return ""


ANSWERS: dict[str, type[Answers]] = {"classification": Classes, "regression": Numbers, "anomalies": Errors}


def find(spec: dict[str, Any]) -> Answers:
    """Return the answers of the task that features are for.

    Raises:
        InputError: where a row by itself has none.
    """
    task = spec["task"]
    if task not in ANSWERS:
        raise InputError(
            f"RUN: received a run for {task}, which are found among all rows together and not kept, allowed: "
            f"{', '.join(ANSWERS)}; run the pipeline on the new rows instead"
        )
    return ANSWERS[task](spec)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)} with a label"


def _written(values: np.ndarray) -> list[str]:
    return [f"{value:.6g}" for value in values.tolist()]

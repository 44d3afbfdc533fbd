"""A label column as y: the number of a class, or a number in standard deviations of the training rows.

a label of                                          task
text, categories, booleans                          classification
numbers with fractions, or over `MOST` values       regression
other numbers                                       classification
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.class_labels import find_classes, split_codes
from hvdedge.columns import NUMBERS, kind, plain, shown, to_floats, value_counts
from hvdedge.errors import InputError
from hvdedge.exact_sums import ends, moments
from hvdedge.tables import SPLIT, Table

MOST = 100  # values of whole numbers that are taken for classes


@dataclass(frozen=True)
class Label:
    """What a label is.

    Attributes:
        facts: what the spec says of it: task; classes, or targets (column, mean, deviation) and output_shape.
        y_type: numpy's name of the type of y.
        encode: a column of labels -> y, (rows,); -1 or NaN for a missing one.
        decisions: the label -> why it is taken for a number, where it is.
    """

    facts: dict[str, Any]
    y_type: str
    encode: Callable[[pa.Array], np.ndarray]
    decisions: dict[str, str] = field(default_factory=dict)


def find_task(table: Table, label: str, wanted: str, comm: MPI.Intracomm) -> tuple[str, str]:
    """Collective. Return classification or regression, whichever is `wanted` or a label asks for (auto), and why.

    Raises:
        InputError: where regression is wanted of a label that is no number.
    """
    holds = kind(table.schema.field(label).type) if label in table.schema.names else "nothing"
    if wanted == "regression" and holds not in NUMBERS:
        able = [name for name in table.columns if kind(table.schema.field(name).type) in NUMBERS and name != SPLIT]
        raise InputError(
            f"extract.task: received 'regression' of {label!r}, {holds}, allowed of numbers: {shown(able)}; "
            "name one of these as extract.label or change the task"
        )
    if wanted != "auto":
        return wanted, f"task = {wanted!r}"
    if holds not in NUMBERS:
        return "classification", f"it holds {holds}"
    has_fractions = np.array(False)
    for batch in table.select([label]).batches():
        values = to_floats(batch.column(0))
        has_fractions |= (values % 1 > 0).any()
    comm.Allreduce(MPI.IN_PLACE, has_fractions, op=MPI.LOR)
    if has_fractions:
        return "regression", "it holds numbers with fractions"
    if value_counts(table, [label], MOST, comm)[label] is None:
        return "regression", f"it holds over {MOST} different numbers"
    return "classification", f"it holds up to {MOST} different whole numbers"


def fit(table: Table, label: str, wanted: str, comm: MPI.Intracomm) -> Label:
    """Collective. Return how a label becomes y; mean and deviation are those of the training rows alone.

    Raises:
        InputError: where the table is not split, the label is no column of classes or numbers, or no training row has
            one.
    """
    task, why = find_task(table, label, wanted, comm)
    if task == "classification":
        classes = find_classes(table, label, comm)

        def number(column: pa.Array) -> np.ndarray:
            return np.asarray(pc.index_in(plain(column), value_set=classes).fill_null(-1), np.int64)

        return Label({"task": task, "classes": classes.to_pylist()}, "int64", number)
    codes = [split_codes(batch, label)[0] for batch in table.select([SPLIT, label]).batches()]
    train = table.select([label]).filter(np.concatenate([np.empty(0, np.uint8), *codes]) == 0)
    low, high = ends(train, comm)
    mean, deviation = (float(found[0]) for found in moments(train, [label], low, high, comm))
    if not low[0] <= high[0]:
        raise InputError(
            f"extract.label: received {label!r}, of which no training row has a number, allowed: one that is known; "
            "name another column"
        )
    deviation = deviation or 1.0

    def standardised(column: pa.Array) -> np.ndarray:
        return ((to_floats(column) - mean) / deviation).astype(np.float32)

    target = {"column": label, "mean": mean, "deviation": deviation}
    facts = {"task": task, "targets": [target], "output_shape": [1]}
    return Label(facts, "float32", standardised, {label: f"{task}: {why}; standardised"})

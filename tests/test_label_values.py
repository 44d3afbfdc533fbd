"""Labels: which are classes and which are numbers, and y of both."""

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from small_tables import table_of

from hvdedge.errors import InputError
from hvdedge.features.table import extract
from hvdedge.label_values import find_task, fit

SPLIT = {"_split": pa.array([0, 0, 0, 1, 2], pa.uint8())}


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([*range(101)], "regression"),
        ([*range(100)] * 2, "classification"),
        ([float(n) for n in range(3)], "classification"),
        ([1.0, None, 2.5], "regression"),
        ([float("nan"), 1.0, 0.0], "classification"),
        ([Decimal("1.25"), Decimal("2.00")], "regression"),
        ([*"abc"], "classification"),
        ([True, False], "classification"),
    ],
)
def test_a_label_of_fractions_or_many_numbers_is_a_number(comm, workspace, values, task):
    assert find_task(table_of(workspace, label=values), "label", "auto", comm)[0] == task
    assert find_task(table_of(workspace, label=values), "label", "classification", comm)[0] == "classification"


def test_numbers_are_scaled_by_the_training_rows(comm, workspace):
    table = table_of(workspace, label=[1.5, None, 3.5, 100.0, 2.5], **SPLIT)
    label = fit(table, "label", "auto", comm)
    assert label.facts == {
        **{"task": "regression", "output_shape": [1]},
        "targets": [{"column": "label", "mean": 2.5, "deviation": 1.0}],
    }
    y = label.encode(pa.array([2.5, 4.0, None]))
    assert y.dtype == np.float32
    assert y[:2].tolist() == [0, 1.5]
    assert np.isnan(y[2])
    assert label.decisions == {"label": "regression: it holds numbers with fractions; standardised"}
    alike = fit(table_of(workspace, label=[2, 2, 2, 2, 2], **SPLIT), "label", "regression", comm)
    assert alike.encode(pa.array([2, 5])).tolist() == [0, 3]


def test_classes_are_numbered_in_their_order(comm, workspace):
    label = fit(table_of(workspace, label=[*"cabca"], **SPLIT), "label", "auto", comm)
    assert label.facts == {"task": "classification", "classes": ["a", "b", "c"]}
    assert label.encode(pa.array(["c", None, "a"])).tolist() == [2, -1, 0]


def test_a_table_with_a_number_to_tell_has_y_in_deviations(comm, workspace):
    columns = {"n": [3, 1, 2, 5, 9], "label": [1.5, float("inf"), 3.5, 100.0, 2.5], **SPLIT}
    features = extract(table_of(workspace, **columns), comm)
    ((codes, x, y),) = [tuple(map(np.concatenate, zip(*features.batches(), strict=True)))]
    assert (features.spec["task"], features.y_type, y.dtype) == ("regression", "float32", np.float32)
    assert (codes.tolist(), y.tolist(), len(x)) == ([0, 0, 1, 2], [-1, 1, 97.5, 0], 4)
    assert features.rows_left_out == {"no label": 1}  # an infinite one is none
    assert features.decisions["label"].startswith("regression: ")
    as_class = extract(table_of(workspace, **columns), comm, task="classification")
    assert as_class.spec["classes"] == [1.5, 2.5, 3.5, 100.0]


@pytest.mark.parametrize("values", [[*"abcde"], [datetime.date(2024, 1, 1)] * 5])
def test_what_is_no_number_cannot_be_one(comm, workspace, values):
    with pytest.raises(InputError, match="extract.task: received 'regression' of 'label', .*, allowed of numbers: n;"):
        extract(table_of(workspace, n=[1, 2, 3, 4, 5], label=values, **SPLIT), comm, task="regression")


def test_a_label_that_is_another_in_most_rows_is_no_class(comm, workspace):
    rows = {"n": [*range(60)], "_split": pa.array([0] * 60, pa.uint8())}
    few = table_of(workspace, label=[f"order {n // 2}" for n in range(60)], **rows)
    assert len(fit(few, "label", "auto", comm).facts["classes"]) == 30
    odd = table_of(
        workspace, label=[f"order {(n + 1) // 2}" for n in range(59)], **{k: v[:59] for k, v in rows.items()}
    )
    assert len(fit(odd, "label", "auto", comm).facts["classes"]) == 30  # more than half as many as there are rows
    each = table_of(workspace, label=[f"order {n}" for n in range(60)], **rows)
    with pytest.raises(
        InputError, match="received 'label' with 60 different labels in 60 rows, 60 of them once, allowed: a"
    ):
        fit(each, "label", "auto", comm)


def test_a_label_that_no_training_row_has_is_told(comm, workspace):
    table = table_of(workspace, n=[1, 2, 3, 4, 5], label=[None, None, None, 1.5, 2.5], **SPLIT)
    with pytest.raises(InputError, match="extract.label: received 'label', of which no training row has a number"):
        extract(table, comm)
    with pytest.raises(InputError, match="extract.label: received 'nothing', which is no column"):
        extract(table, comm, label="nothing")

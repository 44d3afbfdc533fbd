"""What clean.missing learnt to fill empty cells by, as JSON, and new rows filled by it, each by itself.

    usual         column -> the mean, median or mode that stands for a cell of which nothing is known
    models        regressions of columns on all others: mean and covariance of a normal distribution (`gaussian`), and
                  how cells become its coordinates (`coordinates`)
    methods       column -> by what clean filled it

What needs the rows themselves is not kept: in place of the nearest rows (knn, blend) stands the regression on which
they are sought, in place of the rows around (linear) the usual value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdedge.columns import plain, to_text
from hvdedge.coordinates import Category, Column, Coordinates, Number
from hvdedge.gaussian import Gaussian
from hvdedge.imputation import BLEND, KNN, LINE, REGRESSION, Model

FILE = "fillings.json"
BY_REGRESSION = (REGRESSION, KNN, BLEND)
NUMBERS = ("mean", "std", "low", "high", "median", "spread", "decimals")


@dataclass
class Filled:
    """How many cells of a column were filled, by what, and what clean did there where that is another method."""

    cells: int
    method: str
    instead_of: str = ""


class Fillings:
    """Fills the empty cells of new rows, of those columns of `names` that clean filled."""

    def __init__(self, value: Mapping[str, Any], names: Sequence[str]):
        self.usual: dict[str, pa.Array] = {
            name: pa.array([one["value"]], pa.string()).cast(pa.type_for_alias(one["type"]))
            for name, one in value["usual"].items()
            if name in names
        }
        self.methods: dict[str, str] = value["methods"]
        self.models = [_model(one) for one in value["models"]]
        self.filled: dict[str, Filled] = {}

    def fill(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows with fewer empty cells; a column that is not there is not filled, and is empty for others."""
        empty = {name: is_empty(batch.column(name)) for name in self.usual if name in batch.schema.names}
        rows = np.flatnonzero(np.any([*empty.values()], axis=0)) if empty else np.empty(0, np.int64)
        if not len(rows):
            return batch
        chosen = batch.take(pa.array(rows))
        found = {name: value.take(pa.array(np.zeros(len(rows), np.int64))) for name, value in self.usual.items()}
        for model in self.models:
            absent = [name for name in model.coordinates.columns if name not in chosen.schema.names]
            whole = chosen
            for name in absent:
                whole = whole.append_column(name, pa.nulls(len(rows), model.coordinates.columns[name].type))
            found |= model.fill(whole)
        for name, its in empty.items():
            if its.any():
                batch = self._put(batch, name, its, plain(found[name]).filter(pa.array(its[rows])))
        return batch

    def told(self) -> list[str]:
        """Return for each column that was filled how many cells were, and by what."""
        return [
            f"{name} ({its.cells} by {its.method}{f' in place of {its.instead_of}' if its.instead_of else ''})"
            for name, its in self.filled.items()
        ]

    def _put(self, batch: pa.RecordBatch, name: str, empty: np.ndarray, values: pa.Array) -> pa.RecordBatch:
        column = plain(batch.column(name))
        values = values.cast(column.type)
        rows = np.flatnonzero(empty)[np.asarray(values.is_valid())]
        mask = np.zeros(len(column), bool)
        mask[rows] = True
        whole = pc.replace_with_mask(column, pa.array(mask), values.drop_null())
        by = self.methods[name]
        of_rows = by in (*BY_REGRESSION, LINE)
        method = REGRESSION if by in BY_REGRESSION else "its usual value" if of_rows else by
        told = self.filled.setdefault(name, Filled(0, method, by if of_rows and by != method else ""))
        told.cells += len(rows)
        return batch.set_column(batch.schema.get_field_index(name), name, whole)


def is_empty(column: pa.Array) -> np.ndarray:
    """Return which cells hold nothing, or NaN: bool (rows,)."""
    return np.asarray(column.is_null(nan_is_null=pa.types.is_floating(column.type)))


def to_json(usual: Mapping[str, pa.Scalar], models: Sequence[Model], methods: Mapping[str, str]) -> dict[str, Any]:
    """Return what `Fillings` takes.

    Args:
        usual: column -> what usually stands in it.
        methods: column -> by what it was filled.
    """
    columns = [name for name in usual if name in methods]
    values = {name: pa.array([usual[name].as_py()], usual[name].type) for name in columns}
    return {
        "methods": {name: methods[name] for name in columns},
        "usual": {
            name: {"type": _alias(plain(value).type), "value": to_text(value)[0].as_py()}
            for name, value in values.items()
        },
        "models": [_model_to_json(model) for model in models if model.regression is not None],
    }


def _model_to_json(model: Model) -> dict[str, Any]:
    assert model.regression is not None
    return {
        "columns": [_column_to_json(column) for column in model.coordinates.columns.values()],
        "methods": {name: method for name, method in model.methods.items() if method in BY_REGRESSION},
        "ridge": model.regression.ridge,
        "mean": model.regression.mean.tolist(),
        "covariance": model.regression.covariance.tolist(),
    }


def _model(value: Mapping[str, Any]) -> Model:
    coordinates = Coordinates(_column(one) for one in value["columns"])
    regression = Gaussian(np.array(value["mean"]), np.array(value["covariance"]), value["ridge"])
    return Model(coordinates, dict.fromkeys(value["methods"], REGRESSION), regression=regression)


def _column_to_json(column: Column) -> dict[str, Any]:
    if isinstance(column, Category):
        levels = {"levels": to_text(column.levels).to_pylist(), "shares": column.shares.tolist()}
        return {"name": column.name, "type": _alias(column.levels.type), **levels}
    numbers = {key: getattr(column, key) for key in NUMBERS}
    values = None if column.values is None else column.values.tolist()
    return {"name": column.name, "type": _alias(column.type), **numbers, "values": values}


def _column(value: Mapping[str, Any]) -> Column:
    type_ = pa.type_for_alias(value["type"])
    if "levels" in value:
        levels = pa.array(value["levels"], pa.string()).cast(type_)
        return Category(value["name"], type_, levels, np.array(value["shares"]))
    numbers = {key: value[key] for key in NUMBERS}
    values = None if value["values"] is None else np.array(value["values"])
    return Number(value["name"], type_, **numbers, values=values)


def _alias(type: pa.DataType) -> str:
    """Return the name by which Arrow gives a type back; that of a time zone is left out, as cells are in UTC."""
    if pa.types.is_timestamp(type):
        return f"timestamp[{type.unit}]"
    return "double" if pa.types.is_decimal(type) else str(type)

"""What a reduction of columns does to examples: the same for training rows, test rows and rows to come.

A step stands in `features.json`, in the order of its reductions; x is laid flat first, (rows, columns).

    columns             x[:, places]
    linear              (x - mean) matrix
    sparse_random       x R / sqrt(components / 3), R of -1, 0 and 1 with the chances 1/6, 2/3 and 1/6, from the seed

Source: Achlioptas 2003, Database-friendly random projections.
"""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

from hvdedge.errors import InputError
from hvdedge.sampling import uniform

if TYPE_CHECKING:  # it loads h5py, which new rows do not need
    from hvdedge.tensors import Features

Step = dict[str, Any]
ROWS = 256  # at a time, so that their sums stay in the cache


def project(x: np.ndarray, step: Step) -> np.ndarray:
    """Return float32 (rows, fewer columns) of x, (rows, ...); each row by itself, bit for bit."""
    flat = np.ascontiguousarray(x.reshape(len(x), math.prod(x.shape[1:])), np.float32)
    if step["as"] == "columns":
        return flat[:, step["places"]]
    if step["as"] == "linear":
        return multiply(flat, np.array(step["mean"], np.float64), np.array(step["matrix"], np.float64))
    matrix = _sparse_random(flat.shape[1], step["components"], step["seed"])
    return multiply(flat, np.zeros(flat.shape[1]), matrix)


def projected(features: "Features", step: Step, width: int, **facts: Any) -> "Features":
    """Return the features after one more step, which leaves `width` columns."""
    spec = features.spec | {"input_shape": [width], "reductions": [*features.spec.get("reductions", []), step]}

    def batches():
        return ((codes, project(x, step), y) for codes, x, y in features.batches())

    return dataclasses.replace(features, spec=spec, batches=batches, facts={"columns": width, **facts})


def flat_width(features: "Features", name: str, most: int = 1 << 30) -> int:
    """Return how many columns x has when laid flat.

    Raises:
        InputError: where x is no numbers, such as the numbers of words, or has over `most` columns.
    """
    width = math.prod(features.spec["input_shape"])
    if features.x_type != "float32":
        raise InputError(
            f"extract.{name}: received x of {features.x_type}, allowed: numbers, float32; leave [extract.{name}] out"
        )
    if "embedded" in features.spec:
        raise InputError(
            f"extract.{name}: received columns of x that are numbers of levels, allowed: quantities; leave "
            f"extract.embed and extract.embed_levels out, or [extract.{name}]"
        )
    if width > most:
        raise InputError(
            f"extract.{name}: received {width:,} columns, allowed: up to {most:,}; put [extract.random_projection] "
            "before it"
        )
    return width


def ends(features: "Features", comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray, int]:
    """Collective. Return each column's smallest and largest number, and the number of training rows."""
    width = math.prod(features.spec["input_shape"])
    found, rows = np.full((2, width), np.inf), np.zeros(1, np.int64)  # smallest, smallest negative
    for x, _, _ in features.training():
        flat = x.reshape(len(x), -1).astype(np.float64)
        found = np.minimum(found, [side.min(axis=0, initial=np.inf) for side in (flat, -flat)])
        rows += len(x)
    comm.Allreduce(MPI.IN_PLACE, found, op=MPI.MIN)
    comm.Allreduce(MPI.IN_PLACE, rows, op=MPI.SUM)
    return found[0], -found[1], int(rows[0])


@functools.lru_cache(maxsize=1)
def _sparse_random(columns: int, components: int, seed: int) -> np.ndarray:
    drawn = uniform(seed, np.arange(columns * components)).reshape(columns, components)
    return (np.select([drawn < 1 / 6, drawn >= 5 / 6], [-1.0, 1.0])) * math.sqrt(3 / components)


def multiply(x: np.ndarray, mean: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return float32 (x - mean) @ matrix, each sum from the first column to the last, whichever rows stand together."""
    made = np.empty((len(x), matrix.shape[1]), np.float32)
    for start in range(0, len(x), ROWS):
        centred = (x[start : start + ROWS] - mean).T.copy()
        sums = np.zeros((centred.shape[1], matrix.shape[1]))
        for column, weights in zip(centred, matrix, strict=True):
            sums += column[:, None] * weights
        made[start : start + ROWS] = sums
    return made

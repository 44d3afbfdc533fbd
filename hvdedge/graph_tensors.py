"""A graph among the features on disk: the group `graph` of features.h5, as scipy's sparse rows, beside the examples.

    graph/indptr (nodes + 1,) int64     where each node's entries begin       graph/x (nodes, features) float32
    graph/indices (entries,)  int64     the nodes they lead to                graph/y (nodes,) int64, -1 for no label
    graph/data (entries,)     float32   what they weigh                       graph/split (nodes,) uint8, 255 for none

Parts hold whole nodes, in the table's order. `train/x` and so on are numbers of nodes: no vector is there twice.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import h5py
import numpy as np

from hvdedge.errors import InputError

GROUP = "graph"
TYPES = {
    **{"indptr": "int64", "indices": "int64", "data": "float32"},
    **{"x": "float32", "y": "int64", "split": "uint8"},
}


@dataclass(frozen=True)
class GraphPart:
    """What a rank writes: its nodes and their entries.

    Attributes:
        start, entries_before: how many nodes and entries the ranks before have.
        indptr, indices, data: this rank's sparse rows, indptr from 0, indices global numbers of nodes.
        features: how many features a node has.
        x: gives the features of this rank's nodes, float32 (rows, features), in order, as often as it is called.
        y: the class of each node, int64, -1 for none.
        split: 0 train, 1 validation, 2 test, 255 for none, uint8.
    """

    start: int
    entries_before: int
    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    features: int
    x: Callable[[], Iterator[np.ndarray]]
    y: np.ndarray
    split: np.ndarray


@dataclass(frozen=True)
class GraphBlock:
    """Some nodes of a graph with their entries, as `GraphPart` has them; x float32 (nodes here, features)."""

    start: int
    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    x: np.ndarray
    y: np.ndarray
    split: np.ndarray


def write(part: GraphPart, file: h5py.File) -> None:
    """Write a rank's part of the graph."""
    group = file.create_group(GROUP)
    holds_first = part.start == 0 and len(part.y) > 0
    whole = {
        "indptr": (part.indptr if holds_first else part.indptr[1:]) + part.entries_before,
        **{"indices": part.indices, "data": part.data, "y": part.y, "split": part.split},
    }
    for name, values in whole.items():
        group.create_dataset(name, data=values.astype(TYPES[name]))
    x = group.create_dataset("x", (len(part.y), part.features), TYPES["x"])
    start = 0
    for rows in part.x():
        x[start : start + len(rows)] = rows
        start += len(rows)


def check_sizes(group: h5py.Group) -> None:
    """Hold the sizes of a joined graph against each other.

    Raises:
        ValueError: where they do not fit.
    """
    nodes = len(group["y"])
    if group["x"].ndim != 2 or {len(group["x"]), len(group["split"]), len(group["indptr"]) - 1} != {nodes}:
        raise ValueError(f"{GROUP} has not as many x, y, split and indptr")
    if len(group["indices"]) != len(group["data"]):
        raise ValueError(f"{GROUP} has not as many indices and data")


def read(data: Mapping[str, h5py.Dataset], nodes: slice) -> GraphBlock:
    """Return the nodes in a slice with their entries.

    Raises:
        InputError: where an entry leads to no node, or the entries of a node are none that are there.
    """
    total, entries = len(data["y"]), len(data["indices"])
    start, stop, _ = nodes.indices(total)
    indptr = data["indptr"][start : max(start, stop) + 1]
    is_whole = indptr[0] >= 0 and indptr[-1] <= entries and (np.diff(indptr) >= 0).all()
    here = slice(*indptr[[0, -1]].tolist()) if is_whole else slice(0)
    indices, values = data["indices"][here], data["data"][here]
    if not is_whole or indices.min(initial=0) < 0 or indices.max(initial=-1) >= total:
        raise InputError(
            f"{data['y'].file.filename}: received a graph whose entries lead to no node or overlap, allowed: what "
            "extract wrote; run again with --from extract"
        )
    x, y, split = (data[name][start:stop] for name in ("x", "y", "split"))
    return GraphBlock(start, indptr - indptr[0], indices, values, x, y, split)

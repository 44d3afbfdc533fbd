"""Rows are the nodes of a graph whose edges are in a second file: its normalised adjacency, and a vector a node.

    A_hat = D^(-1/2) (A + I) D^(-1/2)   symmetric       D: how many entries each row of A + I has
    A_hat = D^(-1) (A + I)              row

The examples are numbers of nodes; the graph, all nodes and their features are beside them (see `graph_tensors`), also
those of nodes that are in no split: they take part in what their neighbours are told.

Source: Kipf and Welling 2017, Semi-supervised classification with graph convolutional networks.
"""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.class_labels import find_classes, split_codes
from hvdedge.columns import NUMBERS, kind, matching, plain, shown, to_floats
from hvdedge.errors import InputError
from hvdedge.graph_tensors import GraphPart
from hvdedge.graphs import Graph, read_graph
from hvdedge.options import ColumnName, Path
from hvdedge.parallel import counts, fetch_rows
from hvdedge.splits import LEFT_OUT
from hvdedge.tables import SPLIT, Table
from hvdedge.tensors import Features

EXAMPLES = ("nodes",)
WHERE = "extract"
BATCH_BYTES = 1 << 23


def extract(
    table: Table,
    comm: MPI.Intracomm,
    *,
    label: ColumnName = "label",
    id: ColumnName = "id",
    edges: Path = "",
    directed: bool = False,
    normalize: Literal["symmetric", "row", "none"] = "symmetric",
    self_loops: bool = True,
    columns: tuple[ColumnName, ...] = ("*",),
    scale_rows: bool = False,
) -> Features:
    """Collective. Make a graph of the rows: normalised adjacency, float32 features and class of each node, its split.

    Args:
        table: this rank's nodes, a row each; its column `_split`, uint8, says which are for training (0), validation
            (1) and test (2). Others, and rows without a label, are no examples, but part of the graph.
        label: the column that holds the class, of numbers, text or booleans.
        id: the column with the nodes' ids.
        edges: a file with a line of two ids for each edge: delimited text or Parquet.
        directed: whether an edge leads one way; a row of the adjacency then has those that leave its node.
        normalize: how the entries of the adjacency are weighted, see above; none: each is 1.
        self_loops: whether each node leads to itself, too.
        columns: names or patterns (w*) of the columns that are features: numbers, booleans, and lists of as many
            numbers in each row. They are taken as they are; what is missing is 0.
        scale_rows: whether a node's features are divided by the sum of their absolute values, as of a bag of words.
    Returns:
        The examples: x int64 (rows,), numbers of nodes, y int64 (rows,), the number of the label among the sorted
        classes; and the graph. A rank holds about 100 bytes for each edge at its nodes.
    Raises:
        InputError: where the label or a pattern does not fit the table, lists differ in length, no column is left or no
            row is for training; where directed edges are to be weighted alike both ways; and see `edges.read_edges`.
    """
    if directed and normalize == "symmetric":
        raise InputError(
            "extract.normalize: received 'symmetric' with directed = true, allowed: row, none, or directed = false; "
            "change one"
        )
    classes = find_classes(table, label, comm)
    lengths, left_out = _chosen(table, columns, (label, id), comm)
    y, split, rows_left_out = _examples(table, label, classes, comm)
    graph = read_graph(table, comm, edges=edges, id=id, directed=directed, where=WHERE)
    table.workspace.metrics["graph"] = graph.told
    graph = _with_loops(graph, comm) if self_loops else graph
    start = int(graph.starts[comm.rank])

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        nodes = np.flatnonzero(split != LEFT_OUT)
        yield split[nodes], start + nodes, y[nodes]

    entries = counts(len(graph.indices), comm)
    part = GraphPart(
        start=start,
        entries_before=int(entries[: comm.rank].sum()),
        indptr=graph.indptr,
        indices=graph.indices,
        data=_weights(graph, normalize, comm),
        features=sum(lengths.values()),
        x=lambda: _vectors(table, lengths, scale_rows),
        y=y,
        split=split,
    )
    sizes = {"nodes": graph.nodes, "entries": int(entries.sum()), "features": part.features}
    made = {"normalize": normalize, "self_loops": self_loops, "directed": directed, "scale_rows": scale_rows}
    spec = {
        "task": "classification",
        "input_shape": [],
        "classes": classes.to_pylist(),
        "label": label,
        "graph": {**sizes, **made, "columns": list(lengths)},
    }
    decisions = {
        name: f"list: its {length:,} numbers as they are"
        if kind(table.schema.field(name).type) == "array"
        else "number: as it is"
        for name, length in lengths.items()
    }
    return Features(
        spec,
        batches,
        x_type="int64",
        left_out=left_out,
        decisions=decisions,
        rows_left_out=rows_left_out,
        graph=part,
    )


def _chosen(
    table: Table, patterns: tuple[str, ...], others: tuple[str, ...], comm: MPI.Intracomm
) -> tuple[dict[str, int], dict[str, str]]:
    """Collective. Return column -> how many features it is, and column -> why it is left out."""
    names = [name for name in matching(table, patterns, "extract.columns") if name not in (*others, SPLIT)]
    types = {name: table.schema.field(name).type for name in names}
    lists = [
        name for name, type in types.items() if kind(type) == "array" and _is_number(getattr(type, "value_type", None))
    ]
    sizes = dict(zip(lists, _lengths(table, lists, comm), strict=True))
    chosen = {name: sizes.get(name, 1) for name, type in types.items() if name in sizes or _is_number(type)}
    chosen = {name: length for name, length in chosen.items() if length}
    if not chosen:
        raise InputError(
            f"extract.columns: received {', '.join(patterns)!r}, which matches {shown(names)}, allowed: at least one "
            "column of numbers, booleans or lists of numbers; name others"
        )
    rest = {name: "holds no numbers" for name in names if name not in chosen}
    rest |= {
        name: f"does not match {', '.join(patterns)}" for name in table.columns if name not in (*names, *others, SPLIT)
    }
    return chosen, rest


def _is_number(type: pa.DataType | None) -> bool:
    return type is not None and kind(type) in (*NUMBERS, "boolean")


def _lengths(table: Table, names: list[str], comm: MPI.Intracomm) -> list[int]:
    """Collective. Return how many numbers each of these columns has in every row; 0 where all its lists are missing."""
    ends = np.zeros((2, len(names)), np.int64)  # longest, and the most that one falls short of a huge length
    huge = 1 << 40
    for batch in table.select(names).batches() if names else ():
        for place, column in enumerate(batch.columns):
            found = pc.min_max(pc.list_value_length(column)).as_py()
            if found["max"] is not None:
                ends[:, place] = np.maximum(ends[:, place], [found["max"], huge - found["min"]])
    comm.Allreduce(MPI.IN_PLACE, ends, op=MPI.MAX)
    for name, longest, short in zip(names, *ends.tolist(), strict=True):
        if short and longest != huge - short:
            raise InputError(
                f"extract.columns: received {name!r} with lists of {huge - short} to {longest} numbers, allowed: as "
                "many in each row; leave it out"
            )
    return ends[0].tolist()


def _examples(
    table: Table, label: str, classes: pa.Array, comm: MPI.Intracomm
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Collective. Return class and split of each of this rank's nodes, and how many are no examples why."""
    y, split = np.full(table.num_rows, -1, np.int64), np.full(table.num_rows, LEFT_OUT, np.uint8)
    told, start = np.zeros(3, np.int64), 0  # training rows, rows without a label, others in no split
    for batch in table.select([label, SPLIT]).batches():
        here = slice(start, start + batch.num_rows)
        split[here], empty = split_codes(batch, label)
        y[here] = pc.fill_null(pc.index_in(plain(batch.column(0)), value_set=classes), -1)
        told += (split[here] == 0).sum(), empty.sum(), ((split[here] == LEFT_OUT) & ~empty).sum()
        start = here.stop
    comm.Allreduce(MPI.IN_PLACE, told, op=MPI.SUM)
    if not told[0]:
        raise InputError(
            "extract: received no row for training, allowed: at least one; clean less strictly or lower "
            "extract.validation and extract.test"
        )
    why = {"no label": int(told[1]), "in no split": int(told[2])}
    return y, split, {reason: count for reason, count in why.items() if count}


def _with_loops(graph: Graph, comm: MPI.Intracomm) -> Graph:
    """Return the graph with an edge from each node to itself."""
    here = len(graph.indptr) - 1
    rows = np.concatenate([graph.sources, np.arange(here)])
    indices = np.concatenate([graph.indices, graph.starts[comm.rank] + np.arange(here)])
    order = np.lexsort((indices, rows))
    return dataclasses.replace(graph, indptr=graph.indptr + np.arange(here + 1), indices=indices[order])


def _weights(graph: Graph, normalize: str, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the weight of each entry, float32."""
    degrees = np.diff(graph.indptr)
    if normalize == "none":
        return np.ones(len(graph.indices), np.float32)
    mine = degrees[graph.sources]
    products = mine * fetch_rows(degrees, graph.indices, comm) if normalize == "symmetric" else mine**2
    return (1 / np.sqrt(products)).astype(np.float32)


def _vectors(table: Table, lengths: dict[str, int], scale_rows: bool) -> Iterator[np.ndarray]:
    """Yield the features of this rank's nodes, float32 (rows, features)."""
    width = sum(lengths.values())
    rows = max(BATCH_BYTES // (4 * width), 1)
    for whole in table.select(list(lengths)).batches():
        for batch in (whole.slice(start, rows) for start in range(0, whole.num_rows, rows)):
            x, place = np.zeros((batch.num_rows, width), np.float32), 0
            for column, length in zip(batch.columns, lengths.values(), strict=True):
                part = x[:, place : place + length]
                if kind(column.type) == "array":
                    part[np.asarray(column.is_valid())] = to_floats(column.drop_null().flatten()).reshape(-1, length)
                else:
                    part[:, 0] = to_floats(column)
                place += length
            x = np.nan_to_num(x, nan=0.0)
            if scale_rows:
                sums = np.abs(x).sum(axis=1, dtype=np.float64)
                x = (x / np.where(sums > 0, sums, 1)[:, None]).astype(np.float32)
            yield x

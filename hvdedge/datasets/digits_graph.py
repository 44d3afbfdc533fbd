"""The 1,797 handwritten digits that scikit-learn ships as a graph: each leads to those whose pixels are nearest.

Few of them are told what they are: what a network on the graph knows of the others, it has from their neighbours. The
squared distances of whole pixels are whole numbers, and of two digits that are as near the first one in the file is
taken, so the graph is the same on any number of ranks.

Source: Alpaydin and Kaynak 1998, Optical recognition of handwritten digits (UCI), test set, as in scikit-learn.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.digit_images import load_digits
from hvdedge.edges import write_edges
from hvdedge.errors import InputError
from hvdedge.options import Count, Natural
from hvdedge.parallel import agree, allgather_rows, block
from hvdedge.sources import columns_as_read
from hvdedge.tables import Table
from hvdedge.workspace import Source

AT_ONCE = 256  # rows whose distances to all others are held
PIXELS = 64


def read(
    source: Source,
    comm: MPI.Intracomm,
    *,
    neighbours: Count = 8,
    labelled: Count = 20,
    validated: Natural = 300,
    seed: int = 0,
) -> Table:
    """Collective. Make the digits a table of nodes, and write the edges to their nearest ones into the run's folder.

    Args:
        neighbours: how many edges each digit gets; together with those that others have to it.
        labelled: digits of each class that are for training.
        validated: digits for validation; all others are for the test.
        seed: by which these are chosen.
    Returns:
        This rank's block of the nodes: `id`, their number, `pixels`, a list of 64 from 0 to 16, `label` and `split`
        ("train", "validation", "test"); `_line` is the number from 1.
    Raises:
        RankError: on every rank, where scikit-learn's data is not there, or is not as much as that.
    """
    digits = np.empty((0, PIXELS + 1), np.int64)
    with agree(comm):
        digits = load_digits("digits_graph")
        _check(digits, neighbours, labelled, validated)
    rows = block(len(digits), comm.size, comm.rank)
    edges = allgather_rows(_nearest(digits[:, :PIXELS], rows, neighbours), comm)
    write_edges(edges, source.workspace.run, comm)
    split = _split(digits[:, PIXELS], labelled, validated, seed)[rows]
    columns = {
        "id": pa.array(np.arange(rows.start, rows.stop)),
        "pixels": pa.FixedSizeListArray.from_arrays(pa.array(digits[rows, :PIXELS].ravel().astype(np.uint8)), PIXELS),
        "label": pa.array(digits[rows, PIXELS]),
        "split": pa.array(split, pa.string()),
        "_file": pa.array(["digits.csv.gz"] * len(split), pa.string()),
        "_line": pa.array(np.arange(rows.start + 1, rows.stop + 1)),
    }
    nodes = pa.record_batch(columns)

    def batches() -> Iterator[pa.RecordBatch]:
        if nodes.num_rows:
            yield nodes

    source.workspace.metrics["files"] = [{"file": "digits.csv.gz", "rows": len(digits)}]
    types = {"id": "integer", "pixels": "array", "label": "integer", "split": "category"}
    source.workspace.metrics["columns"] = columns_as_read(types)
    return Table(nodes.schema, nodes.num_rows, source.workspace, batches)


def _check(digits: np.ndarray, neighbours: int, labelled: int, validated: int) -> None:
    """Hold that there are as many digits as asked for.

    Raises:
        InputError: where there are not.
    """
    least = int(np.bincount(digits[:, PIXELS]).min())
    if labelled > least:
        raise InputError(
            f"prepare.labelled: received {labelled}, allowed: 1 to {least}, as many as each digit has; lower it"
        )
    left = len(digits) - 10 * labelled
    if validated >= left:
        raise InputError(f"prepare.validated: received {validated}, allowed: 0 to {left - 1}, to leave some; lower it")
    if neighbours >= len(digits):
        raise InputError(f"prepare.neighbours: received {neighbours}, allowed: 1 to {len(digits) - 1}; lower it")


def _nearest(pixels: np.ndarray, rows: slice, neighbours: int) -> np.ndarray:
    """Return the edges from some digits to their nearest ones, int64 (edges, 2)."""
    found = [np.empty((0, 2), np.int64)]
    x = pixels.astype(float)  # whole numbers below 2^53: every sum is exact
    squares = (x * x).sum(axis=1)
    for start in range(rows.start, rows.stop, AT_ONCE):
        here = np.arange(start, min(start + AT_ONCE, rows.stop))
        distances = squares - 2 * x[here] @ x.T  # less the own square, alike in a row
        distances[np.arange(len(here)), here] = np.inf
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :neighbours]
        found.append(np.stack([np.repeat(here, neighbours), nearest.ravel()], axis=1))
    return np.concatenate(found)


def _split(labels: np.ndarray, labelled: int, validated: int, seed: int) -> np.ndarray:
    """Return the split of each digit."""
    order = np.random.default_rng(seed).permutation(len(labels))
    split = np.full(len(labels), "test", object)
    for digit in range(10):
        split[order[labels[order] == digit][:labelled]] = "train"
    split[order[split[order] != "train"][:validated]] = "validation"
    return split

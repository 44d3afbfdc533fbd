"""Cora, a graph of papers that cite each other, as the files of a user's own; skips where the data is not there."""

import os
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
from small_graphs import edges_csv

DATA = pathlib.Path(os.environ.get("HVDEDGE_DATA", "../shared/data")) / "cora" / "cora.npz"


def load() -> dict[str, np.ndarray]:
    """Return the arrays of the archive."""
    if not DATA.is_file():
        pytest.skip(f"needs {DATA}, a graph of papers; set HVDEDGE_DATA")
    with np.load(DATA) as found:
        return dict(found)


def words(arrays) -> scipy.sparse.csr_matrix:
    """Return which words each paper has."""
    parts = (arrays["feat_data"], arrays["feat_indices"], arrays["feat_indptr"])
    return scipy.sparse.csr_matrix(parts, tuple(arrays["feat_shape"]))


def nodes(arrays) -> pa.Table:
    """Return a row a paper: id, words as one list of 0 and 1, label, and its split of the standard ones."""
    bag = words(arrays).toarray().astype(np.uint8)
    split = np.full(len(bag), None, object)
    for name, index in (("train", "train_idx"), ("validation", "val_idx"), ("test", "test_idx")):
        split[arrays[index]] = name
    lists = pa.FixedSizeListArray.from_arrays(pa.array(bag.ravel()), bag.shape[1])
    return pa.table(
        {"id": np.arange(len(bag)), "words": lists, "label": arrays["labels"], "part": pa.array(split, pa.string())}
    )


def write(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Write nodes.parquet and edges.csv; return the arrays that they were made of."""
    arrays = load()
    pq.write_table(nodes(arrays), folder / "nodes.parquet")
    edges_csv(folder / "edges.csv", arrays["edges"].tolist())
    return arrays

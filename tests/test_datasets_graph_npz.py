"""Graphs in NumPy archives on one rank: what is in them comes back; what is no such archive is one line."""

import io
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_archives import archive

from hvdedge.datasets import graph_npz
from hvdedge.errors import RankError
from hvdedge.workspace import Source


@pytest.fixture
def read(tmp_path, workspace, comm):
    """Read an archive of arrays, or of bytes; return the table as lists by column, and the edges."""

    def run(content, **options):
        path = tmp_path / "graph.npz"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.savez_compressed(path, **content)
        table = graph_npz.read(Source((path,), workspace), comm, **options)
        return table.to_arrow().to_pydict(), pq.read_table(workspace.run / "raw/edges.parquet")

    return run


def error(read, content):
    with pytest.raises(RankError) as caught:
        read(content)
    assert caught.value.is_input and "\n" not in str(caught.value)
    return str(caught.value)


def test_nodes_edges_labels_and_splits_come_back(read, workspace):
    arrays = archive()
    rows, edges = read(arrays)
    assert list(rows) == ["id", "features", "label", "split", "_file", "_line"]
    whole = np.zeros((30, 5))
    for node in range(30):
        whole[node, arrays["feat_indices"][slice(*arrays["feat_indptr"][node : node + 2])]] = 1
    assert rows["features"] == whole.tolist() and whole.sum() > 20
    assert rows["label"] == [*arrays["labels"][:-1].tolist(), None]
    split = [*["train"] * 9, *[None] * 6, *["validation"] * 6, *["test"] * 8, None]
    assert rows["split"] == split
    assert rows["id"] == [*range(30)] and rows["_line"] == [*range(1, 31)] and {*rows["_file"]} == {"graph.npz"}
    pairs = np.stack([np.asarray(column) for column in edges.columns], axis=1).tolist()
    assert pairs == [*arrays["edges"].tolist(), [3, 3], [5, 5]]
    assert workspace.metrics["files"] == [{"file": "graph.npz", "rows": 30}]
    assert workspace.metrics["columns"]["label"] == {"type": "integer", "missing": 1, "changed": 0}
    assert workspace.metrics["columns"]["features"]["type"] == "array"


def test_features_of_any_numbers_are_kept_and_those_that_repeat_add_up(read):
    arrays = archive()
    indices, data = arrays["feat_indices"].copy(), np.random.default_rng(0).normal(size=len(arrays["feat_data"]))
    first = slice(*arrays["feat_indptr"][:2])
    assert first.stop > 1
    indices[first] = 2
    rows, _ = read({**arrays, "feat_indices": indices, "feat_data": data})
    np.testing.assert_allclose(rows["features"][0], [0, 0, data[first].sum(), 0, 0], rtol=1e-6)
    rows, _ = read({**arrays, "feat_indices": indices})
    assert rows["features"][0][2] == first.stop


def test_blocks_of_rows_are_bounded(read, monkeypatch):
    rows, _ = read(archive())
    monkeypatch.setattr(graph_npz, "BATCH_BYTES", 20)
    assert read(archive())[0] == rows
    assert read(archive(self_loops=None))[0] == rows


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"edges": None, "test_idx": None}, "an archive without edges, test_idx, allowed: with all of feat_indptr"),
        ({"labels": np.zeros(29, np.int8)}, "feat_indptr of 31 and labels of 29 numbers for 30 nodes, allowed: 31"),
        ({"labels": np.zeros(30)}, "labels of shape (30,) and type float64, allowed: 1 dimensions of whole numbers"),
        ({"edges": np.array([[0, 30]])}, "edges with 30, allowed: 0 to 29"),
        ({"edges": np.array([[0, 1], [-1, 2]])}, "edges with -1, allowed: 0 to 29"),
        ({"edges": np.array([1, 2])}, "edges of shape (2,)"),
        ({"edges": np.empty((0, 2), int)}, "edges of shape (0, 2), allowed: two numbers of nodes each, at least one"),
        ({"edges": np.ones((4, 3), int)}, "edges of shape (4, 3)"),
        ({"self_loops": np.array([30])}, "self_loops with 30, allowed: 0 to 29"),
        ({"train_idx": np.array([1, 1])}, "splits that name 1 nodes again"),
        ({"val_idx": np.array([0, 16])}, "splits that name 1 nodes again, allowed: each node in one of train_idx"),
        ({"test_idx": np.array([99])}, "test_idx with 99, allowed: 0 to 29"),
        ({"feat_shape": np.array([30, 10**9])}, "feat_shape [30, 1000000000], allowed: nodes from 1 and features"),
        ({"feat_shape": np.array([30])}, "feat_shape [30], allowed"),
        ({"feat_shape": np.array([30, 2])}, "feat_indices with "),
        ({"feat_data": np.array([1.0])}, "features that are no sparse rows"),
        ({"feat_indptr": np.arange(31)[::-1].copy()}, "features that are no sparse rows, allowed: feat_indptr that"),
        ({"labels": np.array([None] * 30)}, "labels.npy holds no numbers but object"),
        ({"labels": np.array(["a"] * 30)}, "labels.npy holds no numbers but <U1"),
    ],
)
def test_arrays_that_are_no_graph_are_refused(read, changes, told):
    said = error(read, archive(**changes))
    assert told in said, said
    assert "graph.npz: received" in said


def test_numbers_that_are_not_finite_are_refused(read):
    arrays = archive()
    arrays["feat_data"][3] = np.nan
    assert "features that are no finite numbers" in error(read, arrays)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04broken"])
def test_what_is_no_archive_is_refused(read, content):
    assert "received no archive of arrays that can be read" in error(read, content)


def rewritten(name, content, claimed=None):
    """The archive with other bytes for one array."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for other, array in archive().items():
            part = io.BytesIO()
            np.save(part, array)
            target.writestr(f"{other}.npy", content if other == name else part.getvalue())
    return file.getvalue()


def header(shape, kind="<i8"):
    part = io.BytesIO()
    np.lib.format.write_array_header_1_0(part, {"descr": kind, "fortran_order": False, "shape": shape})
    return part.getvalue()


def test_a_header_that_claims_more_than_there_is_takes_no_memory(read):
    said = error(read, rewritten("labels", header((10**15,)) + bytes(80)))
    assert "labels.npy holds 80 bytes for numbers of shape (1000000000000000,)" in said


def test_an_archive_that_unpacks_to_more_than_memory_holds_is_refused_before_it_is_unpacked(read):
    said = error(read, rewritten("labels", header((10**8,), "|i1") + bytes(10**8)))
    assert "received arrays of 1000" in said and "allowed: 32000000, half of what a rank may hold; raise memory" in said


def test_an_archive_that_was_damaged_is_refused(read, tmp_path):
    content = bytearray(rewritten("", b""))
    content[200:260] = bytes(60)
    assert "graph.npz: received" in error(read, bytes(content))


def test_files_are_one(tmp_path, workspace, comm):
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", **archive())
    with pytest.raises(RankError, match="prepare.source: received 2 files, allowed: one archive with all of a graph"):
        graph_npz.read(Source((tmp_path / "a.npz", tmp_path / "b.npz"), workspace), comm)

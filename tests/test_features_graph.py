"""Graphs as features: the adjacency held against scipy, what nodes have, what is on disk and what is refused."""

import json
import shutil

import cora
import h5py
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse
from small_graphs import edges_csv, matrix, random_pairs

from hvdedge.errors import InputError
from hvdedge.features.graph import extract
from hvdedge.records import to_json
from hvdedge.tables import Table
from hvdedge.tensors import join, open_features, write_part

SPLIT = [0, 1, 2, 255, 0, 0]


def small(workspace, **columns) -> Table:
    """Return six nodes, a to f; e has no label, d is in no split."""
    rows = {
        "id": [*"abcdef"],
        "size": [1.5, None, -2.0, 0.0, float("inf"), 4.0],
        "words": [[1, 0], [0, 1], None, [1, 1], [None, 3], [0, 0]],
        "note": [*"uvwxyz"],
        "flag": [True, False, None, True, False, False],
        "label": ["y", "x", "y", "x", None, "x"],
        "_split": pa.array(SPLIT, pa.uint8()),
    }
    rows = pa.table({**rows, **columns})
    return Table.from_batches(rows.schema, rows.to_batches(4), workspace)


def written(features, folder):
    """Return a reader of the features, written as one part."""
    (folder / "features").mkdir(parents=True)
    write_part(features, folder / "features/part-00000.h5")
    join(folder, ["features/part-00000.h5"], folder / "features.h5")
    (folder / "features.json").write_bytes(to_json(features.spec))
    return open_features(folder / "features.h5")


def adjacency(block, nodes: int) -> scipy.sparse.csr_matrix:
    return scipy.sparse.csr_matrix((block.data, block.indices, block.indptr), (len(block.y), nodes))


@pytest.fixture
def edges(tmp_path):
    return edges_csv(tmp_path / "edges.csv", ["ab", "bc", "ca", "fa", "bb"])


def test_nodes_have_their_features_classes_and_splits_and_examples_are_their_numbers(comm, workspace, edges, tmp_path):
    features = extract(small(workspace), comm, edges=edges)
    reader = written(features, tmp_path / "run")
    assert reader.spec == {
        "task": "classification",
        "input_shape": [],
        "classes": ["x", "y"],
        "label": "label",
        "graph": {
            **{"nodes": 6, "entries": 14, "features": 4, "normalize": "symmetric", "self_loops": True},
            **{"directed": False, "scale_rows": False, "columns": ["size", "words", "flag"]},
        },
    }
    block = reader.graph(slice(None))
    assert block.x.tolist() == [[1.5, 1, 0, 1], [0, 0, 1, 0], [-2, 0, 0, 0], [0, 1, 1, 1], [0, 0, 3, 0], [4, 0, 0, 0]]
    assert block.y.tolist() == [1, 0, 1, 0, -1, 0]
    assert block.split.tolist() == [0, 1, 2, 255, 255, 0]  # without a label it is no example
    assert [reader.read(split, slice(None))[0].tolist() for split in ("train", "validation", "test")] == [
        [0, 5],
        [1],
        [2],
    ]
    assert reader.read("train", slice(None))[1].tolist() == [1, 0]
    assert features.rows_left_out == {"no label": 1, "in no split": 1}
    assert features.left_out == {"note": "holds no numbers"}
    assert features.decisions["words"] == "list: its 2 numbers as they are"
    assert workspace.metrics["graph"]["self_loops"] == 1
    part = reader.graph(slice(2, 4))
    assert (part.start, part.y.tolist(), part.indices.tolist()) == (2, [1, 0], [0, 1, 2, 3])
    assert reader.graph(slice(6, 6)).indptr.tolist() == [0]


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize(
    ("normalize", "directed"), [("symmetric", False), ("row", False), ("row", True), ("none", True)]
)
def test_the_adjacency_is_scipys(comm, workspace, tmp_path, normalize, directed, self_loops):
    pairs, nodes = random_pairs(60, 100), 60
    path = edges_csv(tmp_path / "edges.csv", pairs)
    columns = {
        "id": range(nodes),
        "size": range(nodes),
        "label": [*"xy"] * 30,
        "_split": pa.array([0] * nodes, pa.uint8()),
    }
    table = Table.from_batches(pa.table(columns).schema, pa.table(columns).to_batches(7), workspace)
    features = extract(table, comm, edges=path, normalize=normalize, directed=directed, self_loops=self_loops)
    block = written(features, tmp_path / "run").graph(slice(None))
    found = matrix(pairs, nodes, directed) + self_loops * scipy.sparse.identity(nodes)
    degrees = np.maximum(np.asarray(found.sum(axis=1)).ravel(), 1)
    if normalize == "symmetric":
        found = scipy.sparse.diags(degrees**-0.5) @ found @ scipy.sparse.diags(degrees**-0.5)
    elif normalize == "row":
        found = scipy.sparse.diags(1 / degrees) @ found
    assert abs(adjacency(block, nodes) - found).max() < 1e-7  # float32
    assert (np.diff(block.indices)[np.diff(np.repeat(np.arange(nodes), np.diff(block.indptr))) == 0] > 0).all()


def test_rows_are_scaled_to_one_and_columns_chosen_by_patterns(comm, workspace, edges, tmp_path):
    wide = {f"w{number}": [number % 2, 1, 0, 0, -1, 2] for number in range(3)}
    table = small(workspace, **wide)
    features = extract(table, comm, edges=edges, columns=("w?",), scale_rows=True)
    x = np.concatenate([*features.graph.x()])
    assert x.dtype == np.float32
    thirds = [[0, 1, 0], [1 / 3] * 3, [0] * 3, [0] * 3, [-1 / 3] * 3, [1 / 3] * 3]
    assert x == pytest.approx(np.array(thirds), abs=1e-7)
    assert features.left_out["size"] == "does not match w?"
    lists = pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3], pa.uint8()), 2)
    features = extract(small(workspace, words=lists), comm, edges=edges, columns=("words",))
    assert np.concatenate([*features.graph.x()]).tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 1], [2, 3]]


@pytest.mark.parametrize(
    ("changes", "options", "line"),
    [
        ({}, {"columns": ("note",)}, "extract.columns: received 'note', which matches note, allowed: at least one"),
        ({}, {"columns": ("z*",)}, r"extract.columns: received 'z\*', which matches no column"),
        ({"words": [[1], [1, 2], None, [], [1], [1]]}, {}, "'words' with lists of 0 to 2 numbers, allowed: as many in"),
        ({}, {"directed": True}, "extract.normalize: received 'symmetric' with directed = true, allowed: row, none"),
        ({}, {"label": "id2"}, "extract.label: received 'id2', which is no column"),
        ({}, {"id": "name"}, "extract.id: received 'name', which is no column of ids"),
        ({"_split": pa.array([1] * 6, pa.uint8())}, {}, "extract: received no row for training"),
        ({"id": [*"uvwxyz"]}, {}, "extract.edges: .* none between two values of 'id'"),
    ],
)
def test_what_fits_no_graph_is_refused(comm, workspace, edges, changes, options, line):
    with pytest.raises(InputError, match=line):
        extract(small(workspace, **changes), comm, **{"edges": edges} | options)


@pytest.fixture
def run(comm, workspace, edges, tmp_path):
    """The folder of features of a graph, to be spoiled."""
    written(extract(small(workspace), comm, edges=edges), tmp_path / "run")
    shutil.copy(tmp_path / "run/features/part-00000.h5", tmp_path / "secret.h5")
    return tmp_path / "run"


def link_out(file):
    del file["graph"]
    file["graph"] = h5py.ExternalLink("../secret.h5", "/graph")


def link_one_out(file):
    del file["graph/x"]
    file["graph/x"] = h5py.ExternalLink("../secret.h5", "/graph/x")


def point_out(file):
    del file["graph/x"]
    layout = h5py.VirtualLayout((6, 4), "f4")
    layout[:] = h5py.VirtualSource("../secret.h5", "graph/x", (6, 4))
    file.create_virtual_dataset("graph/x", layout)


def store_outside(file):
    del file["graph/x"]
    file.create_dataset("graph/x", (6, 4), "f4", external=[("../secret.h5", 0, 96)])


def fewer(file):
    del file["graph/y"]
    layout = h5py.VirtualLayout((5,), "i8")
    layout[:] = h5py.VirtualSource("features/part-00000.h5", "graph/y", (5,))
    file.create_virtual_dataset("graph/y", layout)


def drop(file):
    del file["graph"]


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (link_out, "graph is missing or a link"),
        (link_one_out, "graph/x is missing or a link"),
        (point_out, "outside its folder"),
        (store_outside, "graph/x is stored elsewhere"),
        (fewer, "graph has not as many x, y, split and indptr"),
        (drop, "its features.json and graph do not fit"),
    ],
)
def test_a_graph_that_points_elsewhere_or_does_not_fit_is_refused(run, spoil, line):
    with h5py.File(run / "features.h5", "a") as file:
        spoil(file)
    with pytest.raises(InputError, match=line):
        open_features(run / "features.h5")


@pytest.mark.parametrize("spoil", [link_out, store_outside, drop])
def test_a_part_of_a_graph_that_is_elsewhere_or_gone_is_refused(run, spoil):
    with h5py.File(run / "features/part-00000.h5", "a") as file:
        spoil(file)
    with pytest.raises(InputError, match="features that cannot be read"):
        open_features(run / "features.h5")


@pytest.mark.parametrize(
    ("name", "place", "value"), [("indices", 3, 6), ("indices", 0, -1), ("indptr", 2, 99), ("indptr", 6, 99)]
)
def test_entries_that_lead_nowhere_are_refused(run, name, place, value):
    with h5py.File(run / "features/part-00000.h5", "a") as file:
        file[f"graph/{name}"][place] = value
    with pytest.raises(InputError, match="features.h5: received a graph whose entries lead to no node or overlap"):
        open_features(run / "features.h5").graph(slice(None))


def test_features_without_a_graph_do_not_claim_one(run):
    spec = json.loads((run / "features.json").read_text())
    del spec["graph"]
    (run / "features.json").write_text(json.dumps(spec))
    with pytest.raises(InputError, match="its features.json and graph do not fit"):
        open_features(run / "features.h5")


def test_cora_is_there_whole_with_its_standard_split(comm, workspace, tmp_path):
    arrays = cora.write(tmp_path)
    rows = cora.nodes(arrays)
    split = np.full(len(rows), 255, np.uint8)
    for code, name in enumerate(("train_idx", "val_idx", "test_idx")):
        split[arrays[name]] = code
    rows = rows.append_column("_split", pa.array(split))
    table = Table.from_batches(rows.schema, rows.to_batches(500), workspace)
    reader = written(extract(table, comm, edges=str(tmp_path / "edges.csv"), columns=("words",)), tmp_path / "run")
    assert [reader.rows(name) for name in ("train", "validation", "test")] == [140, 500, 1000]
    block = reader.graph(slice(None))
    whole = matrix(arrays["edges"], 2708) + scipy.sparse.identity(2708)
    scale = scipy.sparse.diags(np.asarray(whole.sum(axis=1)).ravel() ** -0.5)
    assert abs(adjacency(block, 2708) - scale @ whole @ scale).max() < 1e-7
    assert (block.x == cora.words(arrays).toarray()).all()
    assert (np.array(reader.spec["classes"])[block.y] == arrays["labels"]).all()
    assert (np.sort(reader.read("test", slice(None))[0]) == np.sort(arrays["test_idx"])).all()

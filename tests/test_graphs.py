"""Graphs of a table's rows: which edges a file gives, which are told and left out."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_graphs import edges_csv, matrix, random_pairs
from small_tables import table_of

from hvdedge.errors import InputError, RankError
from hvdedge.graphs import of_pairs, read_graph

IN_A_TEST = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(table, comm, path, **changes):
    return read_graph(table, comm, **{"edges": str(path), "id": "id", "directed": False, "where": "extract"} | changes)


def rows(graph) -> list[list[int]]:
    return [part.tolist() for part in np.split(graph.indices, graph.indptr[1:-1])]


@IN_A_TEST
@given(
    pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40),
    directed=st.booleans(),
)
def test_the_rows_are_scipys_and_every_line_is_accounted_for(comm, pairs, directed):
    graph = of_pairs(np.array(pairs, np.int64).reshape(-1, 2), 7, directed, comm)
    wanted = matrix(pairs, 7, directed)
    assert graph.indptr.tolist() == wanted.indptr.tolist()
    assert graph.indices.tolist() == wanted.indices.tolist()
    told, different = graph.told, {*pairs}
    assert told["edges"] == wanted.nnz // (1 if directed else 2)
    assert told["self_loops"] == sum(a == b for a, b in different)
    assert told["repeated"] == len(pairs) - len(different)
    assert told["reversed"] == sum(a < b and (b, a) in different for a, b in different)
    counted = told["edges"] + told["self_loops"] + told["repeated"] + (0 if directed else told["reversed"])
    assert counted == len(pairs)
    assert graph.nodes == 7
    assert graph.indptr.dtype == graph.indices.dtype == np.int64


@pytest.mark.parametrize("separator", [",", "\t", ";", " ", "|"])
@pytest.mark.parametrize("names", ["source,target", ""])
def test_any_separator_does_with_names_above_or_without(comm, workspace, tmp_path, separator, names):
    table = table_of(workspace, id=["n1", "n2", "n3", "n4", "n5"])
    path = edges_csv(tmp_path / "edges.txt", [("n1", "n3"), ("n3", "n2"), ("n5", "n1")], names, separator)
    graph = read(table, comm, path)
    assert rows(graph) == [[2, 4], [2], [0, 1], [], [0]]
    assert graph.told["lines"] == 3
    assert graph.told["unknown"] == 0
    assert workspace.events == []


def test_what_is_left_out_is_counted_and_told(comm, workspace, tmp_path):
    path = tmp_path / "edges.csv"
    path.write_text("# a comment\nfrom,to\n1,2\n2,1\n1,2\n3,3\n3,9\n8,9\n2,3\n,1\n3\n2,3\n2,3\n2,3\n2,3\n1,2,3\n1,3\n")
    graph = read(table_of(workspace, id=[1, 2, 3]), comm, path)
    assert rows(graph) == [[1, 2], [0, 2], [0, 1]]
    left_out = {"unknown": 4, "set_aside": 1, "self_loops": 1, "repeated": 5, "reversed": 1}
    assert graph.told == {"lines": 14, "edges": 3, **left_out}
    assert workspace.events == [{"what": "edges_left_out", "file": str(path), **left_out}]
    workspace.events.clear()
    graph = read(table_of(workspace, id=[1, 2, 3]), comm, path, directed=True)
    assert rows(graph) == [[1, 2], [0, 2], []]
    assert graph.told["edges"] == 4
    del left_out["reversed"]  # no edge was left out for it
    assert workspace.events == [{"what": "edges_left_out", "file": str(path), **left_out}]


def test_ids_that_are_numbers_are_compared_as_numbers_and_texts_as_texts(comm, workspace, tmp_path):
    path = edges_csv(tmp_path / "edges.csv", [("007", "+8"), (" 8.0", "0"), ("-3", "7")])
    assert rows(read(table_of(workspace, id=[7, 8, 0, -3]), comm, path)) == [[1, 3], [0, 2], [1], [0]]
    assert rows(read(table_of(workspace, id=[7.0, 8.0, 0.0, -3.0]), comm, path)) == [[1, 3], [0, 2], [1], [0]]
    graph = read(table_of(workspace, id=["007", "+8", "7", None]), comm, path)
    assert rows(graph) == [[1], [0], [], []]
    assert graph.told["unknown"] == 2


def test_categories_and_a_parquet_file_of_numbers_are_read_alike(comm, workspace, tmp_path):
    pairs = random_pairs(50, 400)
    pq.write_table(pa.table({"a": pairs[:, 0], "b": pa.array(pairs[:, 1], pa.int32())}), tmp_path / "edges.parquet")
    names = pa.array([str(number) for number in range(50)]).dictionary_encode()
    wanted = matrix(pairs, 50)
    for ids in (np.arange(50), names):
        graph = read(table_of(workspace, id=ids), comm, tmp_path / "edges.parquet")
        assert graph.indptr.tolist() == wanted.indptr.tolist()
        assert graph.indices.tolist() == wanted.indices.tolist()
    pq.write_table(pa.table({"a": [None, 1, 2, 77], "b": [3, None, 1, 78]}), tmp_path / "edges.parquet")
    graph = read(table_of(workspace, id=[1, 2, 3, None]), comm, tmp_path / "edges.parquet")
    assert rows(graph) == [[1], [0], [], []]
    assert graph.told["unknown"] == 3  # also the first one, as names stand in the file's footer


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "extract.edges: received '.*edges.csv', which is no file, allowed: one with a line of two ids an edge"),
        ("a,b,weight\n1,2,0.5\n2,3,0.5\n", "with 3 columns, allowed: 2, the ids of the nodes that an edge"),
        ("1\n2\n3\n", "with 1 columns, allowed: 2"),
        ("", "edges.csv: received an empty file"),
        ("a,b\n8,9\n7,1\n", r"with 2 edges, none between two values of 'id' \('8'\), allowed: at least one"),
        ("a,b\n", "with 0 edges, none between two values of 'id', allowed"),
        ("<html><body>not found</body></html>", "received a web page"),
    ],
)
def test_a_file_that_has_no_edges_of_the_table_is_one_clear_line(comm, workspace, tmp_path, content, line):
    path = tmp_path / "edges.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises((InputError, RankError), match=line) as caught:
        read(table_of(workspace, id=[1, 2, 3]), comm, path)
    assert getattr(caught.value, "is_input", True)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"name": [1, 2]}, "extract.id: received 'id', which is no column of ids, allowed: name; name one"),
        ({"id": [[1], [2]]}, "extract.id: received 'id', which is no column of ids"),
        ({"id": [1, 2, 2, 1, 1]}, "extract.id: received 'id', in which 3 rows repeat the id of another, allowed: each"),
    ],
)
def test_a_column_without_ids_of_its_rows_is_refused(comm, workspace, tmp_path, columns, line):
    with pytest.raises(InputError, match=line):
        read(table_of(workspace, **columns), comm, edges_csv(tmp_path / "edges.csv", [(1, 2)]))


def test_a_broken_parquet_file_is_told(comm, workspace, tmp_path):
    (tmp_path / "edges.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(RankError, match="received no Parquet file that can be read"):
        read(table_of(workspace, id=[1]), comm, tmp_path / "edges.parquet")

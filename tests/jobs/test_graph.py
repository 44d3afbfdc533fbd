"""A graph from its two files to features on two ranks, and what is wrong with a graph in one line each."""

import json

import numpy as np
import pytest
from small_graphs import edges_csv, matrix

from hvdedge.tensors import open_features

NODES = 200
TOML = """case = "net"
memory = "64MB"
[prepare]
reader = "csv"
source = "nodes.csv"
[profile.graph]
edges = "links.tsv"
id = "name"
label = "team"
[extract]
extractor = "graph"
label = "team"
id = "name"
edges = "links.tsv"
columns = ["f*"]
split = "given"
by = "part"
[train]
model = "dense"
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A pipeline on 200 people in three teams, who mostly know others of their team; the folder and their ties.

    The tests share its run, so that each does only the stages that its settings change.
    """
    folder = tmp_path_factory.mktemp("net")
    draw = np.random.default_rng(6)
    teams = draw.integers(0, 3, NODES)
    lines = ["name,f1,f2,f3,team,part"]
    for number, team in enumerate(teams):
        part = ["train", "validation", "test", "", ""][number % 5]
        numbers = ",".join(f"{value:.3f}" for value in draw.normal(team, 1, 3))
        lines.append(f"person {number},{numbers},team {'abc'[team]},{part}")
    (folder / "nodes.csv").write_text("\n".join(lines) + "\n")
    pairs = draw.integers(0, NODES, (900, 2))
    pairs = pairs[(teams[pairs[:, 0]] == teams[pairs[:, 1]]) | (draw.random(900) < 0.1)]
    names = [[f"person {number}" for number in pair] for pair in [*pairs.tolist(), [0, NODES]]]
    edges_csv(folder / "links.tsv", names, "from,to", "\t")
    edges_csv(folder / "strangers.csv", [["person 500", "person 501"], ["somebody", "person 3"]], "")
    (folder / "net.toml").write_text(TOML)
    return folder, pairs, teams


def run(hvdedge, folder, *words):
    return hvdedge("run", folder / "net.toml", "--ranks", 2, "--results", folder / "results", "--run", "a", *words)


def test_a_graph_is_profiled_and_made_features_and_no_model_of_vectors_takes_it(net, hvdedge, record):
    folder, pairs, teams = net
    done = run(hvdedge, folder, "--to", "extract")
    assert done.status == 0, done.err
    assert "edges left out: file = " in done.out
    made = folder / "results/net/a"
    found = matrix(pairs, NODES)
    profile = json.loads((made / "data_profile.json").read_text())["graph"]
    assert (profile["nodes"], profile["edges"], profile["unknown"]) == (NODES, found.nnz // 2, 1)
    ends = teams[np.array(found.nonzero())]
    assert profile["homophily"] == pytest.approx((ends[0] == ends[1]).mean())
    assert record(made, "profile")["metrics"]["graph"] == profile
    metrics = record(made, "extract")["metrics"]
    assert metrics["rows"] == {"train": 40, "validation": 40, "test": 40}
    assert metrics["rows_left_out"] == {"in no split": 80}
    assert metrics["graph"]["edges"] == found.nnz // 2
    assert metrics["shape"] == []
    reader = open_features(made / "features.h5")
    block = reader.graph(slice(None))
    assert block.split.tolist() == [0, 1, 2, 255, 255] * 40
    assert block.y.tolist() == teams.tolist()
    assert reader.read("test", slice(None))[0].tolist() == list(range(2, NODES, 5))
    assert len(block.indices) == found.nnz + NODES
    done = run(hvdedge, folder, "--from", "train", "--to", "train")
    assert done.status == 2
    assert "train.model: received 'dense', which takes images, vectors, windows, for the nodes of" in done.err
    assert len(done.err.splitlines()) == 1, done.err


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (["extract.edges=none.tsv"], "extract.edges: received 'none.tsv', found neither in"),
        (["extract.edges=nodes.csv"], "nodes.csv' with 6 columns, allowed: 2, the ids of the nodes that an edge joins"),
        (["profile.graph.edges=nodes.csv"], "profile.graph.edges: received"),
        (["extract.id=team"], "extract.id: received 'team', in which 197 rows repeat the id of another"),
        (
            ["extract.edges=strangers.csv"],
            "strangers.csv' with 1 edges, none between two values of 'name' ('somebody')",
        ),
        (["extract.by=team"], "extract.by: received a column with 'team "),
        (["extract.pca.components=2"], "extract.pca: received a section for a graph's nodes, allowed: none"),
        (["extract.directed=true"], "extract.normalize: received 'symmetric' with directed = true"),
    ],
)
def test_what_is_no_graph_is_told_in_one_line(net, hvdedge, changes, line):
    folder = net[0]
    words = [word for change in changes for word in ("--set", change)]
    done = run(hvdedge, folder, "--to", "extract", *words)
    assert done.status == 2
    assert line in done.err
    assert len(done.err.splitlines()) == 1, done.err

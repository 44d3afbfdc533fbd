"""A graph in one archive from its file to the scores of a network, on two ranks that hold half of it each."""

import numpy as np
import pytest
from small_archives import archive

TOML = """case = "papers"
memory = "64MB"
[prepare]
reader = "graph_npz"
source = "papers.npz"
[extract]
extractor = "graph"
edges = "{run}/raw/edges.parquet"
split = "given"
by = "split"
[train]
model = "gcn"
strategy = "graph_parallel"
epochs = 2
patience = 2
"""


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("papers")
    np.savez(folder / "papers.npz", **archive(40))
    (folder / "papers.toml").write_text(TOML)
    return folder


def run(hvdedge, folder, *words):
    return hvdedge("run", folder / "papers.toml", "--ranks", 2, "--results", folder / "results", "--run", "a", *words)


def test_a_network_on_a_graph_is_trained_in_parts_and_judged(papers, hvdedge, record):
    done = run(hvdedge, papers, "--to", "evaluate")
    assert done.status == 0, done.err
    made = papers / "results/papers/a"
    assert "edges left out: file = " in done.out
    assert record(made, "prepare")["metrics"]["files"] == [{"file": "papers.npz", "rows": 40}]
    assert record(made, "extract")["metrics"]["rows"] == {"train": 9, "validation": 6, "test": 18}
    assert record(made, "extract")["metrics"]["rows_left_out"] == {"no label": 1, "in no split": 6}
    assert record(made, "extract")["metrics"]["graph"]["lines"] == 80 + 2
    trained = record(made, "train")
    assert trained["metrics"]["held_nodes"] == [20, 20] and min(trained["metrics"]["halo_nodes"]) > 0
    assert trained["metrics"]["steps"] == 2 and trained["metrics"]["parameters"] == 5 * 16 + 16 * 3
    assert all(rank["bytes_sent"] for rank in trained["ranks"])
    assert 0 <= record(made, "evaluate")["metrics"]["accuracy"] <= 1


@pytest.mark.slow
def test_rows_are_shared_with_neighbours_drawn(papers, hvdedge, record):
    changes = ["strategy=ring_allreduce", "neighbours=[2, 2]", "batch_size=3", "precision=bfloat16"]
    words = [word for change in changes for word in ("--set", f"train.{change}")]
    done = run(hvdedge, papers, "--to", "evaluate", *words)
    assert done.status == 0, done.err
    assert record(papers / "results/papers/a", "train")["metrics"]["steps"] == 4


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("compress.prune.sparsity=0.5", "compress: received a section for 'gcn', whose graph is no part of the model"),
        ("train.model=embedding", "allowed: gcn; change one"),
    ],
)
def test_what_does_not_fit_a_graph_is_told_before_anything_runs(papers, hvdedge, change, line):
    done = run(hvdedge, papers, "--set", change)
    assert done.status == 2
    assert line in done.err
    assert len(done.err.splitlines()) == 1, done.err

"""What is told of a graph, held against scipy, numpy and what is known of Cora."""

import cora
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from small_graphs import edges_csv, matrix, random_pairs
from small_tables import table_of

from hvdedge.errors import InputError
from hvdedge.profiling.graph import profile
from hvdedge.tables import Table


def adjusted(found, labels) -> float:
    """Return the class-adjusted homophily, node by node as its paper has it."""
    of = np.asarray(labels)
    known = {name for name in labels if name is not None}
    nodes = sum(name is not None for name in labels)
    total = 0.0
    for name in known:
        mine = np.flatnonzero(of == name)
        ends = same = 0
        for node in mine:
            others = [of[other] for other in found[node].indices if of[other] is not None]
            ends, same = ends + len(others), same + sum(other == name for other in others)
        total += max(0.0, (same / ends if ends else 0.0) - len(mine) / nodes)
    return total / (len(known) - 1)


@pytest.mark.parametrize("seed", range(3))
def test_the_figures_are_scipys(comm, workspace, tmp_path, seed):
    pairs, nodes = random_pairs(300, 250, seed), 300
    draw = np.random.default_rng(seed)
    labels = draw.choice([*"abc", None], nodes, p=[0.5, 0.3, 0.1, 0.1]).tolist()
    table = table_of(workspace, id=np.arange(nodes), label=labels)
    told = profile(table, comm, edges=edges_csv(tmp_path / "e.csv", pairs), label="label")["graph"]
    found = matrix(pairs, nodes)
    degrees = np.diff(found.indptr)
    assert told["nodes"] == 300
    assert told["edges"] == found.nnz // 2
    assert told["density"] == found.nnz / (300 * 299)
    assert told["isolated"] == (degrees == 0).sum() > 0
    assert told["degrees"]["mean"] == pytest.approx(degrees.mean(), rel=1e-12)
    assert (told["degrees"]["min"], told["degrees"]["max"]) == (0, degrees.max())
    for probability, degree in told["degrees"]["quantiles"].items():
        assert degree == np.quantile(degrees, float(probability), method="inverted_cdf")
    bars = told["degrees"]["histogram"]
    assert sum(bar["nodes"] for bar in bars) == 300
    for bar in bars:
        assert bar["nodes"] == ((degrees >= bar["from"]) & (degrees <= bar["to"])).sum()
    count, part = connected_components(found)
    assert told["components"] == {"count": count, "largest": sorted(np.bincount(part).tolist())[::-1][:10]}
    one, other = np.array(labels, object)[np.array(found.nonzero())]
    known = np.not_equal(one, None) & np.not_equal(other, None)
    assert told["homophily"] == pytest.approx((one == other)[known].mean(), rel=1e-12)
    assert told["homophily_adjusted"] == pytest.approx(adjusted(found, labels), rel=1e-12)


def test_directed_edges_have_degrees_of_both_ends_and_weak_components(comm, workspace, tmp_path):
    pairs = random_pairs(40, 60)
    labels = [f"{number % 3}" for number in range(40)]
    table = table_of(workspace, id=np.arange(40), label=labels)
    path = edges_csv(tmp_path / "e.csv", pairs)
    told = profile(table, comm, edges=path, label="label", directed=True)["graph"]
    found = matrix(pairs, 40, directed=True)
    out, into = np.diff(found.indptr), np.asarray(found.sum(axis=0)).ravel()
    assert told["density"] == found.nnz / (40 * 39)
    assert told["degrees"]["max"] == out.max()
    assert told["in_degrees"]["max"] == into.max()
    assert told["in_degrees"]["quantiles"]["0.75"] == np.quantile(into, 0.75, method="inverted_cdf")
    assert told["isolated"] == ((out == 0) & (into == 0)).sum()
    assert told["components"]["count"] == connected_components(found)[0]
    whole = found + found.T  # a pair with edges both ways counts twice
    ends = [int(whole[node].data.sum()) for node in range(40)]
    same = [int(whole[node].data[whole[node].indices % 3 == node % 3].sum()) for node in range(40)]
    assert told["homophily"] == pytest.approx(sum(same) / sum(ends), rel=1e-12)
    shares = [sum(same[k::3]) / sum(ends[k::3]) - len(ends[k::3]) / 40 for k in range(3)]
    assert told["homophily_adjusted"] == pytest.approx(sum(max(0, share) for share in shares) / 2, rel=1e-12)


def test_what_cannot_be_told_is_null(comm, workspace, tmp_path):
    path = edges_csv(tmp_path / "e.csv", [(1, 1)])
    told = profile(table_of(workspace, id=[1], label=["a"]), comm, edges=path, label="label")["graph"]
    assert (told["nodes"], told["edges"], told["self_loops"], told["isolated"]) == (1, 0, 1, 1)
    assert told["density"] is told["homophily"] is told["homophily_adjusted"] is None
    path = edges_csv(tmp_path / "e.csv", [(1, 2)])
    alike = table_of(workspace, id=[1, 2], label=["a", "a"])
    told = profile(alike, comm, edges=path, label="label")["graph"]
    assert (told["homophily"], told["homophily_adjusted"]) == (1.0, None)
    assert profile(alike, comm, edges=path)["graph"]["homophily"] is None


def test_a_label_that_is_none_is_refused(comm, workspace, tmp_path):
    path = edges_csv(tmp_path / "e.csv", [(1, 2)])
    with pytest.raises(InputError, match="profile.graph.label: received 'kind', which is no column of classes"):
        profile(table_of(workspace, id=[1, 2]), comm, edges=path, label="kind")
    many = table_of(workspace, 8192, id=np.arange(10_001))
    with pytest.raises(InputError, match="profile.graph.label: received 'id' with over 10000 different labels"):
        profile(many, comm, edges=path, label="id")
    with pytest.raises(Exception, match="profile.graph.edges: received '', which is no file"):
        profile(many, comm)


def test_cora_is_what_is_known_of_it(comm, workspace, tmp_path):
    arrays = cora.write(tmp_path)
    rows = cora.nodes(arrays).select(["id", "label"])
    table = Table.from_batches(rows.schema, rows.to_batches(), workspace)
    told = profile(table, comm, edges=str(tmp_path / "edges.csv"), label="label")["graph"]
    assert (told["nodes"], told["edges"], told["components"]["count"]) == (2708, 5278, 78)
    assert told["components"]["largest"][0] == 2485
    assert told["homophily"] == pytest.approx(0.81, abs=0.005)
    assert told["homophily_adjusted"] == pytest.approx(0.766, abs=0.001)  # as Lim et al. 2021 have it
    assert told["degrees"]["max"] == 168

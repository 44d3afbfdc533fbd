"""The digits as a graph: neighbours as scikit-learn finds them, splits of the sizes asked for, and refusals."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from digit_rows import load_digits
from sklearn.neighbors import NearestNeighbors

from hvdedge.datasets import digits_graph
from hvdedge.errors import RankError
from hvdedge.workspace import Source


@pytest.fixture
def read(workspace, comm):
    """Read the digits; return the table as lists by column, and the edges, (edges, 2)."""

    def run(**options):
        table = digits_graph.read(Source((), workspace), comm, **options)
        edges = pq.read_table(workspace.run / "raw/edges.parquet")
        return table.to_arrow().to_pydict(), np.stack([np.asarray(column) for column in edges.columns], axis=1)

    return run


def test_each_digit_leads_to_its_nearest(read):
    x, y = load_digits()
    rows, edges = read(neighbours=3)
    assert np.array(rows["pixels"]).tolist() == x.reshape(len(x), -1).tolist() and rows["label"] == y.tolist()
    assert edges[:, 0].tolist() == np.repeat(np.arange(1797), 3).tolist()
    assert (edges[:, 0] != edges[:, 1]).all()
    flat = x.reshape(len(x), -1).astype(float)
    found = ((flat[edges[:, 0]] - flat[edges[:, 1]]) ** 2).sum(axis=1).reshape(-1, 3)
    wanted = NearestNeighbors(n_neighbors=4).fit(flat).kneighbors(flat)[0][:, 1:] ** 2
    np.testing.assert_allclose(found, wanted, rtol=1e-9)  # distances, as of two that are as near either may be first


def test_as_many_are_labelled_and_validated_as_asked_for(read):
    rows, _ = read(labelled=5, validated=100, seed=1)
    split, label = np.array(rows["split"]), np.array(rows["label"])
    assert np.bincount(label[split == "train"]).tolist() == [5] * 10
    assert ((split == "validation").sum(), (split == "test").sum()) == (100, 1797 - 150)
    assert read(labelled=5, validated=100, seed=1)[0] == rows
    assert read(labelled=5, validated=100, seed=2)[0]["split"] != rows["split"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"labelled": 200}, "prepare.labelled: received 200, allowed: 1 to 174"),
        ({"validated": 1597}, "prepare.validated: received 1597, allowed: 0 to 1596"),
        ({"neighbours": 1797}, "prepare.neighbours: received 1797, allowed: 1 to 1796"),
    ],
)
def test_more_than_there_are_is_refused(read, options, told):
    with pytest.raises(RankError, match=told):
        read(**options)

"""Graphs written down in a test: nodes as a table, edges as a file, and the same as a matrix of scipy."""

import numpy as np
import scipy.sparse

from hvdedge.graph_tensors import GraphBlock


def edges_csv(path, pairs, names: str = "source,target", separator: str = ",") -> str:
    """Write edges, a line each, below names unless there are none; return the path."""
    lines = [names.replace(",", separator)] * bool(names) + [f"{a}{separator}{b}" for a, b in pairs]
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def matrix(pairs, nodes: int, directed: bool = False) -> scipy.sparse.csr_matrix:
    """Return the adjacency of edges between nodes: 1 for each, none from a node to itself."""
    a, b = np.array(pairs, np.int64).reshape(-1, 2).T
    a, b = a[a != b], b[a != b]
    if not directed:
        a, b = np.concatenate([a, b]), np.concatenate([b, a])
    found = scipy.sparse.csr_matrix((np.ones(len(a)), (a, b)), (nodes, nodes))
    found.data[:] = 1
    found.sort_indices()
    return found


def random_pairs(nodes: int, edges: int, seed: int = 0) -> np.ndarray:
    """Return edges between nodes drawn at random, the first nodes more often; some loops, some more than once."""
    draw = np.random.default_rng(seed)
    return (nodes * draw.random((edges, 2)) ** 2).astype(np.int64)


def normalized(pairs, nodes: int) -> scipy.sparse.csr_matrix:
    """Return A_hat of edges, each node with one to itself: float32."""
    whole = matrix(pairs, nodes) + scipy.sparse.identity(nodes)
    scale = scipy.sparse.diags(np.asarray(whole.sum(axis=1)).ravel() ** -0.5)
    return scipy.sparse.csr_matrix(scale @ whole @ scale).astype(np.float32)


class GraphRows:
    """A random graph of nodes in three classes, as `features.h5` would offer it.

    Of five nodes two are for training, one each for validation and the test, one is in no split.

    Attributes:
        adjacency, x: A_hat, and the features of all nodes, about half of them 0.
    """

    def __init__(self, nodes: int, features: int = 5, edges: int = 0, seed: int = 0):
        draw = np.random.default_rng(seed)
        self.adjacency = normalized(random_pairs(nodes, edges or 2 * nodes, seed), nodes)
        self._y = draw.integers(0, 3, nodes)
        x = draw.normal(size=(nodes, features)) + self._y[:, None]
        self.x = (x * draw.integers(0, 2, x.shape)).astype(np.float32)
        self._split = (np.arange(nodes) % 5).astype(np.uint8)
        self.spec = {"task": "classification", "input_shape": [], "classes": [*"abc"]}
        self.spec["graph"] = {"nodes": nodes, "features": features}

    def rows(self, split):
        return len(self._nodes(split))

    def read(self, split, rows):
        nodes = self._nodes(split)[rows]
        return nodes, self._y[nodes]

    def stored(self, split, rows):
        return self.read(split, rows)

    def unpack(self, stored):
        return stored

    def labels(self):
        return self.read("train", slice(None))[1]

    def weights(self, rows):
        return np.ones(self.rows("train"), np.float32)[rows]

    def graph(self, nodes):
        rows = self.adjacency[nodes]
        here = self.x[nodes], self._y[nodes], self._split[nodes]
        return GraphBlock(nodes.start, rows.indptr.astype(np.int64), rows.indices.astype(np.int64), rows.data, *here)

    def _nodes(self, split):
        codes = {"train": (0, 1), "validation": (2,), "test": (3,)}[split]
        return np.flatnonzero(np.isin(self._split, codes))

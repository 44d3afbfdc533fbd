"""Graphs written down in a test: nodes as a table, edges as a file, and the same as a matrix of scipy."""

import numpy as np
import scipy.sparse


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

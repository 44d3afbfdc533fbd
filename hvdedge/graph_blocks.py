"""What graph convolutions need to tell some nodes: rows of the adjacency, layer by layer, and features at their end.

    nodes asked for     7                   3 nodes lead to 7 and itself; 5 nodes lead to these
    block of layer 2    1 x 3 of A_hat      its columns are the nodes that layer 1 has to tell
    block of layer 1    3 x 5 of A_hat      its columns are the nodes of which features are needed
    features            5 x f

With all neighbours the product of the blocks is the rows of A_hat^layers, so the nodes are told as by the whole graph.
With `neighbours` k of a layer, each node keeps its edge to itself and k others, drawn without replacement and weighing
d / k times as much where it has d: the expectation of a block is that of A_hat.

Source: Hamilton, Ying and Leskovec 2017, Inductive representation learning on large graphs (the sampling).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, vstack

from hvdedge.tensors import FeatureReader

BLOCK_NUMBERS = 1 << 22  # features read at once


@dataclass(frozen=True)
class GraphStore:
    """A graph in memory.

    Attributes:
        adjacency: float32, nodes x nodes.
        features: float32, nodes x features; sparse, as those of a bag of words are.
    """

    adjacency: csr_matrix
    features: csr_matrix

    def around(
        self, nodes: np.ndarray, layers: int, neighbours: Sequence[int] = (), draw: np.random.Generator | None = None
    ) -> list[csr_matrix]:
        """Return the features, and the block of each layer, the first one first.

        Args:
            nodes: their numbers, int64, in any order, repeats allowed.
            neighbours: of each layer, the first one first, how many are drawn; none: all of them.
            draw: what they are drawn with.
        """
        blocks: list[csr_matrix] = []
        for layer in reversed(range(layers)):
            rows = self.adjacency[nodes]
            if neighbours and draw is not None:
                rows = sampled(rows, nodes, neighbours[layer], draw)
            nodes, columns = np.unique(rows.indices, return_inverse=True)
            blocks.insert(0, csr_matrix((rows.data, columns, rows.indptr), (rows.shape[0], len(nodes))))
        return [self.features[nodes], *blocks]


@dataclass(frozen=True)
class StorePart:
    """A rank's block of the nodes of a graph: rows of the adjacency, whose columns are its own nodes, then their halo.

    Attributes:
        start: the number of its first node.
    """

    start: int
    adjacency: csr_matrix
    features: csr_matrix

    def around(
        self, nodes: np.ndarray, layers: int, neighbours: Sequence[int] = (), draw: np.random.Generator | None = None
    ) -> list[csr_matrix]:
        """Return the features of all nodes here, and a block of all rows for each layer, the last of those asked for.

        Between the layers the vectors of the halo are to be had from other ranks.
        """
        return [self.features, *[self.adjacency] * (layers - 1), self.adjacency[nodes - self.start]]


def sampled(rows: csr_matrix, nodes: np.ndarray, neighbours: int, draw: np.random.Generator) -> csr_matrix:
    """Return rows of an adjacency with so many entries each, drawn at random, and that of the node itself.

    Args:
        nodes: whose rows they are.
    """
    sizes = np.diff(rows.indptr)
    row = np.repeat(np.arange(len(sizes)), sizes)
    is_own = rows.indices == nodes[row]
    order = np.lexsort((np.where(is_own, -1.0, draw.random(len(row))), row))
    own = np.bincount(row[is_own], minlength=len(sizes))
    others = (sizes - own)[row]
    kept = np.sort(order[np.arange(len(row)) - rows.indptr[row] < neighbours + own[row]])
    scale = np.where(is_own, 1.0, np.maximum(others / neighbours, 1.0))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=len(sizes)))])
    return csr_matrix(((rows.data * scale)[kept].astype(np.float32), rows.indices[kept], indptr), rows.shape)


def read_store(reader: FeatureReader) -> GraphStore:
    """Return the graph among features."""
    return GraphStore(*read_rows(reader, slice(0, reader.spec["graph"]["nodes"])))


def read_rows(reader: FeatureReader, nodes: slice) -> tuple[csr_matrix, csr_matrix]:
    """Return rows of the adjacency of a graph among features, and the features of these nodes.

    They are read block by block, as the features on disk are not sparse.
    """
    told = reader.spec["graph"]
    size = max(BLOCK_NUMBERS // told["features"], 1)
    adjacency = [csr_matrix((0, told["nodes"]), dtype=np.float32)]
    features = [csr_matrix((0, told["features"]), dtype=np.float32)]
    for start in range(nodes.start, nodes.stop, size):
        block = reader.graph(slice(start, min(start + size, nodes.stop)))
        shape = len(block.y), told["nodes"]
        adjacency.append(csr_matrix((block.data, block.indices, block.indptr), shape))
        features.append(csr_matrix(block.x))
    return vstack(adjacency, "csr"), vstack(features, "csr")

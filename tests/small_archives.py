"""A small graph as the archive that `graph_npz` reads, to be changed by a test."""

import numpy as np
from small_graphs import GraphRows, random_pairs


def archive(nodes: int = 30, **changes) -> dict[str, np.ndarray]:
    """Return the arrays of a graph of words, the last node without one and without a label; None takes one away."""
    rows = GraphRows(nodes)
    words = (rows.x > 0.5)[: nodes - 1]
    labels = np.append([0, 1, 2] * nodes, 0)[:nodes].astype(np.int8)
    labels[-1] = -1
    arrays = {
        "feat_indptr": np.append(np.append(0, np.cumsum(words.sum(axis=1))), words.sum()).astype(np.int32),
        "feat_indices": words.nonzero()[1].astype(np.int32),
        "feat_data": np.ones(words.sum(), np.float32),
        "feat_shape": np.array([nodes, words.shape[1]]),
        "labels": labels,
        "edges": np.sort(random_pairs(nodes, 2 * nodes), axis=1).astype(np.int32),
        "self_loops": np.array([3, 5], np.int32),
        "train_idx": np.arange(0, 9),
        "val_idx": np.arange(20, 14, -1),
        "test_idx": np.arange(21, nodes - 1),
    }
    return {name: value for name, value in {**arrays, **changes}.items() if value is not None}

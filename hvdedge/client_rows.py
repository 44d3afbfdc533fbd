"""Which client has which rows: dealt alike, each label's rows by shares that differ from client to client, or as given.

Source: Hsu, Qi and Brown 2019, Measuring the effects of non-identical data distribution for federated visual
classification (shares of a label drawn from a Dirichlet distribution).
"""

import numpy as np

DRAWS = 100  # until no client is without rows


def alike(rows: int, clients: int, seed: int) -> list[np.ndarray]:
    """Return the rows of each client, rising: drawn at random, as many for each as for the others, or one more."""
    order = np.random.default_rng([seed, clients]).permutation(rows)
    return [np.sort(order[client::clients]) for client in range(clients)]


def by_label(labels: np.ndarray, clients: int, alpha: float, seed: int) -> list[np.ndarray]:
    """Return the rows of each client, rising: of each label in shares drawn from a Dirichlet distribution.

    Shares are drawn anew while a client has no row, `DRAWS` times at most.

    Args:
        labels: of all rows, (rows,).
        alpha: small ones give each client few labels, large ones all alike.
    """
    found: list[np.ndarray] = []
    for draw in range(DRAWS):
        random = np.random.default_rng([seed, clients, draw])
        parts: list[list[np.ndarray]] = [[] for _ in range(clients)]
        for label in np.unique(labels):
            rows = random.permutation(np.flatnonzero(labels == label))
            ends = np.round(np.cumsum(random.dirichlet([alpha] * clients)) * len(rows)).astype(np.int64)
            for part, mine in zip(parts, np.split(rows, ends[:-1]), strict=True):
                part.append(mine)
        found = [np.sort(np.concatenate([np.empty(0, np.int64), *part])) for part in parts]
        if all(map(len, found)):
            break
    return found


def by_client(clients: np.ndarray, ranks: int) -> list[np.ndarray]:
    """Return the rows of each rank, rising: those of whole clients, the largest first to the rank with fewest rows.

    Args:
        clients: the number of the client of each row, (rows,).
    """
    numbers, sizes = np.unique(clients, return_counts=True)
    held = np.zeros(ranks, np.int64)
    owner = np.empty(len(numbers), np.int64)
    for place in np.argsort(-sizes, kind="stable"):
        owner[place] = held.argmin()
        held[owner[place]] += sizes[place]
    of_row = owner[np.searchsorted(numbers, clients)]
    return [np.flatnonzero(of_row == rank) for rank in range(ranks)]

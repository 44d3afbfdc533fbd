"""From pairs that match to clusters: transitive closure over all ranks, and a guard against chains.

Two alike records are one; so are those tied by others between them, unless they disagree. In a cluster with pairs that
speak against it, groups are joined anew, best pair first, as long as the evidence between all members of two groups,
added up, is for it (average linkage). In a large cluster some pairs are drawn to tell. A link of files that have no
duplicates inside takes the best pair of each record only.

Source: Shiloach and Vishkin 1982, An O(log n) parallel connectivity algorithm; Bansal, Blum and Chawla 2004,
Correlation clustering.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np
from mpi4py import MPI

from hvdedge.fields import Records, Rows
from hvdedge.mixing import mix
from hvdedge.parallel import counts, exchange_runs, fetch_rows, send_rows

COMPARED = 40  # members of a cluster that are all compared with each other
DRAWN = COMPARED * (COMPARED - 1) // 2  # pairs of a larger one that are compared beside its candidates
INSIDE = 0.2  # share of clusters with two matching records of one file, up to which a link is one to one
ROUND_PAIRS = 1 << 15
PAIR = np.dtype(
    [("cluster", np.int64), ("a", np.int64), ("b", np.int64), ("score", np.float64), ("drawn", np.bool_)]
)  # drawn: of a cluster of which not all pairs are compared
Score = Callable[[Rows, np.ndarray, np.ndarray], np.ndarray]


def components(a: np.ndarray, b: np.ndarray, here: int, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return for each of this rank's records the first of those it is tied to, global numbers, int64.

    Args:
        a, b: this rank's share of the ties, global numbers.
        here: how many records this rank has.
    """
    starts = np.concatenate([[0], np.cumsum(counts(here, comm))])
    start = int(starts[comm.rank])
    first = np.arange(start, start + here)
    while True:
        x, y = fetch_rows(first, a, comm), fetch_rows(first, b, comm)
        apart = x != y
        more = np.array(apart.any(), np.int64)
        comm.Allreduce(MPI.IN_PLACE, more, op=MPI.MAX)
        if not more:
            return first
        ties = np.stack([np.maximum(x, y)[apart], np.minimum(x, y)[apart]], axis=1)
        part = send_rows(ties, np.searchsorted(starts, ties[:, 0], side="right") - 1, comm)
        np.minimum.at(first, part[:, 0] - start, part[:, 1])
        while True:
            tied = np.flatnonzero(first != np.arange(start, start + here))
            above = fetch_rows(first, first[tied], comm)
            moved = np.array((above != first[tied]).any(), np.int64)
            first[tied] = above
            comm.Allreduce(MPI.IN_PLACE, moved, op=MPI.MAX)
            if not moved:
                break


def copies(keys: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return for each of this rank's rows the first row of all that is equal to it, global numbers, int64.

    Args:
        keys: a hash of each row, uint64; equal ones are equal rows.
    """
    numbers = counts(len(keys), comm)[: comm.rank].sum() + np.arange(len(keys))
    owner = (keys % np.uint64(comm.size)).astype(np.int64)
    order = np.argsort(owner, kind="stable")
    told = np.stack([keys, numbers.astype(np.uint64)], axis=1)[order]
    told, sizes = exchange_runs(told, np.bincount(owner, minlength=comm.size), comm)
    kinds, which = np.unique(told[:, 0], return_inverse=True)
    first = np.full(len(kinds), np.iinfo(np.int64).max)
    np.minimum.at(first, which, told[:, 1].astype(np.int64))
    found = np.empty(len(keys), np.int64)
    found[order] = exchange_runs(first[which], sizes, comm)[0]
    return found


def clusters(
    a: np.ndarray,
    b: np.ndarray,
    scores: np.ndarray,
    records: Records,
    score: Score,
    link: bool,
    one_to_one: bool | None,
    comm: MPI.Intracomm,
) -> tuple[np.ndarray, dict[str, int]]:
    """Collective. Return for each of this rank's records the first of its cluster, and counts of what was done.

    Args:
        a, b, scores: this rank's share of the candidates, each pair once; those above zero match.
        score: gives the scores of pairs `rows[a]`, `rows[b]` of records.
        link: pairs of different files only.
        one_to_one: whether a cluster has one record of a file at most; None: in a link whose files have few duplicates.
    """
    here = records.here
    match = scores > 0
    first = components(a[match], b[match], here, comm)
    pairs = _to_owners(first, a, b, scores, comm)
    pairs = _completed(pairs, records, score, comm)
    a, b = pairs["a"], pairs["b"]
    files = _fetched(records.cells["file"], a, comm), _fetched(records.cells["file"], b, comm)
    if one_to_one is None:
        one_to_one = link and _have_no_duplicates(pairs, files[0] == files[1], comm)
    edges = np.flatnonzero(np.diff(pairs["cluster"], prepend=-1, append=-1)) if len(pairs) else np.zeros(1, np.int64)
    ties: list[tuple[int, int]] = []
    split = 0
    doubted = _doubted(pairs, edges)
    for first_place, last, is_doubted in zip(edges[:-1].tolist(), edges[1:].tolist(), doubted.tolist(), strict=True):
        here_pairs = pairs[first_place:last]
        if last - first_place == 1 or not (is_doubted or one_to_one):
            ties += zip(here_pairs["a"].tolist(), here_pairs["b"].tolist(), strict=True)
            continue
        of = dict(zip(here_pairs["a"].tolist(), files[0][first_place:last].tolist(), strict=True))
        of |= dict(zip(here_pairs["b"].tolist(), files[1][first_place:last].tolist(), strict=True))
        drawn = here_pairs["score"][here_pairs["drawn"]]  # none where all pairs are compared
        joined = _joined(here_pairs, of if one_to_one else None, float(drawn.mean()) if len(drawn) else 0.0)
        split += len(joined) < len(of) - 1
        ties += joined
    told = np.array(split, np.int64)
    comm.Allreduce(MPI.IN_PLACE, told, op=MPI.SUM)
    kept = np.array(ties, np.int64).reshape(-1, 2)
    return components(kept[:, 0], kept[:, 1], here, comm), {"clusters_split": int(told), "one_to_one": int(one_to_one)}


def stand_out(
    a: np.ndarray, b: np.ndarray, scores: np.ndarray, margin: float, here: int, comm: MPI.Intracomm
) -> np.ndarray:
    """Collective. Return which pairs are better by `margin` than all others of both their records.

    Args:
        a, b, scores: this rank's share of the pairs, each once; of how many records of its own is `here`.
    """
    starts = np.concatenate([[0], np.cumsum(counts(here, comm))])
    told = np.empty(2 * len(a), [("row", np.int64), ("score", np.float64)])
    told["row"], told["score"] = np.concatenate([a, b]), np.concatenate([scores, scores])
    told = send_rows(told, np.searchsorted(starts, told["row"], side="right") - 1, comm)
    told = told[np.lexsort((-told["score"], told["row"]))]
    places = told["row"] - starts[comm.rank]
    first = np.flatnonzero(np.diff(places, prepend=-1))
    bars = np.full((here, 2), -np.inf)  # the best and the second best score of each record
    bars[places[first], 0] = told["score"][first]
    second = first[(first + 1 < len(places)) & (np.append(places, -1)[first + 1] == places[first])] + 1
    bars[places[second], 1] = told["score"][second]
    found = np.ones(len(a), bool)
    for side in (a, b):
        of = fetch_rows(bars, side, comm)
        found &= (scores == of[:, 0]) & (scores >= of[:, 1] + margin)
    return found


def _to_owners(first: np.ndarray, a: np.ndarray, b: np.ndarray, scores: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the pairs inside the clusters that this rank looks after, sorted by cluster."""
    cluster, other = fetch_rows(first, a, comm), fetch_rows(first, b, comm)
    inside = cluster == other
    pairs = np.zeros(int(inside.sum()), PAIR)
    for name, values in (("cluster", cluster), ("a", a), ("b", b), ("score", scores)):
        pairs[name] = values[inside]
    owner = (mix(pairs["cluster"]) % np.uint64(comm.size)).astype(np.int64)
    arrived = send_rows(pairs, owner, comm)
    return arrived[np.lexsort((arrived["b"], arrived["a"], arrived["cluster"]))]


def _completed(pairs: np.ndarray, records: Records, score: Score, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the pairs and those that were no candidates: of clusters of up to `COMPARED` records all, of
    others some that are drawn."""
    members = np.unique(
        np.concatenate([np.stack([pairs["cluster"], pairs[side]], axis=1) for side in ("a", "b")]), axis=0
    )
    edges = np.flatnonzero(np.diff(members[:, 0], prepend=-1, append=-1)) if len(members) else np.zeros(1, np.int64)
    sizes = np.diff(edges)
    absent = [np.empty(0, PAIR)]
    for size in range(3, COMPARED + 1):
        chosen = np.flatnonzero(sizes == size)
        if not len(chosen):
            continue
        rows = members[edges[chosen][:, None] + np.arange(size)]  # (clusters, members, 2)
        left, right = np.array([*combinations(range(size), 2)]).T
        made = np.zeros((len(chosen), len(left)), PAIR)
        made["cluster"], made["a"], made["b"] = rows[:, :1, 0], rows[:, left, 1], rows[:, right, 1]
        absent.append(made.reshape(-1))
    absent += [_drawn(members[edges[place] : edges[place + 1]]) for place in np.flatnonzero(sizes > COMPARED)]
    every = np.concatenate(absent)
    known = pairs["a"] * records.total + pairs["b"]
    every = every[~np.isin(every["a"] * records.total + every["b"], known)]
    steps = np.array(-(-len(every) // ROUND_PAIRS), np.int64)
    comm.Allreduce(MPI.IN_PLACE, steps, op=MPI.MAX)
    for step in range(int(steps)):
        part = every[step * ROUND_PAIRS : (step + 1) * ROUND_PAIRS]
        numbers, places = np.unique(np.concatenate([part["a"], part["b"]]), return_inverse=True)
        rows = records.fetch(numbers, comm)
        part["score"] = score(rows, places[: len(part)], places[len(part) :])
    found = np.concatenate([pairs, every])
    return found[np.lexsort((found["b"], found["a"], found["cluster"]))]


def _drawn(members: np.ndarray) -> np.ndarray:
    """Return `DRAWN` pairs, or fewer, of one cluster's `members`, (cluster, record) each; the same on any rank."""
    two = np.sort(np.random.default_rng(int(members[0, 0])).integers(0, len(members), (DRAWN, 2)), axis=1)
    two = np.unique(two[two[:, 0] < two[:, 1]], axis=0)
    made = np.zeros(len(two), PAIR)
    made["cluster"], made["drawn"] = members[0, 0], True
    made["a"], made["b"] = members[two, 1].T
    return made


def _doubted(pairs: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return in which clusters, each from one of `edges` to the next, a compared pair speaks against them, or those
    drawn do on the whole."""
    if not len(pairs):
        return np.empty(0, bool)
    compared = np.where(pairs["drawn"], np.inf, pairs["score"])
    drawn = np.add.reduceat(np.where(pairs["drawn"], pairs["score"], 0.0), edges[:-1])
    counted = np.add.reduceat(pairs["drawn"].astype(np.int64), edges[:-1])
    return (np.minimum.reduceat(compared, edges[:-1]) <= 0) | ((counted > 0) & (drawn <= 0))


def _fetched(values: np.ndarray, rows: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the values of the records `rows`, in rounds of as many."""
    steps = np.array(-(-len(rows) // ROUND_PAIRS), np.int64)
    comm.Allreduce(MPI.IN_PLACE, steps, op=MPI.MAX)
    values = np.ascontiguousarray(values)
    parts = [fetch_rows(values, rows[n * ROUND_PAIRS : (n + 1) * ROUND_PAIRS], comm) for n in range(int(steps))]
    return np.concatenate([values[:0], *parts])


def _have_no_duplicates(pairs: np.ndarray, in_one_file: np.ndarray, comm: MPI.Intracomm) -> bool:
    """Collective. Tell whether in few clusters only two records of one file match."""
    inside = np.unique(pairs["cluster"][in_one_file & (pairs["score"] > 0)])
    told = np.array([len(inside), len(np.unique(pairs["cluster"]))], np.int64)
    comm.Allreduce(MPI.IN_PLACE, told, op=MPI.SUM)
    return bool(told[0] <= INSIDE * told[1])


def _joined(pairs: np.ndarray, files: dict[int, int] | None, absent: float) -> list[tuple[int, int]]:
    """Return the ties that are left of one cluster.

    Args:
        absent: the score of a pair that was not compared.
        files: the file of each record, where a cluster may have one record of each only.
    """
    order = np.lexsort((pairs["b"], pairs["a"], -pairs["score"]))
    group = {row: row for row in (*pairs["a"].tolist(), *pairs["b"].tolist())}
    members = {row: [row] for row in group}
    between: dict[int, dict[int, tuple[float, int]]] = {row: {} for row in group}
    for a, b, score in zip(pairs["a"].tolist(), pairs["b"].tolist(), pairs["score"].tolist(), strict=True):
        between[a][b] = between[b][a] = (score, 1)
    ties = []
    for place in order.tolist():
        a, b, score = int(pairs["a"][place]), int(pairs["b"][place]), float(pairs["score"][place])
        one, other = group[a], group[b]
        if score <= 0:
            break
        if one == other:
            continue
        if files is not None and {files[row] for row in members[one]} & {files[row] for row in members[other]}:
            continue
        total, known = between[one].get(other, (0.0, 0))
        if total + absent * (len(members[one]) * len(members[other]) - known) <= 0:
            continue
        ties.append((a, b))
        if len(between[one]) < len(between[other]):
            one, other = other, one
        for row in members[other]:
            group[row] = one
        members[one] += members.pop(other)
        for neighbour, (more, count) in between.pop(other).items():
            before, counted = between[one].get(neighbour, (0.0, 0))
            if neighbour != one:
                between[one][neighbour] = between[neighbour][one] = (before + more, counted + count)
                del between[neighbour][other]
        del between[one][other]
    return ties

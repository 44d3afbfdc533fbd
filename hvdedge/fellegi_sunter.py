"""Fellegi and Sunter's model: how probable it is that two records are the same, learned from the data without labels.

    log2 odds = log2 share / (1 - share) + sum over fields of log2 m(level) / u(level given the parent's level)

u, the levels of records that are not the same, comes from pairs drawn at random. There fields depend on each other
(who shares a postcode shares the suburb), so u is a tree: each field given its parent, the tree of Chow and Liu. Pairs
that agree in most fields are left out of it where they are more than chance makes them, and later those that the model
takes for the same. m, the levels of records that are the same, and their share among all pairs come from the
candidates by expectation maximisation, in which errors of fields are independent. Where two records agree on a value
that is more frequent than usual, u is the value's own frequency.

Everything is computed from counts of level patterns, whole numbers, so it does not depend on the number of ranks.

Source: Fellegi and Sunter 1969, A theory for record linkage; Winkler 2000, Frequency-based matching; Chow and Liu
1968, Approximating discrete probability distributions with dependence trees.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from mpi4py import MPI

from hvdedge.comparison import EDITED, EQUAL, LEVELS, UNKNOWN, good, levels
from hvdedge.fields import RARE, Records
from hvdedge.parallel import allgather_rows, block

SAME = (
    np.array([1, 0.03, 0.02, 0.02, 0.03, 0.05, 0.15, 0.1, 0, 0, 0, 0, 0, 0, 0, 0.6]) + 1e-4
)  # m before anything is known
ALIKE = np.array([1, *np.arange(1, LEVELS)]) / (LEVELS * (LEVELS - 1) / 2)  # the same for long texts
DRAWN_PAIRS = 1_000_000
DRAWN_CELLS = 2_000_000
DRAWN_BATCH = 1 << 14
SHRINK = 20.0  # pairs that a parent's level must have been seen with to be believed half
UNUSUAL = 0.01  # share of pairs whose long texts or arrays are alike, below which chance has no part in it
RARE_TIMES = 10  # what pairs that agree in most fields must be times as many as by chance, to be no chance
CHANCE = 2  # pairs of a pair of levels that say nothing yet
TIE = 1e-3  # log2 odds a level, so that of pairs with equal odds those that agree more come first
SMOOTH_U, SMOOTH_M = 0.05, 0.5  # pairs added to each level, so that nothing is impossible
EXPECTED = 0.2  # matches a record, before anything is known
ROUNDS = 200
LEARNED_TIMES = 3  # m, then u without the pairs that seem the same, then m again, ...
STILL = 1e-5  # change of the share of matches at which the learning ends


@dataclass
class Model:
    """What is known of levels.

    Attributes:
        m: (fields, LEVELS), the levels of two records that are the same.
        u: (fields, LEVELS of the parent, LEVELS), of two that are not.
        parents: which field each depends on, -1 for none.
        share: of matches among all pairs.
        total: the number of records.
        rises: whether more agreement shall never speak less for a match.
        drawn: levels of pairs drawn at random, uint8 (patterns, fields), and how many have each, float64.
    """

    m: np.ndarray
    u: np.ndarray
    parents: list[int]
    share: float
    total: int
    drawn: tuple[np.ndarray, np.ndarray]
    rises: bool = False

    @cached_property
    def ratios(self) -> np.ndarray:
        """log2 m / u: (fields, LEVELS of the parent, LEVELS)."""
        m = np.repeat(self.m[:, None], LEVELS, axis=1)
        return np.log2((_rising(m, self.u) if self.rises else m) / self.u)

    def odds(self, patterns: np.ndarray, frequencies: np.ndarray | None = None) -> np.ndarray:
        """Return the log2 odds that pairs are the same.

        Args:
            patterns: (pairs, fields), their levels.
            frequencies: (pairs, fields), how frequent what they agree on is: RARE * log2(records).
        """
        share = max(self.share, 1e-300)
        found = np.full(len(patterns), np.log2(share / (1 - share)))
        if self.rises:
            found += TIE * patterns.sum(axis=1, dtype=np.int64)
        log_u = np.log2(self.u)
        for number, parent in enumerate(self.parents):
            level = patterns[:, number]
            above = patterns[:, parent] if parent >= 0 else np.zeros_like(level)
            found += np.where(level == UNKNOWN, 0.0, self.ratios[number, above, level])
            if frequencies is not None:
                equal = np.flatnonzero(level == EQUAL)
                usual = log_u[number, 0, EQUAL]
                left = np.clip(log_u[number, above[equal], EQUAL] / usual, 0, 1)  # what the parent has not said already
                own = frequencies[equal, number] / RARE - np.log2(self.total)
                found[equal] += np.minimum(usual - own, 0) * left
        return found


def draw(records: Records, pairs: float, link: bool, seed: int, comm: MPI.Intracomm) -> Model:
    """Collective. Return a model that knows u, from pairs drawn at random, and guesses m and the share.

    Args:
        pairs: how many pairs there are in all.
    """
    bars = np.array([good(field) for field in records.fields])
    random = np.random.default_rng([seed % 2**64, 1])
    count = min(DRAWN_PAIRS, records.total * (records.total - 1) // 2, DRAWN_CELLS // max(len(bars), 1))
    chosen = random.integers(0, max(records.total, 1), (count, 2))
    mine = chosen[block(count, comm.size, comm.rank)]
    found = [np.empty((0, len(bars)), np.uint8)]
    for step in range(-(-(count // comm.size + 1) // DRAWN_BATCH) if count else 0):
        part = mine[step * DRAWN_BATCH : (step + 1) * DRAWN_BATCH]
        numbers, places = np.unique(part, return_inverse=True)
        rows = records.fetch(numbers, comm)
        a, b = places.reshape(-1, 2).T
        other = (a != b) & ((rows["file"][a] != rows["file"][b]) | (not link))
        found.append(levels(records.fields, rows, a[other], b[other]))
    patterns, held = count_patterns(np.concatenate(found), comm)
    may = 2 * (patterns >= bars).sum(axis=1) > (patterns > UNKNOWN).sum(axis=1)
    differ = np.where(may & _are_rare(patterns, held, may, bars), 0.0, held)
    u, parents = _tree(patterns, differ)
    share = min(EXPECTED * records.total / max(pairs, 1), 0.5)
    m = np.array([ALIKE if good(field) > EDITED else SAME for field in records.fields])
    return Model(m.reshape(-1, LEVELS), u, parents, share, max(records.total, 1), (patterns, held.astype(np.float64)))


def learn(model: Model, patterns: np.ndarray, counts: np.ndarray, pairs: float, learn_m: bool = True) -> Model:
    """Return the model with the m, the u and the share that explain the candidates and the drawn pairs best.

    Args:
        patterns, counts: the candidates' levels, uint8 (patterns, fields), and how many have each, of all ranks.
        pairs: how many pairs there are in all; those that are no candidates are not the same.
    """
    for again in reversed(range(LEARNED_TIMES)):
        m, share = _maximised(model, patterns, counts, pairs, learn_m)
        found = replace(model, m=m, share=share, rises=True)
        if not again:
            break
        drawn, held = model.drawn
        u, parents = _tree(drawn, held / (1 + np.exp2(np.clip(found.odds(drawn), -600, 600))))
        model = replace(model, u=u, parents=parents)
    return found


def _maximised(
    model: Model, patterns: np.ndarray, counts: np.ndarray, pairs: float, learn_m: bool
) -> tuple[np.ndarray, float]:
    """Return m and the share by expectation maximisation."""
    log_u = -replace(model, m=np.ones_like(model.m), share=0.5, rises=False).odds(patterns) * np.log(2)
    m, share = model.m.copy(), min(0.5, 0.3 * counts.sum() / pairs) if pairs else 0.0
    known = patterns > UNKNOWN
    for _ in range(ROUNDS if len(patterns) else 0):
        log_m = np.zeros(len(patterns))
        for number in range(patterns.shape[1]):
            log_m += np.where(known[:, number], np.log(m[number, patterns[:, number]]), 0.0)
        odds = np.exp(np.clip(log_m - log_u, -600, 600)) * share / (1 - share)
        expected = counts * odds / (1 + odds)
        before, share = share, float(np.clip(expected.sum() / pairs, 1e-300, 0.5))
        if learn_m:
            m = np.stack([_shares(patterns[:, number], expected) for number in range(patterns.shape[1])])
        if abs(share - before) <= STILL * before:
            break
    return m, share


def from_labels(model: Model, patterns: np.ndarray, same: np.ndarray) -> Model:
    """Return the model with the m of pairs that are known to be the same."""
    m = np.stack([_shares(patterns[same, number], np.ones(int(same.sum()))) for number in range(patterns.shape[1])])
    return replace(model, m=m, rises=True)


def count_patterns(found: np.ndarray, comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Return all ranks' different rows of `found`, uint8 (pairs here, fields), and how often each is."""
    mine, held = _counted(found, np.ones(len(found), np.int64))
    return _counted(allgather_rows(mine, comm), allgather_rows(held, comm))


def _counted(rows: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(rows):
        return rows, times
    factors = np.random.default_rng(0).integers(1, 2**63, rows.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    hashes = (rows.astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    sums = np.zeros(len(first), np.int64)
    np.add.at(sums, which, times)
    return np.ascontiguousarray(rows[first]), sums


def _shares(level: np.ndarray, weights: np.ndarray) -> np.ndarray:
    held = np.bincount(level, weights=weights, minlength=LEVELS) + SMOOTH_M * SAME
    held[UNKNOWN] = 0
    held /= held.sum()
    held[UNKNOWN] = 1
    return held


def _are_rare(patterns: np.ndarray, held: np.ndarray, may: np.ndarray, bars: np.ndarray) -> bool:
    """Tell whether pairs that agree in most fields, those that `may` be the same, are far more than chance makes them.

    Where few fields of few values each are compared, such pairs are common and no sign of anything.
    """
    chance = np.ones(1)  # of 0, 1, ... fields that agree
    for number, bar in enumerate(bars):
        agree = held[patterns[:, number] >= bar].sum() / max(held[patterns[:, number] > UNKNOWN].sum(), 1)
        if bar > EDITED and agree < UNUSUAL:  # nobody writes the same long text by chance
            agree = 0.0
        chance = np.convolve(chance, [1 - agree, agree])
    return bool(held[may].sum() > RARE_TIMES * chance[len(bars) // 2 + 1 :].sum() * held.sum())


def _rising(m: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return m such that more agreement never speaks less for a match: levels where it did share their m by their u.

    Args:
        m, u: (..., LEVELS).

    Source: Ayer et al. 1955, An empirical distribution function for sampling with incomplete information (pooling).
    """
    found = m.copy()
    for place in np.ndindex(m.shape[:-1]):
        pools: list[tuple[float, float, list[int]]] = []
        for level in range(1, LEVELS):
            pool = (float(m[place][level]), float(u[place][level]), [level])
            while pools and pools[-1][0] * pool[1] > pool[0] * pools[-1][1]:
                same, other, before = pools.pop()
                pool = (same + pool[0], other + pool[1], before + pool[2])
            pools.append(pool)
        for same, other, chosen in pools:
            found[place][chosen] = u[place][chosen] * same / other
    return found


def _tree(patterns: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return u, (fields, LEVELS, LEVELS), and each field's parent in the tree that explains the patterns best."""
    fields = patterns.shape[1]
    joint = np.zeros((fields, fields, LEVELS, LEVELS))
    for one in range(fields):
        for two in range(one + 1):
            cells = patterns[:, one].astype(np.int64) * LEVELS + patterns[:, two]
            joint[one, two] = np.bincount(cells, weights=held, minlength=LEVELS**2).reshape(LEVELS, LEVELS)
    alone = np.stack([joint[n, n].diagonal() for n in range(fields)]) if fields else np.zeros((0, LEVELS))
    alone[:, UNKNOWN] = 0
    alone[:, 1:] += SMOOTH_U
    alone /= alone.sum(axis=1, keepdims=True)
    told = np.zeros((fields, fields))
    for one in range(fields):
        for two in range(one):
            both = joint[one, two, 1:, 1:]
            share = both / max(both.sum(), 1)
            apart = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
            there = share > 0
            told[one, two] = told[two, one] = (share[there] * np.log(share[there] / apart[there])).sum()
    u = np.repeat(alone[:, None], LEVELS, axis=1)
    parents = [-1] * fields
    inside = [int(np.argmax(told.sum(axis=1)))] if fields else []
    while len(inside) < fields:
        _, parent, child = max((told[p, c], -p, -c) for p in inside for c in range(fields) if c not in inside)
        parent, child = -parent, -child
        parents[child] = parent
        inside.append(child)
        table = joint[parent, child] if parent > child else joint[child, parent].T
        table = table.copy()
        table[:, UNKNOWN] = 0
        believed = np.maximum(table[1:] - CHANCE, 0)
        rest = (table[1:] - believed).sum(axis=1, keepdims=True) + SHRINK
        u[child, 1:] = (believed + rest * alone[child]) / (believed.sum(axis=1, keepdims=True) + rest)
    u[:, :, UNKNOWN] = 1
    return u, parents

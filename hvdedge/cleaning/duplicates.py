"""Find records that describe the same thing, without labels, and make one of them.

    fields           each column as numbers that are quick to compare
    blocking         passes of pairs that may be the same, every rank getting its share
    comparison       a level of agreement for each column of a pair
    fellegi_sunter   how probable it is that a pair is the same, learned from the data
    linkage          closure over all ranks, with a guard against chains
    merging          the row that stays, and what it takes from the others

Pairs are made, compared and dropped in batches; only those that may be the same are kept. Memory of a rank: its own
records (about 30 bytes a cell), a pass's keys (25 bytes a row), the pairs kept (16 bytes and 2 a column, each).
"""

import logging
from collections.abc import Iterable
from typing import Literal

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge import fellegi_sunter, fields
from hvdedge import truth as known_truth
from hvdedge.blocking import Batch, Blocking
from hvdedge.columns import matching, shown, to_text
from hvdedge.comparison import EQUAL, closeness, is_long, levels, similarities
from hvdedge.errors import InputError
from hvdedge.fields import Records, Rows
from hvdedge.hashes import row_keys
from hvdedge.linkage import clusters, components, copies, stand_out
from hvdedge.merging import merge as merge_rows
from hvdedge.mixing import mix
from hvdedge.options import ColumnName, Natural, Path, Share
from hvdedge.parallel import counts, fetch_rows, frequencies, send_rows
from hvdedge.spool import Spool
from hvdedge.tables import Table

CANDIDATES_PER_ROW = 200  # at most, where the option does not say
PLAUSIBLE = -15.0  # log2 odds, before anything is learned, from which on a candidate is kept
SURE = np.log2(0.999 / 0.001)  # log2 odds of a match: what is merged wrongly cannot be told apart again
ALONE = 7.0  # log2 odds for a pair of a link that is the best of both its records
MARGIN = 0.02  # by which it has to be
COMMON_WEIGHT = 0.5  # two records with less than this share of the weight in common are not alike
SEND_PAIRS = 1 << 18
MANY = 0.3  # of all rows: to merge more is told
REPEATED = 0.5  # of all rows that share their id: it does not name records then
KEY_PARTNERS = 0.5  # other records with the same value, in the mean, below which a column tells records apart


def clean(
    table: Table,
    comm: MPI.Intracomm,
    *,
    id: ColumnName = "",
    link: bool = False,
    one_to_one: Literal["auto"] | bool = "auto",
    threshold: Share | None = None,
    labels: Path = "",
    columns: tuple[ColumnName, ...] = (),
    passes: tuple[Literal["columns", "words", "minhash", "sorted", "projection"], ...] = (),
    max_candidates: Natural = 0,
    keep: Literal["complete", "frequent", "newest"] = "complete",
    newest: ColumnName = "",
    merge: bool = True,
    seed: Natural = 0,
    truth: Path = "",
) -> Table:
    """Collective. Merge records that describe the same thing, found without labels, and rows that repeat another.

    Args:
        table: this rank's rows.
        id: a column that names records and is never compared or filled.
        link: only records of different files are the same.
        one_to_one: whether a record has one partner in each other file at most; "auto": in a link, where few records of
            one file match each other.
        threshold: how alike candidates must be, 0 to 1, in the mean of the columns in which both have a cell, at least
            half of all; None learns it from the data.
        labels: pairs that are known, a CSV of two ids and whether they are the same, to learn from them.
        columns: what is compared, names or patterns such as p*; all where there are none.
        passes: how candidates are found; what suits the data where there are none.
        max_candidates: how many pairs may be compared; 0 is 200 a row. Where there would be more, windows get narrower.
        keep: what stays of a cluster: its most complete record, that with the most frequent values, or the newest one.
        newest: the column of dates or numbers by which `keep = "newest"` goes.
        merge: False leaves all rows and lists what belongs together in the change log only.
        seed: of what is drawn at random.
        truth: a file of true duplicates, id and cluster or two ids of a pair; it judges the result and changes nothing.
    Returns:
        The kept rows in their order. The change log has each row that went (rule duplicate; after is file:line of the
        row that stayed; rule link where nothing is merged) and each cell that was filled (rule merged).
    Raises:
        InputError: where an option does not fit the table.
    """
    names = _check(table, id, columns, keep, newest, link)
    records = fields.read(table, names, comm)
    if link and not _sum(records.cells["file"] > 0, comm):
        raise InputError(
            "clean.duplicates.link: received true with rows of one file only, allowed: two or more files; read them "
            "by prepare.source, or leave link out"
        )
    ids = pa.chunked_array([to_text(b.column(0)) for b in table.select([id]).batches()], pa.string()) if id else None
    if ids is not None:
        _tell_no_names(table, id, ids.null_count, link, comm)
    true, labelled = None, None
    if truth:
        true = known_truth.Same(truth, "clean.duplicates.truth", ids, records.cells["file"], link, comm)
    if labels:
        labelled = known_truth.Same(labels, "clean.duplicates.labels", ids, records.cells["file"], link, comm)

    bound = max_candidates or CANDIDATES_PER_ROW * max(records.total, 1)
    blocking = Blocking(records, comm, link, bound, seed)
    blocking.choose(tuple(passes))
    scorer = _Learned(records, link, seed, comm) if threshold is None else _Alike(records, threshold)
    pairs = _gather((scorer.keep(batch) for batch in blocking.batches()), scorer.dtype, table, comm)
    scorer.learn(pairs, labelled)
    scores = scorer.score_kept(pairs)
    keys = scorer.keys(pairs)
    alone = None if one_to_one == "auto" else one_to_one
    first, told = clusters(pairs["a"], pairs["b"], scores, records, scorer.score, link, alone, comm)
    del pairs, scorer
    first, repeated = _with_copies(first, table, records, id, link, comm)
    del records

    metrics = {
        "candidates": int(blocking.produced.sum()),
        "pairs": _sum(scores > 0, comm),
        **_sizes(first, comm),
        "copies": repeated,
        **told,
        "pairs_by_rank": blocking.produced.tolist(),
        "passes": _counted([one.kind for one in blocking.passes]),
    }
    if blocking.narrowed:
        _adapted(table, blocking, bound)
        metrics["passes_narrowed"] = blocking.narrowed
    table.workspace.metrics["duplicates"] = metrics
    _tell(metrics, threshold, link, _apart(keys, first, comm), table, comm)
    if true is not None:
        metrics |= true.judge(first, comm)
        if true.unnamed:
            of = f"{true.unnamed} of {_sum(np.ones(table.num_rows, bool), comm)} records"
            action = f"{truth} does not name {of}, which are taken to be like no other"
            table.workspace.events.append({"what": "truth_incomplete", "action": action})
    del blocking
    return merge_rows(table, [name for name in table.columns if name != id], first, keep, newest, merge, comm)


def _check(table: Table, id: str, columns: tuple[str, ...], keep: str, newest: str, link: bool) -> list[str]:
    """Return the columns to compare."""
    if id and id not in table.columns:
        raise InputError(
            f"clean.duplicates.id: received {id!r}, which is no column, allowed: {shown(table.columns)}; name one"
        )
    if (keep == "newest") != bool(newest) or (newest and newest not in table.columns):
        raise InputError(
            f"clean.duplicates.newest: received {newest!r} with keep = {keep!r}, allowed: one of "
            f'{shown(table.columns)} with keep = "newest", nothing otherwise; set both'
        )
    return [name for name in matching(table, columns, "clean.duplicates.columns") if name != id]


def _apart(keys: dict[str, np.ndarray], first: np.ndarray, comm: MPI.Intracomm) -> list[str]:
    """Collective. Return what to tell of columns most of whose pairs with the same value are different records."""
    found = []
    for name, pairs in keys.items():
        apart = fetch_rows(first, pairs[:, 0], comm) != fetch_rows(first, pairs[:, 1], comm)
        left, every = _sum(apart, comm), _sum(np.ones(len(pairs), bool), comm)
        if 2 * left > every:
            found.append(f"took {left} of {every} pairs with the same {name!r} for different records")
    return found


def _tell_no_names(table: Table, id: str, empty: int, link: bool, comm: MPI.Intracomm) -> None:
    """Collective. Add an event where the column `id` has empty cells, or most rows of a table share theirs.

    Args:
        empty: its empty cells among this rank's rows.
        link: whether each file names its own records.
    """
    shared = frequencies(row_keys(table, [id, *["_file"] * link]), comm)[0] > 1
    found = np.array([table.num_rows, empty, shared.sum()], np.int64)
    comm.Allreduce(MPI.IN_PLACE, found, op=MPI.SUM)
    rows, empty, repeated = found.tolist()
    if empty or repeated > REPEATED * rows:
        told = f"{id!r} is empty in {empty} of {rows} rows, and {repeated} have it in common with others"
        remedy = "a truth or labels by it cannot tell these; give a column that names each record, or none"
        table.workspace.events.append({"what": "id_names_no_record", "action": f"{told}: {remedy}"})


def _tell(
    metrics: dict, threshold: float | None, link: bool, open_keys: list[str], table: Table, comm: MPI.Intracomm
) -> None:
    """Collective. Add events where what was done is likely not what was meant."""
    events, rows = table.workspace.events, int(counts(table.num_rows, comm).sum())
    for told in open_keys:
        action = f"{told}, though few rows share one; if they are, set threshold and columns, or give labels"
        events.append({"what": "undecided", "action": action})
    if not metrics["passes"]:
        action = "merged nothing but copies: no pass makes candidates of columns of so few values; name others as well"
        events.append({"what": "no_candidates", "action": action})
    if threshold is not None and metrics["clusters_split"]:
        action = f"parted {metrics['clusters_split']} groups that hung together by chains of pairs"
        events.append({"what": "clusters_split", "action": f"{action}; look at what is left of them"})
    if metrics["rows_merged"] > MANY * rows and (threshold is not None or not link):  # a link finds partners for many
        action = f"merged {metrics['rows_merged']} of {rows} rows"
        remedy = "if they are not the same, name columns that tell records apart"
        if threshold is None:
            action, remedy = f"the learned model {action}", f"{remedy}, give labels, or set a threshold"
        else:
            action, remedy = f"threshold = {threshold:g} {action}", remedy + ", or raise it" * (threshold < 1)
        events.append({"what": "many_merged", "action": f"{action}; {remedy}"})


class _Alike:
    """Scores by a threshold: the mean of the columns' similarities, less the threshold."""

    def __init__(self, records: Records, threshold: float):
        self.fields, self.threshold = records.fields, threshold
        self.dtype = np.dtype([("a", np.int64), ("b", np.int64), ("score", np.float64)])

    def keep(self, batch: Batch) -> np.ndarray:
        scores = self.score(batch.rows, batch.a, batch.b)
        chosen = scores > 0
        return _made(self.dtype, batch, batch.a[chosen], batch.b[chosen], score=scores[chosen])

    def learn(self, pairs: np.ndarray, labelled: known_truth.Same | None) -> None:
        """Do nothing: the threshold is given."""

    def score(self, rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        total, weight = np.zeros(len(a)), np.zeros(len(a))
        alike = similarities(self.fields, rows, a, b)
        for number, field in enumerate(self.fields):
            known = ~np.isnan(alike[:, number])
            total += np.where(known, alike[:, number], 0) * field.weight
            weight += known * field.weight
        enough = weight >= COMMON_WEIGHT * sum(field.weight for field in self.fields)
        found = total / np.maximum(weight, 1e-300) - self.threshold
        found = np.where(found >= 0, found + np.finfo(float).tiny, found)  # what reaches the threshold matches
        return np.where(
            enough, found, -np.finfo(float).tiny
        )  # what cannot be compared speaks neither for it nor against

    def score_kept(self, pairs: np.ndarray) -> np.ndarray:
        return pairs["score"]

    def keys(self, pairs: np.ndarray) -> dict[str, np.ndarray]:
        """Return nothing: nobody asked for more than the threshold."""
        return {}


class _Learned:
    """Scores by Fellegi and Sunter's model: the log2 odds that two records are the same, less what a match needs."""

    def __init__(self, records: Records, link: bool, seed: int, comm: MPI.Intracomm):
        self.records, self.comm = records, comm
        inside = np.bincount(records.cells["file"], minlength=256)
        comm.Allreduce(MPI.IN_PLACE, inside, op=MPI.SUM)
        self.pairs = records.total * (records.total - 1) / 2 - (link and (inside * (inside - 1) / 2).sum())
        self.needed = SURE
        long = any(is_long(field) for field in records.fields)
        self.partners = int(np.sort(inside)[-2]) if link and long else 0
        self.model = fellegi_sunter.draw(records, self.pairs, link, seed, comm)
        width = len(records.fields)
        cells = [("levels", np.uint8, (width,)), ("often", np.uint8, (width,)), ("close", np.float32)]
        self.dtype = np.dtype([("a", np.int64), ("b", np.int64), *cells])

    def keep(self, batch: Batch) -> np.ndarray:
        found = levels(self.records.fields, batch.rows, batch.a, batch.b)
        chosen = self.model.odds(found) > PLAUSIBLE
        a, b = batch.a[chosen], batch.b[chosen]
        close = closeness(self.records.fields, batch.rows, a, b)
        return _made(self.dtype, batch, a, b, levels=found[chosen], often=self._often(batch.rows, a), close=close)

    def learn(self, pairs: np.ndarray, labelled: known_truth.Same | None) -> None:
        """Collective. Fit the model to the candidates that were kept, and to known pairs, if any."""
        if labelled is not None:
            one, other, same = labelled.pairs(self.comm)
            numbers, places = np.unique(np.concatenate([one, other]), return_inverse=True)
            rows = self.records.fetch(numbers, self.comm)
            found = levels(self.records.fields, rows, places[: len(one)], places[len(one) :])
            self.model = fellegi_sunter.from_labels(self.model, found, same)
        patterns, held = fellegi_sunter.count_patterns(pairs["levels"], self.comm)
        self.model = fellegi_sunter.learn(self.model, patterns, held, self.pairs, learn_m=labelled is None)

    def score(self, rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        found = levels(self.records.fields, rows, a, b)
        close = closeness(self.records.fields, rows, a, b)
        return self.model.odds(found, self._often(rows, a)) + close - self.needed

    def score_kept(self, pairs: np.ndarray) -> np.ndarray:
        """Collective. Return the scores of pairs that were kept.

        In a link by long texts in which a quarter of the smaller file has partners for sure, a pair that is the best
        of both its records by a margin is likely to be right even where little is said for it, as there is nobody
        else.
        """
        scores = self.model.odds(pairs["levels"], pairs["often"]) + pairs["close"] - self.needed
        if self.partners and 4 * self.model.share * self.pairs >= self.partners:
            best = stand_out(pairs["a"], pairs["b"], scores, MARGIN, self.records.here, self.comm)
            scores += np.where(best, ALONE + self.needed, 0.0)
        return scores

    def keys(self, pairs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the pairs, (pairs, 2), that have the same value in a column of which few records share one."""
        return {
            field.name: np.stack([pairs[side][pairs["levels"][:, number] == EQUAL] for side in ("a", "b")], axis=1)
            for number, field in enumerate(self.records.fields)
            if field.agrees * (self.records.total - 1) < KEY_PARTNERS
        }

    def _often(self, rows: Rows, a: np.ndarray) -> np.ndarray:
        found = np.zeros((len(a), len(self.records.fields)), np.uint8)
        for number, field in enumerate(self.records.fields):
            if "f" in field.parts:
                found[:, number] = rows[f"f{number}"][a]
        return found


def _made(dtype: np.dtype, batch: Batch, a: np.ndarray, b: np.ndarray, **columns: np.ndarray) -> np.ndarray:
    made = np.empty(len(a), dtype)
    made["a"], made["b"] = batch.numbers[a], batch.numbers[b]
    for name, values in columns.items():
        made[name] = values
    return made


def _gather(parts: Iterable[np.ndarray], dtype: np.dtype, table: Table, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return this rank's share of all pairs that were kept, each once; they wait in scratch."""
    schema = pa.schema([("pair", pa.binary(dtype.itemsize))])
    spool = Spool(schema, table.workspace.scratch, table.workspace.table_bytes // 2)
    for part in parts:
        if len(part):
            buffers = [None, pa.py_buffer(part.tobytes())]
            column = pa.Array.from_buffers(schema.field("pair").type, len(part), buffers)
            spool.append(pa.record_batch([column], schema))
    held = np.zeros(0, dtype)
    waiting = iter(spool)
    while True:
        taken: list[np.ndarray] = [np.zeros(0, dtype)]
        while sum(map(len, taken)) < SEND_PAIRS and (batch := next(waiting, None)) is not None:
            column = batch.column(0)
            whole = np.frombuffer(column.buffers()[1], dtype)
            taken.append(whole[column.offset : column.offset + len(column)])
        found = np.concatenate(taken)
        more = np.array(len(found), np.int64)
        comm.Allreduce(MPI.IN_PLACE, more, op=MPI.MAX)
        if not more:
            break
        owner = (
            mix(found["a"].astype(np.uint64) * np.uint64(3) + found["b"].astype(np.uint64)) % np.uint64(comm.size)
        ).astype(np.int64)
        arrived = np.concatenate([held, send_rows(found, owner, comm)])
        order = np.lexsort((arrived["b"], arrived["a"]))
        arrived = arrived[order]
        twice = (arrived["a"][1:] == arrived["a"][:-1]) & (arrived["b"][1:] == arrived["b"][:-1])
        held = arrived[np.concatenate([[True], ~twice])] if len(arrived) else arrived
    spool.clear()
    return held


def _with_copies(
    first: np.ndarray, table: Table, records: Records, id: str, link: bool, comm: MPI.Intracomm
) -> tuple[np.ndarray, int]:
    """Collective. Return `first` with the rows joined that repeat another in every cell, and how many these are.

    Without an id, rows of a few common values are alike by chance: those are joined of which fewer than one pair would
    be alike if the columns did not depend on each other.
    """
    if link or (id and frequencies(row_keys(table, [id]), comm)[1] == records.total):
        return first, 0
    numbers = counts(records.here, comm)[: comm.rank].sum() + np.arange(records.here)
    equal = copies(row_keys(table, table.columns), comm)
    if not id:
        equal = np.where(_chance(records, equal == numbers, comm) < 0, equal, numbers)
    joined = components(np.concatenate([numbers, numbers]), np.concatenate([first, equal]), records.here, comm)
    return joined, _sum(equal != numbers, comm)


def _chance(records: Records, is_first: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return log2 of how many pairs of rows would be alike by chance in the cells that each row has.

    Args:
        is_first: which rows are not a copy of another; only these tell how often two have the same value.
    """
    total = _sum(is_first, comm)
    pairs = np.full(records.here, np.log2(max(total * (total - 1) / 2, 1)))
    for number, field in enumerate(records.fields):
        if "h" in field.parts:
            hashes = records.cells[f"h{number}"]
            known = is_first & (hashes != 0)
            same = frequencies(hashes[known].astype(np.uint64), comm)[0].sum()
            sums = np.array([known.sum(), same], np.int64)
            comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
            cells, alike = sums.tolist()
            agrees = max((alike - cells) / 2, 1) / max(cells * (cells - 1) / 2, 1)
            pairs += np.where(hashes != 0, np.log2(agrees), 0.0)
    return pairs


def _sizes(first: np.ndarray, comm: MPI.Intracomm) -> dict[str, int]:
    """Collective. Return the clusters of more than one record, and how many records they have too many."""
    start = int(counts(len(first), comm)[: comm.rank].sum())
    others = first != np.arange(start, start + len(first))
    starts = np.concatenate([[0], np.cumsum(counts(len(first), comm))])
    heads = np.unique(send_rows(first[others], np.searchsorted(starts, first[others], side="right") - 1, comm))
    return {"clusters": _sum(np.ones(len(heads), bool), comm), "rows_merged": _sum(others, comm)}


def _sum(chosen: np.ndarray, comm: MPI.Intracomm) -> int:
    total = np.array(int(chosen.sum()), np.int64)
    comm.Allreduce(MPI.IN_PLACE, total, op=MPI.SUM)
    return int(total)


def _counted(kinds: list[str]) -> dict[str, int]:
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def _adapted(table: Table, blocking: Blocking, bound: int) -> None:
    """Say in the record and the log that windows were narrowed."""
    narrowed = f"{blocking.narrowed} of {len(blocking.passes)} passes"
    event = {"what": "blocking_narrowed", "action": f"windows of {narrowed} made smaller to keep to {bound} pairs"}
    table.workspace.events.append(event)
    logging.getLogger("hvdedge").info("clean.duplicates: %s", event["action"])

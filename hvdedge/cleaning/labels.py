"""Find rows whose label is probably wrong, list them, and remove them where asked to.

Every row gets class probabilities p from a model that was not trained on it (`kernel_ridge.py`). The threshold of
class j is what rows labelled j get for it on average, t_j = mean p_j, so that each class, hard or easy, is measured by
itself. A row is counted for the likeliest class among those with p_j >= t_j:

    C_ij = rows labelled i that are counted for j,   wrong_ij = rows labelled i * C_ij / sum_j C_ij,   i != j

is how many rows labelled i are truly of class j. Of the rows labelled i whose likeliest class is j, these are the
wrong_ij ones with the largest margin p_j - p_i (to a bin of a histogram, so that no rank needs to see them all).

Source: Northcutt, Jiang and Chuang 2021, Confident learning: estimating uncertainty in dataset labels.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import kind, matching, to_text, value_counts
from hvdedge.errors import InputError
from hvdedge.kernel_ridge import CrossFit, Numbers
from hvdedge.methods import unknown
from hvdedge.options import ColumnName, Count, Natural, Path, Several
from hvdedge.parallel import agree, counts
from hvdedge.tables import Table
from hvdedge.truth import Cells, CleanTable, rates, read_cells

MOST_CLASSES = 100
LEAST_ROWS = 5  # of a class, in each fold on average: of rarer ones nothing is learnt
LEAST_BINS, MOST_BINS = 16, 1_000_000
RULE = "label_noise"


def clean(
    table: Table,
    comm: MPI.Intracomm,
    *,
    label: ColumnName = "label",
    columns: tuple[ColumnName, ...] = (),
    remove: bool = False,
    folds: Several = 5,
    features: Count = 512,
    truth: Path = "",
    seed: Natural = 0,
) -> Table:
    """Collective. List the rows whose label is probably wrong, and remove them if asked to.

    Args:
        table: this rank's rows.
        label: the column of classes, at most 100; where it is the default and no column is called so, what [extract]
            names as its label.
        columns: names or patterns (p*) of the columns to tell the class by; all others for none. Text with more than
            50 different values is of no use and left out.
        remove: whether the rows go; otherwise they are only listed, in the quarantine (rule label_noise).
        folds: how many parts the rows are dealt into; each is judged by a model of the others.
        features: random features of the model; more of them see finer, and cost memory by their square.
        truth: a clean table of the same shape, or a file that tells the true values of wrong cells (id, column, kind,
            value; those of the kind label_noise are looked at). It judges the result and changes nothing.
        seed: deals the rows into folds and draws the features.
    Returns:
        The rows, without those removed; these are in the change log, too (rule label_noise).
    Raises:
        InputError: where a column is not there, the label has too many classes, or the truth cannot be used. With fewer
            than two classes of enough rows nothing is looked at, which an event tells.
    """
    if label == "label" and label not in table.columns:
        label = next((name for name, option in table.workspace.learned.items() if option == "extract.label"), label)
    if label not in table.columns:
        raise InputError(unknown("clean.labels.label", label, table.columns))
    names = [name for name in matching(table, columns, "clean.labels.columns") if name != label]
    total = int(counts(table.num_rows, comm).sum())
    known: Cells | CleanTable | None = None
    with agree(comm):
        known = read_cells(truth, (RULE,), table.columns, total) if truth else None
    classes = _classes(table, label, folds, comm)
    is_noise = np.zeros(table.num_rows, bool)
    found: dict[str, Any] = {"noisy": None, "rows_removed": 0}
    if len(classes) < 2 or not names:
        many = f"{len(classes)} class{'es' * (len(classes) != 1)}"
        what = f"{label!r} has {many} of at least {LEAST_ROWS * folds} rows, and two are needed"
        action = f"clean.labels looked at nothing: {what if names else 'there is no column to tell the class by'}"
        table.workspace.events.append({"what": "not_run", "action": action})
    else:
        numbers = Numbers(table, names, comm)
        model = CrossFit(table, numbers, label, classes, comm, folds=folds, features=features, seed=seed)
        is_noise, told = _look(table, label, classes, model, remove, comm)
        found |= told | {"left_out": numbers.left_out}
        found["rows_removed"] = found["noisy"] if remove else 0
    if known:
        found |= _judged(table, label, is_noise, known, comm)
    table.workspace.metrics["labels"] = found
    return table.filter(~is_noise) if remove else table


def _classes(table: Table, label: str, folds: int, comm: MPI.Intracomm) -> pa.Array:
    """Collective. Return the classes that have enough rows to learn from."""
    is_single = kind(table.schema.field(label).type) != "array"
    counted = value_counts(table, [label], MOST_CLASSES, comm)[label] if is_single else None
    if counted is None:
        raise InputError(
            f"clean.labels.label: received {label!r}, which has more than {MOST_CLASSES} different values or arrays, "
            "allowed: a column of classes; name one"
        )
    return counted.filter(pc.greater_equal(counted["count"], LEAST_ROWS * folds))["value"].combine_chunks()


def _look(
    table: Table, label: str, classes: pa.Array, model: CrossFit, remove: bool, comm: MPI.Intracomm
) -> tuple[np.ndarray, dict[str, Any]]:
    """Collective. Return which of this rank's rows have a wrong label, and the metrics; list them."""
    size = len(classes)
    sums = np.zeros((3, size))  # rows, sure, right
    for given, scores in model.scores(table):
        rows = np.flatnonzero(given >= 0)
        of = given[rows]
        sums[0] += np.bincount(of, minlength=size)
        sums[1] += np.bincount(of, scores[rows, of], minlength=size)  # whole steps: exact
        sums[2] += np.bincount(of, scores[rows].argmax(axis=1) == of, minlength=size)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    threshold = sums[1] / np.maximum(sums[0], 1)
    bins = int(np.clip(MOST_BINS // size**2, LEAST_BINS, MOST_BINS))
    joint, margins = np.zeros((size, size)), np.zeros((size, size, bins))
    for given, scores in model.scores(table):
        sure = np.where(scores >= threshold, scores, -1.0)
        counted = np.flatnonzero((given >= 0) & (sure.max(axis=1) >= 0))
        np.add.at(joint, (given[counted], sure[counted].argmax(axis=1)), 1)
        np.add.at(margins, _disagreeing(given, scores, bins)[1:], 1)
    comm.Allreduce(MPI.IN_PLACE, joint, op=MPI.SUM)
    comm.Allreduce(MPI.IN_PLACE, margins, op=MPI.SUM)
    wrong = np.round(sums[0][:, None] * joint / np.maximum(joint.sum(axis=1, keepdims=True), 1))
    beyond = margins[:, :, ::-1].cumsum(axis=2)[:, :, ::-1] - margins  # rows with a margin in a higher bin
    is_wanted = beyond < wrong[:, :, None]
    found = np.zeros((size, size), np.int64)
    noisy, words = [np.empty(0, bool)], to_text(classes)
    for batch, (given, scores) in zip(table.batches(), model.scores(table), strict=True):
        rows, is_of, best, margin = _disagreeing(given, scores, bins)
        chosen = is_wanted[is_of, best, margin]
        rows, is_of, best = rows[chosen], is_of[chosen], best[chosen]
        np.add.at(found, (is_of, best), 1)
        noisy.append(np.isin(np.arange(batch.num_rows), rows))
        _list(table, label, batch, rows, words.take(pa.array(best)), scores[rows, best], remove)
    comm.Allreduce(MPI.IN_PLACE, found, op=MPI.SUM)
    text = words.to_pylist()
    return np.concatenate(noisy), {
        "noisy": int(found.sum()),
        "share": float(found.sum() / max(sums[0].sum(), 1)),
        "accuracy": float(sums[2].sum() / max(sums[0].sum(), 1)),
        "suggested": {
            text[one]: {text[other]: int(count) for other, count in enumerate(row) if count}
            for one, row in enumerate(found)
            if row.any()
        },
    }


def _disagreeing(given: np.ndarray, scores: np.ndarray, bins: int) -> tuple[np.ndarray, ...]:
    """Return the rows whose likeliest class is not their label, the label, that class, and the bin of the margin."""
    best = scores.argmax(axis=1)
    rows = np.flatnonzero((given >= 0) & (best != given))
    margin = scores[rows, best[rows]] - scores[rows, given[rows]]
    return rows, given[rows], best[rows], np.minimum((margin * bins).astype(np.int64), bins - 1)


def _list(
    table: Table,
    label: str,
    batch: pa.RecordBatch,
    rows: np.ndarray,
    suggested: pa.Array,
    scores: np.ndarray,
    remove: bool,
) -> None:
    """Write down what is wrong in a batch, in the quarantine, and that it goes, in the change log."""
    places = pa.array(rows)
    origin = {name: batch.column(name).take(places) for name in ("_file", "_line")}
    now = to_text(batch.column(label).take(places)).to_pylist()
    table.workspace.set_aside(
        **origin,
        column=[label] * len(rows),
        text=[
            f"{one}, probably {other}, score {score:.2f}"
            for one, other, score in zip(now, suggested.to_pylist(), scores, strict=True)
        ],
        rule=[RULE] * len(rows),
    )
    if remove:
        table.workspace.log_rows(batch, rows, RULE)


def _judged(
    table: Table, label: str, is_noise: np.ndarray, known: Cells | CleanTable, comm: MPI.Intracomm
) -> dict[str, float]:
    """Collective. Return the `rates` of the rows found."""
    tally = np.zeros(3, np.int64)  # right, found, true
    start, first = 0, int(counts(table.num_rows, comm)[: comm.rank].sum())
    for batch in table.batches() if label in table.columns else ():
        found = is_noise[start : start + batch.num_rows]
        if isinstance(known, Cells):
            true = known.find(to_text(batch.column(known.id)), label)[0]
        elif label in known.columns:
            column = batch.column(label)
            true = ~known.right(label, to_text(column), kind(column.type), first + start)
            true &= np.asarray(column.is_valid())
        else:
            true = np.zeros(batch.num_rows, bool)
        tally += (found & true).sum(), found.sum(), true.sum()
        start += batch.num_rows
    comm.Allreduce(MPI.IN_PLACE, tally, op=MPI.SUM)
    return rates(*tally.tolist())

"""The column that holds the classes, and which rows are examples."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import kind, offered, shown, value_counts
from hvdedge.encodings import is_missing
from hvdedge.errors import InputError
from hvdedge.splits import LEFT_OUT, SPLITS
from hvdedge.tables import SPLIT, Table

MOST_CLASSES = 10_000
FEW = 20  # labels that may be another in each row, as in a table that shows something
LABEL_KINDS = ("boolean", "integer", "float", "category", "text")


def find_classes(table: Table, label: str, comm: MPI.Intracomm) -> pa.Array:
    """Collective. Return the sorted labels of all rows.

    Raises:
        InputError: where the table is not split, or `label` is no column of classes; see `check_label`.
    """
    if SPLIT not in table.columns:
        raise InputError(f"extract: received a table without {SPLIT!r}, allowed: one that is split; split it first")
    classes = check_label(table, label, comm)
    return classes.take(pc.sort_indices(classes))


def check_label(table: Table, label: str, comm: MPI.Intracomm) -> pa.Array:
    """Collective. Return the different labels of all rows, the most frequent first.

    Raises:
        InputError: where `label` is no column of 2 to `MOST_CLASSES` different labels, or one that is mostly another in
            each row.
    """
    if label not in table.columns or label == SPLIT:
        raise InputError(
            f"extract.label: received {label!r}, which is no column, allowed: {shown(offered(table))}; name one"
        )
    found = kind(table.schema.field(label).type)
    if found not in LABEL_KINDS:
        raise InputError(
            f"extract.label: received {label!r}, {found}, allowed: {', '.join(LABEL_KINDS)}; name another column"
        )
    counted = value_counts(table, [label], MOST_CLASSES, comm)[label]
    if counted is None or len(counted) < 2:
        many = (
            f"over {MOST_CLASSES} different labels"
            if counted is None
            else ("no label", "one label alone")[len(counted)]
        )
        raise InputError(
            f"extract.label: received {label!r} with {many}, allowed: 2 to {MOST_CLASSES}; name another column"
        )
    rows = pc.sum(counted["count"]).as_py()
    once = pc.sum(pc.equal(counted["count"], 1)).as_py()
    if len(counted) > FEW and 2 * once > len(counted) and 2 * len(counted) > rows:
        raise InputError(
            f"extract.label: received {label!r} with {len(counted)} different labels in {rows} rows, {once} of them "
            "once, allowed: a column in which labels come again; name another column"
        )
    return counted["value"].combine_chunks()


def split_codes(batch: pa.RecordBatch, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the split of each row, LEFT_OUT for one that has no label or is in no split, and whether it has none."""
    codes = np.asarray(pc.fill_null(batch.column(SPLIT), LEFT_OUT), np.uint8)
    empty = is_missing(batch.column(label))
    return np.where(empty | (codes >= len(SPLITS)), LEFT_OUT, codes).astype(np.uint8), empty


def training_rows(table: Table, names: list[str], label: str, comm: MPI.Intracomm) -> tuple[Table, dict[str, int]]:
    """Collective. Return the columns `names` of the training rows, and how many rows are left out why.

    Raises:
        InputError: where there is no row for training.
    """
    codes = np.empty(table.num_rows, np.uint8)
    counts, start = np.zeros(3, np.int64), 0  # training rows, rows without a label, others in no split
    for batch in table.select([SPLIT, label]).batches():
        here, empty = split_codes(batch, label)
        codes[start : start + len(here)] = here
        counts += (here == 0).sum(), empty.sum(), ((here == LEFT_OUT) & ~empty).sum()
        start += len(here)
    comm.Allreduce(MPI.IN_PLACE, counts, op=MPI.SUM)
    if not counts[0]:
        raise InputError(
            "extract: received no row for training, allowed: at least one; clean less strictly or lower "
            "extract.validation and extract.test"
        )
    why = {"no label": int(counts[1]), "in no split": int(counts[2])}
    return table.select(names).filter(codes == 0), {reason: count for reason, count in why.items() if count}

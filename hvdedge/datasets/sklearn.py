"""The small real data sets that scikit-learn ships: iris, wine, breast cancer, diabetes, digits.

Source: scikit-learn's user guide, "Toy datasets", which names where each was published.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.parallel import block
from hvdedge.sources import columns_as_read
from hvdedge.tables import BATCH_ROWS, Table
from hvdedge.workspace import Source

LABEL = "label"


def read(
    source: Source,
    comm: MPI.Intracomm,
    *,
    name: Literal["breast_cancer", "diabetes", "digits", "iris", "wine"] = "breast_cancer",
) -> Table:
    """Collective. Read a data set that scikit-learn ships as a table.

    Args:
        source: nothing; what is read comes with scikit-learn.
        name: of the data set.
    Returns:
        This rank's block of the rows: the features by the names that scikit-learn gives them, with _ for blanks, and
        `label`, the name of the class, or the number that is to be told; `_line` is the row's number, from 1.
    """
    from sklearn import datasets  # as loading it takes a second

    found = getattr(datasets, f"load_{name}")()  # less than 2 MB, in one file
    rows = block(len(found.target), comm.size, comm.rank)
    names = [feature.replace(" ", "_") for feature in found.feature_names]
    is_class = "target_names" in found
    labels = np.asarray(found.target_names)[found.target].astype(str) if is_class else found.target
    columns = [*(np.ascontiguousarray(column) for column in found.data[rows].T), labels[rows]]
    lines = pa.array(np.arange(rows.start, rows.stop) + 1, pa.int64())
    files = pa.array([name] * len(lines), pa.string())
    table = pa.table([*map(pa.array, columns), files, lines], [*names, LABEL, "_file", "_line"])

    def batches() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches(BATCH_ROWS)

    types = dict.fromkeys(names, "float") | {LABEL: "category" if is_class else "float"}
    source.workspace.metrics["files"] = [{"file": name, "rows": len(found.target)}]
    source.workspace.metrics["columns"] = columns_as_read(types)
    return Table(table.schema, len(table), source.workspace, batches)

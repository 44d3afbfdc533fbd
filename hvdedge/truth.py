"""Judging a repair against a known truth. Methods decide without it; what they did is judged afterwards."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from hvdedge.errors import InputError, one_line


def rates(right: int, found: int, true: int) -> dict[str, float]:
    """Return precision, recall and f1 of `found` things of which `right` are among the `true` ones."""
    precision = right / found if found else float(not true)
    recall = right / true if true else 1.0
    return {"precision": precision, "recall": recall, "f1": 2 * right / (found + true) if found + true else 1.0}


class Cells:
    """The cells that are known to be wrong in the raw files: which record, which column, what kind, the true value.

    Args:
        path: a file with the columns column, kind and value; its first column names the records and has the name of
            the table's column that does.
        kinds: the kinds of trouble to look at.
        columns: the table's columns.
    Raises:
        InputError: where the file cannot be read or has other columns.
    """

    def __init__(self, path: str, kinds: Sequence[str], columns: Sequence[str]):
        cells = read(path)
        missing = [name for name in ("column", "kind", "value") if name not in cells.column_names]
        if missing:
            raise InputError(
                f"{path}: received the columns {', '.join(cells.column_names)}, allowed: an id, column, kind, value; "
                f"add {', '.join(missing)}"
            )
        self.id = cells.column_names[0]
        if self.id not in columns:
            raise InputError(
                f"{path}: received records named by {self.id!r}, which the table lacks, allowed: "
                f"{', '.join(columns)}; name the first column like one of these"
            )
        cells = cells.filter(pc.is_in(cells["kind"], value_set=pa.array(kinds)))
        self._of = {
            name: cells.filter(pc.equal(cells["column"], name)) for name in pc.unique(cells["column"]).to_pylist()
        }

    def find(self, ids: pa.Array, column: str) -> tuple[np.ndarray, pa.Array, pa.Array]:
        """Return for the records `ids`, text, whether their cell in `column` is known, its kind and its true value."""
        known = self._of.get(column)
        if known is None:
            nothing = pa.nulls(len(ids), pa.string())
            return np.zeros(len(ids), bool), nothing, nothing
        place = pc.index_in(ids, value_set=known[self.id])
        rows = known.take(place)
        return np.asarray(place.is_valid()), rows["kind"].combine_chunks(), rows["value"].combine_chunks()


def read(path: str) -> pa.Table:
    """Return a truth file, a CSV with a header, as text; empty cells are empty text.

    Raises:
        InputError: where it cannot be read or has less than two columns.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            header = file.readline()
        separator = max(",;\t|", key=header.count)
        names = [name.strip().strip('"') for name in header.strip().split(separator)]
        table = pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(column_names=names, skip_rows=1),
            parse_options=pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: received a truth file that cannot be read ({one_line(error)}); check the path"
        ) from None
    if len(names) < 2:
        raise InputError(f"{path}: received the one column {header.strip()!r}, allowed: a CSV of two or more; see docs")
    return table

"""Rows as they were before clean have the split of what clean made of them."""

import numpy as np
import pyarrow as pa
from small_tables import table_of

from hvdedge.splits import LEFT_OUT
from hvdedge.tables import ORIGIN, Table
from hvdedge.uncleaned import same_split
from hvdedge.workspace import CHANGES


def log(workspace, *rows: tuple[int, str, str]) -> Table:
    whole = [{"_file": "a.csv", "_line": line, "after": after, "rule": rule} for line, after, rule in rows]
    return Table.from_batches(CHANGES, pa.Table.from_pylist(whole, CHANGES).to_batches(), workspace)


def test_a_row_goes_where_its_record_went_and_no_copy_of_a_test_row_is_trained_on(workspace, comm):
    prepared = table_of(workspace, x=[*"abcdef"])  # lines 2 to 7
    cleaned = table_of(workspace, x=[*"abde"], _split=pa.array([0, 2, 1, 0], pa.uint8())).to_arrow()
    lines = pa.array([2, 3, 5, 6], pa.int64())  # 4 is a copy of 3, 7 one of 5
    cleaned = cleaned.set_column(cleaned.schema.get_field_index("_line"), "_line", lines)
    table = Table.from_batches(cleaned.schema, cleaned.to_batches(), workspace)
    changes = log(workspace, (4, "a.csv:3", "duplicate"), (7, "a.csv:5", "duplicate"), (6, "a.csv:2", "mended"))
    split = same_split(prepared, table, changes, comm)
    assert split.tolist() == [0, LEFT_OUT, LEFT_OUT, 1, 0, 1]
    assert split.dtype == np.uint8


def test_a_row_that_clean_took_out_is_in_no_split(workspace, comm):
    prepared = table_of(workspace, x=[*"abc"])
    cleaned = table_of(workspace, x=[*"ab"], _split=pa.array([0, 1], pa.uint8()))
    assert same_split(prepared, cleaned, log(workspace), comm).tolist() == [0, 1, LEFT_OUT]
    nothing = Table.from_batches(prepared.schema, [], workspace).select([*ORIGIN])
    assert same_split(nothing, cleaned, log(workspace), comm).tolist() == []

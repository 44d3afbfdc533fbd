"""What `hvdedge show` prints of a table."""

import datetime

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from hvdedge import table_view

ROWS = pa.table(
    {
        "id": [1, 2, 3],
        "day": [datetime.date(2024, 1, 31), None, None],
        "pixels": [[0, 1], [2, 3], None],
        "t": ['a"', "", None],
    }
)


def test_a_tables_parts_are_shown_as_one(tmp_path, capfd):
    pyarrow.parquet.write_table(ROWS, tmp_path / "part-00000.parquet")
    pyarrow.parquet.write_table(ROWS.slice(1), tmp_path / "part-00001.parquet")
    assert table_view.is_table(tmp_path) and not table_view.is_table(tmp_path.parent)
    table_view.show(tmp_path, as_csv=False)
    title, heading, _, *rows = capfd.readouterr().out.splitlines()
    assert title.endswith("5 rows")
    assert heading.split() == ["id", "day", "pixels", "t"]
    assert len(rows) == 5


def test_a_table_without_rows_is_told_by_its_columns(tmp_path, capfd):
    pyarrow.parquet.write_table(ROWS.slice(0, 0), tmp_path / "part-00000.parquet")
    table_view.show(tmp_path, as_csv=False)
    assert capfd.readouterr().out.splitlines() == [f"{tmp_path}: 0 rows", "Its columns: id, day, pixels, t."]


def test_csv_reads_back_as_the_table(tmp_path, capfd):
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(ROWS, path)
    table_view.show(path, as_csv=True)
    read = pyarrow.csv.read_csv(pa.py_buffer(capfd.readouterr().out.encode()))
    assert read.column("day").to_pylist() == ROWS.column("day").to_pylist()
    assert read.column("pixels").to_pylist() == ["[0, 1]", "[2, 3]", ""]

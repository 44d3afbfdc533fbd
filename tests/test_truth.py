"""What is known to be true, read and held against what was found."""

import numpy as np
import pyarrow as pa
import pytest

from hvdedge.errors import InputError
from hvdedge.truth import Cells, CleanTable, rates, read


def test_precision_and_recall_are_those_of_the_counts_which_are_told_too():
    counts = {"right": 2, "found": 4, "true": 3}
    assert rates(**counts) == {**counts, "precision": 2 / 4, "recall": 2 / 3, "f1": 4 / 7}
    nothing = {"right": 0, "found": 0, "true": 0}
    assert rates(**nothing) == {**nothing, "precision": 1.0, "recall": 1.0, "f1": 1.0}
    missed = {"right": 0, "found": 0, "true": 5}
    assert rates(**missed) == {**missed, "precision": 0.0, "recall": 0.0, "f1": 0.0}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_truth_is_read_as_text_whatever_parts_its_columns(separator, tmp_path):
    path = tmp_path / "truth.csv"
    lines = [("id", "cluster"), ("007", "1"), ("é", '"a\nb"'), ("", "NA")]
    path.write_text("\ufeff" + "\r\n".join(map(separator.join, lines)) + "\r\n", encoding="utf-8")
    assert read(str(path)).to_pydict() == {"id": ["007", "é", ""], "cluster": ["1", "a\nb", "NA"]}


def test_cells_are_found_by_record_and_column(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("scan,column,kind,value\ns1,p1,missing,4\ns2,p1,noise,5\ns3,p2,ragged,\n", encoding="utf-8")
    cells = Cells(str(path), ["missing", "ragged"], ["scan", "p1", "p2"])
    known, kinds, values = cells.find(pa.array(["s3", "s2", None, "s1"]), "p1")
    assert known.tolist() == [False, False, False, True]
    assert (kinds.to_pylist()[3], values.to_pylist()[3]) == ("missing", "4")
    known, _, values = cells.find(pa.array(["s3"]), "p2")
    assert (known.tolist(), values.to_pylist()) == ([True], [""])
    known, _, values = cells.find(pa.array(["s3", "s1"]), "p9")
    assert (known.tolist(), values.null_count) == ([False, False], 2)
    assert isinstance(known, np.ndarray)


def test_a_truth_without_a_cell_of_a_kind_that_is_looked_at_is_refused(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("id,column,kind,value\n1,x,wrong,4\n2,x,,5\n3,x,wrong,6\n", encoding="utf-8")
    with pytest.raises(InputError, match="received the kinds wrong, '', allowed: missing, ragged; name the kind"):
        Cells(str(path), ["missing", "ragged"], ["id", "x"])
    assert Cells(str(path), ["missing", "wrong"], ["id", "x"]).find(pa.array(["1", "2"]), "x")[0].tolist() == [
        True,
        False,
    ]
    path.write_text("id,column,kind,value\n", encoding="utf-8")  # nothing is wrong
    assert Cells(str(path), ["missing"], ["id", "x"]).find(pa.array(["1"]), "x")[0].tolist() == [False]


def test_a_truth_whose_records_the_table_cannot_name_is_refused(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("scan,column,kind,value\n", encoding="utf-8")
    with pytest.raises(InputError, match="records named by 'scan', which the table lacks, allowed: id, x; name"):
        Cells(str(path), ["missing"], ["id", "x"])
    path.write_text("scan,column\n", encoding="utf-8")
    with pytest.raises(InputError, match="received the columns scan, column, allowed: .*; add kind, value"):
        Cells(str(path), ["missing"], ["scan"])


@pytest.mark.parametrize(
    ("kind", "cell", "true", "expected"),
    [
        ("text", "  the  End", "The end ", True),
        ("text", "end", "ends", False),
        ("text", None, "", True),
        ("text", None, "NA", True),
        ("text", None, "end", False),
        ("text", "end", "", False),
        ("category", "Caf\u00e9", "Cafe\u0301", True),
        ("boolean", "true", "Yes", True),
        ("boolean", "false", "yes", False),
        ("boolean", "false", "n", True),
        ("integer", "100", "100%", True),
        ("float", "1", "100%", True),
        ("integer", "37", "37 patients", True),
        ("integer", "37", "3x patients", False),
        ("integer", "1234", "$1,234.00", True),
        ("integer", "3", "3-4", False),
        ("float", "0.5", ".5", True),
        ("float", "-2000", "-2e3", True),
        ("float", "0.1", "0.1000000001", True),
        ("float", "0.1", "0.1001", False),
        ("integer", "5", "five", False),
        ("date", "2020-02-01", "01.02.2020", True),
        ("timestamp", "2020-02-01 10:00:00", "2020-02-01T10:00", True),
        ("date", "2020-02-01", "02.03.2020", False),
    ],
)
def test_a_cell_is_right_when_it_means_what_the_truth_says(kind, cell, true, expected, tmp_path):
    path = tmp_path / "clean.csv"
    path.write_text(f'other,x\na,b\nc,"{true}"\n', encoding="utf-8")
    clean = CleanTable(str(path), ["x", "y"], 2)
    assert clean.columns == ["x"]
    assert clean.right("x", pa.array([cell], pa.string()), kind, 1).tolist() == [expected]


def test_a_clean_table_may_be_a_list_of_its_cells_in_any_order(tmp_path):
    path = tmp_path / "clean.csv"
    path.write_text("row,name,cell\n1,x,b\n0,y,c\n0,x,a\n1,y,d\n", encoding="utf-8")
    clean = CleanTable(str(path), ["x", "y"], 2)
    assert clean.right("x", pa.array(["a", "b"]), "text", 0).tolist() == [True, True]
    assert clean.right("y", pa.array(["c", "c"]), "text", 0).tolist() == [True, False]

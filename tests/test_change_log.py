"""What a change log holds in short: counts and the first examples of each rule."""

import pyarrow as pa

from hvdedge.change_log import EXAMPLES, MOST_CHARS, Totals, summarise
from hvdedge.workspace import CHANGES, QUARANTINE


def changes(*entries):
    columns = list(zip(*entries, strict=True))
    return pa.record_batch(
        [pa.array(values, field.type) for values, field in zip(columns, CHANGES, strict=True)], CHANGES
    )


def test_rules_are_counted_and_the_first_entries_shown(comm):
    first = changes(("a.csv", 2, "x", "1,5", "1.5", "number"), ("a.csv", 3, "y", "?", None, "missing"))
    more = changes(*[("b.csv", line, "y", "NA", None, "missing") for line in range(5)])
    found = summarise([first, more], comm)
    assert list(found) == ["missing", "number"]
    assert found["missing"]["count"] == 6 and len(found["missing"]["examples"]) == EXAMPLES
    assert found["missing"]["examples"][0] == {"file": "a.csv", "line": 3, "column": "y", "before": "?", "after": None}
    assert found["number"] == {
        "count": 1,
        "examples": [{"file": "a.csv", "line": 2, "column": "x", "before": "1,5", "after": "1.5"}],
    }


def test_no_entries_are_no_rules_and_long_texts_are_cut(comm):
    assert summarise([], comm) == {}
    values = {"_file": ["a"], "_line": [1], "text": ["z" * 500], "rule": ["long_row"], "column": [None]}
    batch = pa.record_batch([pa.array(values[field.name], field.type) for field in QUARANTINE], QUARANTINE)
    assert summarise([batch], comm)["long_row"]["examples"][0]["text"] == "z" * MOST_CHARS + "..."


def test_totals_part_cells_from_rows_and_rows_set_aside_from_what_stands_before_the_table(comm):
    entries = [("a", 2, "x", "1,5", "1.5", "number"), ("a", 3, "x", "?", None, "missing")]
    entries += [("a", 4, "y", None, None, "short_row"), ("a", 5, "", "1;2;;", None, "long_row")]
    entries += [("a", 6, None, None, None, "merged")] * 2
    aside = [("preamble", None), ("total_row", None), ("type", "x"), ("note", None)]
    columns = {"_file": ["a"] * 4, "_line": [1, 2, 3, 4], "text": ["z"] * 4}
    columns |= {"rule": [rule for rule, _ in aside], "column": [column for _, column in aside]}
    quarantine = pa.record_batch([pa.array(columns[field.name], field.type) for field in QUARANTINE], QUARANTINE)
    totals, log = Totals(7), [changes(*entries[:3]), changes(*entries[3:])]
    assert [*totals.changed(log), *totals.set_aside([quarantine])] == [*log, quarantine]
    made = totals.over(comm)
    assert made == {"rows": 7, "cells_changed": 3, "cells_emptied": 1, "rows_taken_out": 2, "rows_set_aside": 2}

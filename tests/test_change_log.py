"""What a change log holds in short: counts and the first examples of each rule."""

import pyarrow as pa

from hvdedge.change_log import EXAMPLES, MOST_CHARS, summarise
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

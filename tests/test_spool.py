"""Batches come back in order, from memory and from scratch, while more arrive."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge.errors import InputError
from hvdedge.spool import Spool
from hvdedge.tables import read_parts

SCHEMA = pa.schema([("number", pa.int64()), ("text", pa.string())])


def batch(numbers):
    return pa.record_batch([numbers, [f"row {number}" for number in numbers]], schema=SCHEMA)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 999), max_size=20), max_size=12), st.sampled_from([0, 100, 10**6]))
def test_what_was_taken_in_is_read_back_in_order_as_often_as_asked(tmp_path_factory, parts, limit_bytes):
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(SCHEMA, folder, limit_bytes)
    expected = []
    for part in parts:
        spool.append(batch(part))
        expected += part
        for _ in range(2):
            assert [number for found in spool for number in found["number"].to_pylist()] == expected
    assert spool.num_rows == len(spool) == len(expected)
    assert bool(list(folder.iterdir())) == (
        limit_bytes < 10**6 and sum(batch(part).nbytes for part in parts) > limit_bytes
    )


def test_memory_stays_below_the_limit(tmp_path):
    before = pa.total_allocated_bytes()
    spool = Spool(SCHEMA, tmp_path, 200_000)
    for start in range(0, 200_000, 1000):
        spool.append(batch(range(start, start + 1000)))
    assert pa.total_allocated_bytes() - before < 400_000
    assert spool.num_rows == 200_000
    spool.clear()
    assert list(spool) == []
    assert not list(tmp_path.iterdir())


def test_a_disk_that_cannot_be_written_is_one_clear_line(tmp_path):
    spool = Spool(SCHEMA, tmp_path / "gone", 10)
    with pytest.raises(InputError, match=r"scratch files cannot be written \(No such file or directory\)") as error:
        spool.append(batch(range(100)))
    assert "TMPDIR" in str(error.value)


MIXED = {
    "a.b": [1, 2, 3],
    "a": ["x", "y", None],
    "list": [[1], [2, 3], []],
    "word": pa.array(list("uvu")).dictionary_encode(),
}


@pytest.mark.parametrize("limit", [1, 1 << 20])
@pytest.mark.parametrize("names", [["a"], ["a.b"], ["list", "a"], ["word", "a.b", "list"], []])
def test_some_columns_are_read_in_the_order_asked_for(names, limit, tmp_path):
    table = pa.table(MIXED)
    spool = Spool(table.schema, tmp_path, limit)
    for batch in table.to_batches(2):
        spool.append(batch)
    found = [*spool.select(names)]
    assert [batch.schema.names for batch in found] == [names, names]
    assert [row for batch in found for row in batch.to_pylist()] == table.select(names).to_pylist()


@pytest.mark.parametrize("names", [["a"], ["a.b"], ["list", "a"], ["word", "a.b", "list"], []])
def test_some_columns_of_parquet_parts_are_read_in_the_order_asked_for(names, comm, workspace, tmp_path):
    table = pa.table(MIXED)
    parts = [tmp_path / f"part-{number}.parquet" for number in range(2)]
    for part in parts:
        pq.write_table(table, part)
    found = read_parts(parts, comm, workspace).select(names)
    assert found.schema.names == names
    assert [row for batch in found.batches() for row in batch.to_pylist()] == 2 * table.select(names).to_pylist()

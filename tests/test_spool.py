"""Batches come back in order, from memory and from scratch, while more arrive."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge.errors import InputError
from hvdedge.spool import Spool

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

"""Distinct values, entropy and the most frequent values of columns of many values, against collections.Counter."""

import datetime
import decimal
import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdedge import columns, value_hashes
from hvdedge.profiling import statistics
from hvdedge.tables import Table
from hvdedge.workspace import Workspace

FIXTURE = [HealthCheck.function_scoped_fixture]


def described(comm, workspace, top=10, batch_rows=500, **values) -> dict:
    rows = pa.table(values)
    table = Table.from_batches(rows.schema, rows.to_batches(batch_rows), workspace)
    return statistics.profile(table, comm, top=top)["columns"]


def entropy_of(counts) -> float:
    return math.log2(sum(counts)) - math.fsum(count * math.log2(count) for count in counts) / sum(counts)


def falling(values) -> list[dict]:
    counted = sorted(Counter(values).items(), key=lambda one: (-one[1], one[0]))
    return [{"value": value, "count": count} for value, count in counted]


@settings(deadline=None, suppress_health_check=FIXTURE, max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    most=st.integers(1, 400),
    heavy=st.integers(0, 12),
    as_text=st.booleans(),
    few_bytes=st.booleans(),
)
def test_frequent_values_among_many_are_those_of_counting_all(
    comm, workspace, monkeypatch, seed, most, heavy, as_text, few_bytes
):
    draw = np.random.default_rng(seed)
    values = np.concatenate(
        [draw.integers(0, 3000, 2000), *(np.full(draw.integers(1, 300), 5000 + one) for one in range(heavy))]
    )
    draw.shuffle(values)
    cells = [f"v{value}" for value in values.tolist()] if as_text else values.tolist()
    small = Workspace(workspace.run, workspace.scratch, 8 * (2000 if few_bytes else 1_000_000))
    with monkeypatch.context() as patched:
        patched.setattr(statistics, "MOST_VALUES", most)
        found = described(comm, small, x=cells)["x"]
    true = falling(cells)
    assert (found["distinct"], found["distinct_is_exact"]) == (len(true), True)
    assert found["entropy"] == pytest.approx(entropy_of([one["count"] for one in true]), rel=1e-12)
    above = found["top_above"]
    assert found["top"] == [one for one in true[:10] if one["count"] > above]
    if above:  # then more values have this count than may be held, or their texts could take more than may be
        of_bytes = sum(map(len, cells)) // (128 * most) if as_text else 0
        assert above == of_bytes or sum(one["count"] >= above for one in true) > most
    else:
        assert len(found["top"]) == min(10, len(true))


def test_ten_heavy_values_of_a_million_are_found_in_small_memory(comm, workspace):
    draw = np.random.default_rng(0)
    values = draw.permutation(np.concatenate([np.arange(300_000), np.repeat(np.arange(10) * 7, 20 + np.arange(10))]))
    small = Workspace(workspace.run, workspace.scratch, 1_000_000)  # 2,000 values are counted, 62 rounds
    found = described(comm, small, x=values, batch_rows=8192)["x"]
    assert found["top"] == [{"value": 7 * one, "count": 21 + one} for one in range(9, -1, -1)]
    assert (found["distinct"], found["top_above"]) == (300_000, 0)


def test_of_a_key_no_value_is_frequent(comm, workspace, monkeypatch):
    monkeypatch.setattr(statistics, "MOST_VALUES", 1000)
    found = described(comm, workspace, x=[f"n{number}" for number in range(5000)])["x"]
    assert (found["distinct"], found["top"], found["top_above"]) == (5000, [], 1)
    assert found["entropy"] == pytest.approx(math.log2(5000), rel=1e-15)


def test_few_long_texts_are_too_many_for_little_memory_and_told_all_the_same(comm, workspace):
    texts = [letter * 20_000 for letter in "abcdefghijklmnop"]  # 320 kB, of 8 * 128 kB for the column
    cells = [text for number, text in enumerate(texts) for _ in range(number + 1)]
    small = Workspace(workspace.run, workspace.scratch, 1_000_000)
    found = described(comm, small, x=cells, top=3)["x"]
    assert (found["distinct"], found["entropy"]) == (16, pytest.approx(entropy_of(range(1, 17)), rel=1e-14))
    above = sum(map(len, cells)) // (128 * 1000)  # values that are more frequent take 128 kB at most
    assert found["top_above"] == above == 21
    assert found["top"] == []
    repeated = described(comm, small, x=[*cells, *["z"] * 30], top=3)["x"]
    assert repeated["top"] == [{"value": "z", "count": 30}]


@pytest.mark.parametrize("limit_bytes", [9, 10])
def test_a_counter_gives_up_at_its_bytes_too_and_hands_over_what_it_held(limit_bytes):
    taken = []
    counter = columns.Counter(100, limit_bytes, taken.append)
    counter.add(pa.array(["äb", "äb", "cde"]))
    counter.add(pa.array(["fghi", "cde"]))  # 3 + 3 + 4 bytes
    assert counter.is_over == (limit_bytes == 9)
    given = [dict(zip(each["value"].to_pylist(), each["count"].to_pylist(), strict=True)) for each in taken]
    assert given == ([{"äb": 2, "cde": 2, "fghi": 1}] if limit_bytes == 9 else [])


def test_cells_have_one_key_if_and_only_if_they_are_equal_and_those_of_numbers_and_clocks_tell_them_in_order():
    start = datetime.datetime(2024, 10, 27)
    ticks = pa.array(np.arange(2**60, 2**60 + 9))
    for cells in (
        pa.array([-1e300, -0.1, 0.0, 0.1, 1e300], pa.float64()),
        pa.array([-1.5, -0.0, 2.5], pa.float32()),
        pa.array([0, 1, 2**64 - 1], pa.uint64()),
        pa.array([-1, 0, 1], pa.int8()),
        pa.array([-(2**63), 2**63 - 2, 2**63 - 1], pa.int64()),
        ticks.cast(pa.timestamp("ns", "Europe/Berlin")),  # nearer to each other than a float64 can tell
        pa.array([datetime.date(1, 1, 1), start.date()]),
        pa.array([datetime.date(1, 1, 1), start.date()], pa.date64()),
        pa.array([start.time(), datetime.time(1)], pa.time32("s")),
        pa.array([start.time(), datetime.time(1)], pa.time64("ns")),
        pa.array([False, True]),
        pa.array(["", "a", "ä", "b" * 5000]),
        pa.array([b"\xff", b""]),
        pa.array([decimal.Decimal("-1.10"), decimal.Decimal("9.99")]),
    ):
        twice = value_hashes.value_keys(pa.concat_arrays([cells, cells.slice(1)]))
        assert len({*twice.tolist()}) == len(cells)
        assert twice[len(cells) :].tolist() == twice[1 : len(cells)].tolist()
        if value_hashes.tells_cells(cells.type):
            assert value_hashes.cells_of(twice[: len(cells)], cells.type).equals(cells)
            assert (twice[: len(cells)] == np.sort(twice[: len(cells)])).all()
    assert [value_hashes.tells_cells(type) for type in (pa.float32(), pa.string(), pa.decimal128(3, 2))] == [
        True,
        False,
        False,
    ]
    zeros = value_hashes.value_keys(pa.array([0.0, -0.0]))
    assert zeros[0] == zeros[1]

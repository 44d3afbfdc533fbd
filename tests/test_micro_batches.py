"""Micro-batches: whole batches while memory lasts, halves of them while it is short, and every row once either way."""

import dataclasses

import keras
import numpy as np
import pytest

from hvdedge import micro_batches
from hvdedge.micro_batches import MicroBatches
from hvdedge.shards import Batch

ROW = 1_000_000  # bytes that a row takes in the steps below
PLENTY = 10**15


@dataclasses.dataclass
class Host:
    """A host whose memory a test sets, in bytes."""

    left: int = PLENTY
    resident: int = 0
    peak: int = 0


@pytest.fixture
def host(monkeypatch):
    """The host that micro-batches see, at every look."""
    host = Host()
    monkeypatch.setattr(micro_batches, "available_bytes", lambda: host.left)
    monkeypatch.setattr(micro_batches, "resident_bytes", lambda: host.resident)
    monkeypatch.setattr(micro_batches, "peak_rss_bytes", lambda: host.peak)
    monkeypatch.setattr(micro_batches, "LOOK_SECONDS", 0)
    return host


def model(width: int = 8) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(width), keras.layers.Dense(width)])


def measured(host: Host, batch_size: int, local_ranks: int = 1) -> MicroBatches:
    """Return micro-batches after a step in whole batches, whose rows took ROW each."""
    micro = MicroBatches(model(), batch_size, local_ranks)
    host.peak += batch_size * ROW
    micro.look()
    assert micro.rows == batch_size
    assert micro.take_events() == []
    return micro


def looked(micro: MicroBatches, host: Host, left: int) -> int:
    """Return the rows of a part after a look at what is left."""
    host.left = left
    micro.look()
    return micro.rows


def batch(rows: int) -> Batch:
    """Return rows that all differ, in their weights as well."""
    numbers = np.arange(rows)
    return Batch(numbers[:, None] * np.ones(4, np.float32), numbers, np.float32(1 / (1 + numbers)), 3 * rows)


def check_parts(parts: list[Batch], whole: Batch, most: int) -> None:
    """Check that parts of so many rows at most hold each row once, in its place, as it was."""
    for name in ("x", "y", "weights"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name), strict=True)
    assert all(0 < len(part.x) == len(part.y) == len(part.weights) <= most for part in parts)
    assert {part.together for part in parts} == {whole.together}


@pytest.mark.parametrize("rows", [1, 7, 63, 64])
def test_a_batch_is_one_part_where_memory_is_plenty(host, rows):
    micro = MicroBatches(model(), 64, 1)
    whole = batch(rows)
    parts = micro.parts(whole)
    assert len(parts) == 1
    check_parts(parts, whole, rows)
    assert micro.take_events() == []


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 33, 64, 200])
def test_parts_hold_every_row_once_with_its_weight(host, rows):
    micro = measured(host, 64)
    assert looked(micro, host, 20 * ROW) == 16
    whole = batch(rows)
    parts = micro.parts(whole)
    check_parts(parts, whole, 16)
    assert len(parts) == -(-rows // 16)


@pytest.mark.parametrize(
    ("left_rows", "rows"),
    [(100, 64), (69, 64), (68, 32), (35, 32), (34, 16), (18, 16), (17, 8), (3, 2), (2, 1), (1.1, 1)],
)
def test_parts_are_halved_until_one_fits_into_fifteen_sixteenths_of_what_is_left(host, left_rows, rows):
    micro = measured(host, 64)
    assert looked(micro, host, int(left_rows * ROW)) == rows


def test_what_is_resident_is_held_free_by_a_sixteenth_as_well(host):
    """160 rows are the rank's: 10 of them stay free, so that 50 of the 60 that are left do for 32."""
    micro = measured(host, 64)
    host.resident = 100 * ROW
    assert looked(micro, host, 60 * ROW) == 32
    host.resident = 500 * ROW  # 35 of the 60
    assert looked(micro, host, 60 * ROW) == 16


def test_ranks_of_a_host_share_what_is_left(host):
    micro = measured(host, 64, local_ranks=4)
    assert looked(micro, host, 4 * 35 * ROW) == 32
    assert looked(micro, host, 4 * 34 * ROW) == 16


@pytest.mark.parametrize(("batch_size", "halves"), [(50, [25, 13, 7, 4, 2, 1]), (1, [1])])
def test_uneven_batches_are_halved_upwards_down_to_a_row(host, batch_size, halves):
    micro = measured(host, batch_size)
    for rows in halves:
        assert looked(micro, host, int(1.1 * rows * ROW)) == rows
        whole = batch(batch_size)
        check_parts(micro.parts(whole), whole, rows)


def test_an_event_tells_that_memory_was_short_once(host):
    micro = measured(host, 64)
    looked(micro, host, 20 * ROW)
    looked(micro, host, 20 * ROW)
    (event,) = micro.take_events()
    told = {"left_bytes": 20 * ROW, "row_bytes": ROW, "action": "steps in parts of 16 rows", "is_short": True}
    assert event == told
    assert micro.take_events() == []


def test_an_event_tells_where_not_even_a_row_fits_and_tells_it_anew_after_relief(host):
    micro = measured(host, 64)
    for _ in range(3):
        assert looked(micro, host, ROW // 2) == 1
    (event,) = micro.take_events()
    assert event["action"] == "none: a part of one row does not fit"
    looked(micro, host, 2 * ROW)  # a row fits, two do not
    looked(micro, host, ROW // 2)
    assert [event["action"] for event in micro.take_events()] == ["none: a part of one row does not fit"]


def test_parts_grow_to_whole_batches_again_a_doubling_a_look(host):
    micro = measured(host, 50)
    assert looked(micro, host, 8 * ROW) == 7
    micro.take_events()
    assert [looked(micro, host, PLENTY) for _ in range(4)] == [14, 28, 50, 50]
    whole = batch(50)
    assert len(micro.parts(whole)) == 1
    check_parts(micro.parts(whole), whole, 50)
    actions = [f"steps in parts of {rows} rows again" for rows in (14, 28, 50)]
    assert [event["action"] for event in micro.take_events()] == actions


def test_parts_grow_only_where_twice_what_they_would_take_is_left(host):
    micro = measured(host, 64)
    assert looked(micro, host, 20 * ROW) == 16
    micro.take_events()
    assert len(micro.parts(batch(10))) == 1
    for _ in range(3):
        assert looked(micro, host, 68 * ROW) == 16  # 63.75 may be taken, and 64 are twice 32
    assert micro.take_events() == []
    assert looked(micro, host, 69 * ROW) == 32


def test_memory_is_short_from_the_first_step_on_where_the_model_says_so(host):
    host.left = 1000
    micro = MicroBatches(model(), 64, 1)
    assert micro.rows < 64
    (event,) = micro.take_events()
    assert event["action"] == f"steps in parts of {micro.rows} rows"
    whole = batch(64)
    check_parts(micro.parts(whole), whole, micro.rows)


def test_ranks_of_a_host_share_what_is_left_from_the_first_step_on(host):
    host.left = 20_000
    alone, beside_others = MicroBatches(model(), 64, 1), MicroBatches(model(), 64, 4)
    host.left = 5_000
    assert beside_others.rows == MicroBatches(model(), 64, 1).rows < alone.rows


def test_a_row_takes_as_much_as_the_layers_make_of_it_before_the_first_step(host):
    host.left = 0
    row_bytes = []
    for width in (100, 200):
        (event,) = MicroBatches(model(width), 64, 1).take_events()
        row_bytes.append(event["row_bytes"])
    assert row_bytes[1] == 2 * row_bytes[0]
    assert row_bytes[0] > 2 * 100 * 4  # two layers' outputs in float32, at least


def test_a_step_that_raises_the_peak_tells_what_a_row_takes(host):
    """A convolution's buffers are in no layer's output: parts follow what steps took."""
    host.left = 40 * ROW
    host.resident, host.peak = 3 * ROW, 5 * ROW
    micro = MicroBatches(model(), 64, 1)
    assert micro.rows == 64
    host.peak = 3 * ROW + 64 * 2 * ROW  # beyond the 3 that stay resident
    micro.look()
    (event,) = micro.take_events()
    assert event["row_bytes"] == 2 * ROW
    assert micro.rows == 16  # 37.25 may be taken


def test_what_raises_the_peak_before_a_step_is_not_its(host):
    """Such as TensorFlow's building of the graph."""
    micro = measured(host, 64)
    host.peak += 1000 * 64 * ROW
    micro.settle()
    assert looked(micro, host, 70 * ROW) == 64
    assert looked(micro, host, 20 * ROW) == 16


@pytest.mark.parametrize("rows", [65, 200])
def test_a_batch_of_any_size_is_whole_until_memory_is_short(host, rows):
    """A rank's lanes may be more than a batch size, and a client's rows."""
    micro = MicroBatches(model(), 64, 1)
    whole = batch(rows)
    assert len(micro.parts(whole)) == 1
    check_parts(micro.parts(whole), whole, rows)
    looked(micro, host, ROW // 100)
    check_parts(micro.parts(whole), whole, micro.rows)
    assert micro.rows < 64


def test_what_a_larger_batch_takes_is_told_by_its_rows(host):
    micro = MicroBatches(model(), 64, 1)
    micro.parts(batch(200))
    host.peak += 200 * ROW
    micro.look()
    assert looked(micro, host, 214 * ROW) == 64  # 200.6 may be taken
    assert looked(micro, host, 130 * ROW) == 32  # no longer whole, in parts of half a batch size
    assert {event["row_bytes"] for event in micro.take_events()} == {ROW}


def test_a_larger_batch_is_whole_again_only_where_twice_what_it_takes_is_left(host):
    micro = MicroBatches(model(), 64, 1)
    micro.parts(batch(200))
    host.peak += 200 * ROW
    micro.look()
    assert looked(micro, host, 213 * ROW) == 32  # 199.7 may be taken
    assert len(micro.parts(batch(10))) == 1  # as an epoch's last may be
    for _ in range(3):
        assert looked(micro, host, 426 * ROW) == 32  # 399.4, and 400 are twice 200
    assert looked(micro, host, 427 * ROW) == 64


def test_no_more_rows_are_judged_at_once_than_fit_when_memory_is_short(host):
    micro = measured(host, 64)
    assert micro.at_once(512) == 256  # four times a batch, which takes no more than a step
    assert looked(micro, host, 20 * ROW) == 16
    assert 16 <= micro.at_once(512) < 256
    assert micro.at_once(10) == 10


def test_batches_stay_whole_where_that_is_wanted(host):
    host.left = 0
    micro = MicroBatches(model(), 64, 1, is_on=False)
    host.peak += 64 * ROW
    micro.look()
    whole = batch(64)
    check_parts(micro.parts(whole), whole, 64)
    assert len(micro.parts(whole)) == 1
    assert micro.at_once(512) == 512
    assert micro.take_events() == []


def test_nothing_changes_between_two_looks(host, monkeypatch):
    micro = measured(host, 64)
    monkeypatch.setattr(micro_batches, "LOOK_SECONDS", 10**9)
    assert looked(micro, host, ROW) == 64
    assert micro.take_events() == []

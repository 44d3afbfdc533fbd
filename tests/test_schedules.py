"""The order of a pipeline's moves, as literal tables, and what holds of any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdedge import schedules

F, B = "forward", "backward"
SCHEDULES = {"gpipe": schedules.gpipe, "1f1b": schedules.one_f_one_b}
sizes = st.integers(1, 9), st.integers(1, 6), st.sampled_from([*SCHEDULES])


def moves(name, micro_batches, parts):
    return [[*SCHEDULES[name](micro_batches, parts, part)] for part in range(parts)]


def test_gpipe_goes_forward_with_all_and_then_backward():
    assert moves("gpipe", 3, 2) == [[(F, 0), (F, 1), (F, 2), (B, 2), (B, 1), (B, 0)]] * 2


def test_1f1b_goes_backward_as_soon_as_it_can():
    assert moves("1f1b", 4, 3) == [
        [(F, 0), (F, 1), (F, 2), (B, 0), (F, 3), (B, 1), (B, 2), (B, 3)],
        [(F, 0), (F, 1), (B, 0), (F, 2), (B, 1), (F, 3), (B, 2), (B, 3)],
        [(F, 0), (B, 0), (F, 1), (B, 1), (F, 2), (B, 2), (F, 3), (B, 3)],
    ]


@given(*sizes)
def test_each_micro_batch_goes_forward_and_then_backward_once(micro_batches, parts, name):
    for part in moves(name, micro_batches, parts):
        assert sorted(part) == sorted([(move, number) for move in (F, B) for number in range(micro_batches)])
        assert all(part.index((F, number)) < part.index((B, number)) for number in range(micro_batches))


@given(*sizes)
def test_no_part_holds_more_than_it_is_said_to(micro_batches, parts, name):
    for part, most in zip(
        moves(name, micro_batches, parts), schedules.in_flight(name, micro_batches, parts), strict=True
    ):
        held = [sum(1 if move == F else -1 for move, _ in part[:end]) for end in range(len(part) + 1)]
        assert max(held) == most


@given(*sizes)
def test_the_idle_share_is_the_bubble_where_each_move_takes_as_long(micro_batches, parts, name):
    left = moves(name, micro_batches, parts)
    done, seconds = {}, 0
    while any(left):
        ready = []
        for part, queue in enumerate(left):
            if queue:
                move, number = queue[0]
                before = (move, number, part - 1 if move == F else part + 1)
                if not 0 <= before[2] < parts or before in done:
                    ready.append((part, queue[0]))
        assert ready  # else they wait for each other for ever
        for part, move in ready:
            done[*move, part] = seconds
            left[part].pop(0)
        seconds += 1
    assert 1 - 2 * micro_batches / seconds == pytest.approx(schedules.bubble(micro_batches, parts))

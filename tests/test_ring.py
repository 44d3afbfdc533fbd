"""When batches enter a ring and what its nodes do, as literal tables, and what holds of any ring."""

from hypothesis import given
from hypothesis import strategies as st

from hvdedge import ring
from hvdedge.ring import Entry

rings = st.lists(st.integers(0, 20), min_size=1, max_size=5), st.integers(1, 5), st.booleans()
BATCHES = [Entry(0, 8, False), Entry(1, 8, True)]


def test_each_node_that_has_rows_left_enters_a_batch_a_round():
    assert ring.entries([5, 4, 2], 3) == [
        *(Entry(0, 8, False), Entry(1, 8, False), Entry(2, 8, True)),
        *(Entry(0, 3, False), Entry(1, 3, True)),
    ]


def test_a_ring_without_rows_enters_a_batch_of_none_where_others_have_rows_left():
    assert ring.entries([3, 2], 3, [4, 3]) == [Entry(0, 11, False), Entry(1, 11, True), Entry(0, 1, True)]


def test_what_is_made_travels_for_an_iteration():
    assert [*ring.moves(BATCHES, 2, 0, False)] == [
        *([("enter", 0)], [], [("forward", 0)], [("forward", 1)]),
        *([], [], [("backward", 0)], [("backward", 1)]),
    ]
    assert [*ring.moves(BATCHES, 2, 1, False)] == [
        *([], [("enter", 1)], [], []),
        *([("forward", 0), ("backward", 0)], [("forward", 1), ("backward", 1)], [], []),
    ]


def test_lent_layers_go_to_where_a_batch_enters_and_their_gradient_comes_back():
    moves = [[move for move in moves if move[1] == 1] for moves in ring.moves(BATCHES, 2, 0, True)]
    assert [move for moves in moves for move in moves] == [
        *(("lend", 1), ("forward", 1), ("backward", 1), ("settle", 1)),
    ]
    assert [number for number, moves in enumerate(moves) if moves] == [1, 5, 9, 13]
    away = [(number, *move) for number, moves in enumerate(ring.moves(BATCHES, 2, 1, True)) for move in moves]
    assert [found for found in away if found[1] in ("enter", "return")] == [(3, "enter", 1), (11, "return", 1)]


@given(*rings)
def test_each_row_enters_once_and_rounds_end_with_their_last_batch(rows, batch_size, lent):
    found = ring.entries(rows, batch_size)
    for node, count in enumerate(rows):
        assert sum(entry.node == node for entry in found) == -(-count // batch_size)
    ends = [number for number, entry in enumerate(found) if entry.ends_round]
    assert sum(found[end].together for end in ends) == sum(rows)
    assert not found or found[-1].ends_round


@given(*rings)
def test_each_batch_goes_through_all_nodes_and_back(rows, batch_size, lent):
    found, nodes = ring.entries(rows, batch_size), len(rows)
    everyone = [[*ring.moves(found, nodes, node, lent)] for node in range(nodes)]
    at = {
        (move, batch, node): number
        for node, all_moves in enumerate(everyone)
        for number, moves in enumerate(all_moves)
        for move, batch in moves
    }
    for batch, entry in enumerate(found):
        path = [("lend", 0)] * lent + [("enter", entry.node)] + [("forward", node) for node in range(nodes)]
        back = [("backward", node) for node in reversed(range(nodes))] + [("return", entry.node), ("settle", 0)] * lent
        times = [at.pop((move, batch, node)) for move, node in [*path, *back]]
        turn = len(path)
        assert times[turn - 1] == times[turn]  # forward and backward, where the loss is
        hops = [*times[:turn], *times[turn + 1 :]]
        assert {after - before for before, after in zip(hops, hops[1:], strict=False)} == {ring.HOP}
    assert not at
    assert {len(moves) for moves in everyone} == {ring.iterations(len(found), nodes, lent)}


@given(st.integers(1, 6), st.integers(1, 60))
def test_no_node_is_under_way_with_more_than_it_is_said_to(nodes, count):
    batches = [Entry(0, 1, True)] * count
    for node, most in enumerate(ring.in_flight(nodes)):
        held = highest = 0
        for moves in ring.moves(batches, nodes, node, False):
            for move, _ in moves:
                held += {"forward": 1, "backward": -1}.get(move, 0)
                highest = max(highest, held)
        assert highest == min(most, count)

"""Which exchange is the fastest, by hand."""

import pytest

from hvdedge.links import PLAIN, Costs, Link, Way

# a million gradients on two ranks, a tenth of a second for a batch; coding costs nothing but for top_k
SENT = {"float32": 4e6, "bfloat16": 2e6, "int8": 1.016e6, "top_k": 8e4}
COSTS = Costs(0.1, {"float32": 0.0, "bfloat16": 0.0, "int8": 0.0, "top_k": 0.05}, SENT, (0.0, 0.0))


@pytest.mark.parametrize(
    ("bytes_per_second", "way"),
    [
        (1e9, PLAIN),  # 4 ms
        (5e7, Way("int8")),  # 80 ms: .180 s; int8 .120, 4 batches 1.15 (.1 + .02), int8 of them 1.3 (.1 + .005)
        (1e6, Way(local_steps=16)),  # 4 s: 1.3 (.1 + .25); int8 of 4 batches 1.3 (.1 + .254), top_k 2.2 (.15 + .08)
        (4e5, Way("top_k")),  # 10 s: 2.2 (.15 + .2); int8 of 4 batches 1.3 (.1 + .635), 16 local steps 1.3 (.1 + .625)
    ],
)
def test_the_fastest_exchange_follows_the_bandwidth(bytes_per_second, way):
    assert COSTS.fastest(Link(0.0, bytes_per_second), 0.2) == way


def test_seconds_of_a_batch_are_those_of_the_formula():
    link = Link(0.01, 1e6)
    assert COSTS.predict(PLAIN, link) == pytest.approx(0.1 + 0.01 + 4)
    assert COSTS.predict(Way("top_k"), link) == pytest.approx(2.2 * (0.1 + 0.05 + 0.02 + 0.08))
    assert COSTS.predict(Way(local_steps=8), link) == pytest.approx(1.3 * (0.1 + (0.01 + 4) / 8))


def test_what_is_sent_when_an_epoch_ends_counts_but_for_plain_gradients():
    costs = Costs(0.1, COSTS.coding_seconds, SENT, (2e4, 4e4))
    link = Link(0.0, 1e6)
    extra = [costs.predict(way, link) - COSTS.predict(way, link) for way in (PLAIN, Way("int8"), Way(local_steps=8))]
    assert extra == pytest.approx([0, 0.02, 0.04])


def test_an_exchange_within_its_share_stays_plain_whatever_else_is_faster():
    link = Link(0.0, 4e6 / 0.02)  # 20 ms of 120
    assert COSTS.fastest(link, 0.2) == PLAIN != COSTS.fastest(link, 0.1)

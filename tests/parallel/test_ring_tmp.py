"""RingTMP over 1 to 4 ranks: each gradient is of the weights that the schedule says; rows stay private; bad input."""

import pytest
from cut_models import compared

RING = {"strategy": "ring_tmp", "measure": False, "scaling": "none", "momentum": 0.5, "learning_rate": 0.05}
ENTRIES = [
    {"kind": "dense", "batch_size": 4, "resumes": True, "optimizer": "adam", "learning_rate": 0.02},
    {"kind": "dense", "batch_size": 3, "private": True, "epochs": 1},
    {"kind": "image", "batch_size": 5, "measure": True, "epochs": 1},
    {"kind": "image", "batch_size": 4, "recompute": True},
]


@pytest.mark.parametrize("ranks", [3, *(pytest.param(ranks, marks=pytest.mark.slow) for ranks in (1, 2, 4))])
def test_each_gradient_is_of_the_weights_of_the_schedule(ranks, tmp_path):
    entries = [{**RING, **entry, "seed": 10 * ranks + number} for number, entry in enumerate(ENTRIES)]
    for entry, told in zip(entries, compared(ranks, entries, tmp_path), strict=True):
        assert told["moved"] > 0.01, entry
        assert told["away"] < 2e-5, (entry, told)  # float32, summed in another order
        assert len(told["parts"]) == ranks and all(told["parts"])
        assert sum(told["held"]) == told["whole"]  # no rank holds what is another's


@pytest.mark.parametrize(
    ("seed", "private", "dies", "rings"),
    [
        (5, False, {"1": ["batch", 5]}, [(0, [0, 1, 2, 3]), (1, [0, 2, 3])]),
        pytest.param(*(6, True, {"0": ["copy_parts", 2]}), [(0, [0, 1, 2, 3]), (1, [1, 2, 3])], marks=pytest.mark.slow),
        pytest.param(*(9, False, {"1": ["copy_parts", 0]}), [(0, [0, 2, 3])], marks=pytest.mark.slow),
        pytest.param(
            *(7, False, {"1": ["batch", 4], "3": ["batch", 8]}),
            [(0, [0, 1, 2, 3]), (1, [0, 2, 3]), (1, [0, 2])],
            marks=pytest.mark.slow,
        ),
        pytest.param(  # beside each other: from the checkpoint
            *(8, False, {"1": ["batch", 5], "2": ["batch", 5]}),
            [(0, [0, 1, 2, 3]), (1, [0, 3])],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_lost_nodes_lose_no_layers(seed, private, dies, rings, tmp_path):
    entry = {**RING, "kind": "dense", "batch_size": 4, "seed": seed, "private": private, "dies": dies, "epochs": 3}
    (told,) = compared(4, [entry], tmp_path, ("--with-ft", "ulfm"))
    assert [(epoch, left) for epoch, _, left in told["rings"]] == rings
    assert told["moved"] > 0.01 and told["away"] < 2e-5
    assert sum(told["held"]) == told["whole"]


def test_an_error_of_one_node_ends_all(tmp_path):
    entry = {**RING, "kind": "dense", "batch_size": 4, "seed": 5, "dies": {"1": ["error", 1]}}
    assert not compared(3, [entry], tmp_path, ("--with-ft", "ulfm"), status=1)


def test_what_a_ring_cannot_do_is_told_before_training(tmp_path):
    entries = [
        {**RING, "kind": "two layers", "private": True, "seed": 1},
        {**RING, "kind": "dense", "seed": 1, "rows": "dealt"},
        {**RING, "kind": "dense", "seed": 1, "left_bytes": 1000},
    ]
    errors = [told["error"] for told in compared(2, entries, tmp_path)]
    assert "received 2 ranks for a model of 2 layers, allowed: up to 1" in errors[0]  # one is lent, one is left
    assert errors[1].startswith("train.rows")
    assert "would hold" in errors[2] and "allowed: the 937 that it has left" in errors[2]

"""Spatial parallelism over 1 to 4 ranks: steps are those of one rank; bad input is told."""

import pytest
from cut_models import compared

SPATIAL = {"strategy": "spatial_parallel", "batch_size": 8}
ADAM = {"optimizer": "adam", "learning_rate": 0.01}
ENTRIES = [
    {"kind": "image"},
    {"kind": "normalized", "resumes": True},
    {"kind": "signal", **ADAM},
]


@pytest.mark.parametrize("ranks", [4, *(pytest.param(ranks, marks=pytest.mark.slow) for ranks in (1, 2, 3))])
def test_training_is_that_of_one_rank(ranks, tmp_path):
    grid = {"columns": 2} if ranks == 4 else {}
    entries = [
        {**SPATIAL, **entry, **(grid if entry["kind"] != "signal" else {}), "seed": 10 * ranks + number}
        for number, entry in enumerate(ENTRIES)
    ]
    for entry, told in zip(entries, compared(ranks, entries, tmp_path), strict=True):
        assert told["moved"] > 0.01, entry
        assert told["away"] < 2e-5 and told["curves"] < 2e-5, (entry, told)  # float32, summed in another order


def test_what_cannot_be_cut_is_told_before_training(tmp_path):
    entries = [
        {**SPATIAL, "kind": "dense", "seed": 1},
        {**SPATIAL, "kind": "image", "seed": 1, "columns": 2},
        {**SPATIAL, "kind": "image", "seed": 1, "left_bytes": 1000},
    ]
    errors = [told["error"] for told in compared(3, entries, tmp_path)]
    assert "received features of shape (5,) to be cut by rows" in errors[0]
    assert errors[1].startswith("train.columns: received 2 for 3 ranks")
    assert "would hold" in errors[2] and "allowed: the 937 that it has left" in errors[2]

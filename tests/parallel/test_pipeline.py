"""Pipelines over 1 to 4 ranks: steps are those of the whole model; a rank holds its part alone; bad input is told."""

import pytest
from cut_models import compared

PIPELINE = {"strategy": "pipeline", "measure": False}
ENTRIES = [
    {"kind": "dense", "schedule": "gpipe", "chunks": 4, "batch_size": 8},
    {"kind": "image", "schedule": "1f1b", "chunks": 3, "batch_size": 9, "measure": True, "resumes": True},
    {"kind": "dense", "schedule": "1f1b", "chunks": 5, "batch_size": 5, "recompute": True, "momentum": 0.0},
    {"kind": "dense", "schedule": "pipedream", "batch_size": 7, "momentum": 0.0, "learning_rate": 0.05},
    {"kind": "normalized, 28 rows", "schedule": "gpipe", "chunks": 1, "batch_size": 7},
]


@pytest.mark.parametrize("ranks", [4, *(pytest.param(ranks, marks=pytest.mark.slow) for ranks in (1, 2, 3))])
def test_training_is_that_of_the_whole_model(ranks, tmp_path):
    entries = [{**PIPELINE, **entry, "seed": 10 * ranks + number} for number, entry in enumerate(ENTRIES)]
    for entry, told in zip(entries, compared(ranks, entries, tmp_path), strict=True):
        assert told["moved"] > 0.01, entry
        assert told["away"] < 2e-5 and told["curves"] < 2e-5, (entry, told)  # float32, summed in another order
        assert len(told["parts"]) == ranks and all(told["parts"])
        assert sum(told["held"]) == told["whole"]  # no rank holds what is another's


def test_what_cannot_be_cut_is_told_before_training(tmp_path):
    entries = [
        {**PIPELINE, "kind": "dense", "seed": 1, "chunks": 5, "batch_size": 32},
        {**PIPELINE, "kind": "two layers", "seed": 1},
        {**PIPELINE, "kind": "tied", "seed": 1},
        {**PIPELINE, "kind": "dense", "seed": 1, "left_bytes": 1000},
        {**PIPELINE, "kind": "dense", "seed": 1, "precision": "bfloat16"},
        {**PIPELINE, "kind": "dense", "seed": 1, "rows": "dealt"},
    ]
    errors = [told["error"] for told in compared(3, entries, tmp_path)]
    assert errors[0] == "train.chunks: received 5 for a batch_size of 32, allowed: a divisor of it; change one"
    assert "received 3 ranks for a model of 2 layers, allowed: up to 2;" in errors[1]
    assert "allowed: up to 2, as twice is used more than once" in errors[2]
    assert "would hold" in errors[3] and "allowed: the 937 that it has left" in errors[3]
    assert errors[4].startswith("train.precision") and errors[5].startswith("train.rows")

"""Tensor parallelism over 1 to 4 ranks: steps are those of one rank; ranks hold slices; bad input is told."""

import pytest
from cut_models import compared

TENSOR = {"strategy": "tensor_parallel", "batch_size": 8}
ADAM = {"optimizer": "adam", "learning_rate": 0.01}
ENTRIES = [
    {"kind": "dense"},
    {"kind": "image", **ADAM},
    {"kind": "normalized", "resumes": True},
    {"kind": "tokens", "embeddings": "width"},
    {"kind": "tokens", "seed_shift": 100},
    {"kind": "tokens mean"},
    {"kind": "signal"},
    {"kind": "levels"},
]


def seeded(entry, ranks, number):
    """An entry with a model of its own."""
    shift = entry.get("seed_shift", 0)
    return {**TENSOR, **{k: v for k, v in entry.items() if k != "seed_shift"}, "seed": 10 * ranks + number + shift}


@pytest.mark.parametrize("ranks", [2, *(pytest.param(ranks, marks=pytest.mark.slow) for ranks in (1, 3, 4))])
def test_training_is_that_of_one_rank(ranks, tmp_path):
    entries = [seeded(entry, ranks, number) for number, entry in enumerate(ENTRIES)]
    for entry, told in zip(entries, compared(ranks, entries, tmp_path), strict=True):
        assert told["moved"] > 0.01, entry
        assert told["away"] < 2e-5 and told["curves"] < 2e-5, (entry, told)  # float32, summed in another order


@pytest.mark.slow
def test_a_run_goes_on_with_other_ranks(tmp_path):
    entries = [{**TENSOR, "kind": kind, "seed": 5, "resumes": 2, **ADAM} for kind in ("tokens", "normalized")]
    for told in compared(3, entries, tmp_path):
        assert told["moved"] > 0.01 and told["away"] < 2e-5, told


@pytest.mark.slow
def test_ranks_hold_slices(tmp_path):
    (told,) = compared(4, [{**TENSOR, "kind": "wide", "seed": 1}], tmp_path)
    assert sum(told["held"]) <= 1.05 * told["whole"]  # biases and a batch normalization after rows are on all
    assert max(told["held"]) <= 1.05 * told["whole"] / 4
    hows = ["by vocabulary", "by gates", *["by inputs", "by outputs"] * 2, "by inputs"]
    assert sorted(told["split"].values()) == sorted(hows)


def test_what_cannot_be_cut_is_told_before_training(tmp_path):
    entries = [
        {**TENSOR, "kind": "narrow", "seed": 1},
        {**TENSOR, "kind": "masked", "seed": 1},
        {**TENSOR, "kind": "constrained", "seed": 1},
        {**TENSOR, "kind": "dense", "seed": 1, "left_bytes": 1000},
        {**TENSOR, "kind": "dense", "seed": 1, "precision": "bfloat16"},
        {**TENSOR, "kind": "dense", "seed": 1, "rows": "dealt"},
    ]
    errors = [told["error"] for told in compared(3, entries, tmp_path)]
    assert "received 3 ranks for a model of which no layer can be cut" in errors[0] and "largest is dense" in errors[0]
    assert "whose layer vectors makes a mask" in errors[1]
    assert "whose layer bound has a constraint" in errors[2]
    assert "would hold" in errors[3] and "allowed: the 937 that it has left" in errors[3]
    assert errors[4].startswith("train.precision") and errors[5].startswith("train.rows")

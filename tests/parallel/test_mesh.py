"""Meshes over 2 to 4 ranks: steps are those of the whole model on the rows of all groups; bad input is told."""

import pytest
from cut_models import compared

MESH = {"strategy": "mesh", "scaling": "none"}
ENTRIES = [
    {"kind": "image", "mesh": "a:2, b:2", "layout": "batch:a, channels:b"},
    {"kind": "dense", "layout": "batch:rows, layers:columns", "batch_size": 4, "chunks": 2, "resumes": True},
    {"kind": "image", "layout": "height:rows, batch:columns"},
]


def test_training_is_that_of_the_whole_model_on_the_rows_of_all_groups(tmp_path):
    entries = [{"batch_size": 5, "groups": 2, **MESH, **entry, "seed": number} for number, entry in enumerate(ENTRIES)]
    for entry, told in zip(entries, compared(4, entries, tmp_path), strict=True):
        assert told["moved"] > 0.01, entry
        assert told["away"] < 2e-5 and told["curves"] < 2e-5, (entry, told)  # float32, summed in another order


@pytest.mark.parametrize("ranks", [4, pytest.param(2, marks=pytest.mark.slow)])
def test_groups_that_are_rings_step_with_the_gradients_of_all(ranks, tmp_path):
    entry = {**MESH, "kind": "dense", "schedule": "ring_tmp", "mesh": f"rows:2, columns:{ranks // 2}", "groups": 2}
    uneven = {"seed": 10, "batch_size": 24 // ranks}  # 25 rows: one node has a round of its own
    for told in compared(ranks, [{**entry, "seed": 4, "batch_size": 4}, {**entry, **uneven}], tmp_path):
        assert told["moved"] > 0.01 and told["away"] < 2e-5
        assert len(told["parts"]) == ranks // 2


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["batch:rows, layers:columns", "batch:columns, layers:rows"])
def test_a_mesh_of_one_row_is_the_strategy_alone_and_of_one_column_data_parallelism(layout, tmp_path):
    entry = {**MESH, "kind": "dense", "seed": 3, "batch_size": 4, "chunks": 2, "mesh": "rows:1, columns:2"}
    groups = 1 if "layers:columns" in layout else 2
    (told,) = compared(2, [{**entry, "layout": layout, "groups": groups}], tmp_path)
    assert told["moved"] > 0.01 and told["away"] < 2e-5
    assert len(told["parts"]) == 2 // groups


def test_bad_meshes_are_told_before_training(tmp_path):
    entry = {**MESH, "kind": "dense", "seed": 1}
    entries = [
        {**entry, "mesh": "rows:2, columns:2"},
        {**entry, "mesh": "rows=3"},
        {**entry, "layout": "batch:rows, depth:columns"},
        {**entry, "layout": "batch:rows, layers:rows"},
        {**entry, "layout": "batch:columns, height:rows"},
        {**entry, "layout": "batch:columns, channels:rows", "chunks": 2},
    ]
    errors = [told["error"] for told in compared(3, entries, tmp_path)]
    assert errors[0].startswith('train.mesh: received "rows:2, columns:2" for 3 ranks, allowed: two dimensions')
    assert errors[1].startswith('train.mesh: received "rows=3", allowed: two names')
    assert "allowed: batch and one of layers, channels and height, each" in errors[2]
    assert errors[3].startswith("train.layout")
    assert "to be cut by rows" in errors[4]
    assert errors[5].startswith("train.chunks: received 2 for a model that is split by channels")

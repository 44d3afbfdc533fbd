"""The dense network: its shape, and the same weights for the same seed."""

import keras
import numpy as np
import pytest

from hvdedge.errors import InputError
from hvdedge.models.dense import build


@pytest.mark.parametrize(("shape", "inputs"), [((5,), 5), ((2, 3, 1), 6)])
def test_it_has_the_layers_and_weights_that_were_asked_for(shape, inputs):
    model = build(
        {"task": "classification", "input_shape": list(shape), "classes": [*"abc"]},
        hidden=7,
        layers=2,
        dropout=0.5,
        seed=1,
    )
    assert model.output_shape == (None, 3)
    assert model.count_params() == (inputs + 1) * 7 + 8 * 7 + 8 * 3
    assert [layer.rate for layer in model.layers if hasattr(layer, "rate")] == [0.5, 0.5]
    assert model(np.zeros((4, *shape), np.float32)).shape == (4, 3)


def test_a_seed_gives_its_weights_and_no_two_layers_the_same():
    spec = {"task": "classification", "input_shape": [6], "classes": [0, 1]}
    first, again, other = (build(spec, hidden=6, layers=2, seed=seed).get_weights() for seed in (3, 3, 4))
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert not (first[0] == other[0]).any()
    assert not (first[0] == first[2]).any()


def test_level_numbers_become_vectors_and_quantities_stay(tmp_path):
    levels = [{"place": 1, "levels": 4}, {"place": 3, "levels": 200}]
    spec = {"input_shape": [4], "task": "classification", "classes": [0, 1], "embedded": levels}
    model = build(spec, hidden=3, layers=1, seed=2)
    # vectors of (4 + 1) // 2 and 50 numbers, the two quantities, hidden units, classes
    assert model.count_params() == 5 * 2 + 201 * 50 + (2 + 50 + 2 + 1) * 3 + 4 * 2
    few, many, kernel, bias, last, end = sorted(model.get_weights()[:2], key=len) + model.get_weights()[2:]
    x = np.array([[0.5, 3, -1, 200], [2, 0, 1, 0]], np.float32)
    for row, got in zip(x, np.asarray(model(x)), strict=True):
        inputs = np.concatenate([row[[0, 2]], few[int(row[1])], many[int(row[3])]])
        np.testing.assert_allclose(got, np.maximum(inputs @ kernel + bias, 0) @ last + end, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert (np.asarray(again(x)) == np.asarray(model(x))).all()


def test_level_numbers_alone_are_enough():
    levels = [{"place": 0, "levels": 1}]
    spec = {"input_shape": [1], "task": "classification", "classes": [0, 1], "embedded": levels}
    model = build(spec, hidden=3, layers=1)
    assert model.count_params() == 2 + 2 * 3 + 4 * 2


def test_nodes_of_a_graph_are_refused():
    with pytest.raises(InputError, match="train.model: received dense for examples that are nodes of a graph, allowed"):
        build({"input_shape": [], "classes": [0, 1], "graph": {}})


def test_numbers_of_tokens_are_refused():
    with pytest.raises(InputError, match="train.model: received dense for numbers of tokens, .* take embedding"):
        build({"input_shape": [20], "task": "classification", "classes": [0, 1], "vocabulary_size": 100})

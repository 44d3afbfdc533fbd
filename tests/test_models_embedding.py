"""The bag of tokens: the mean of the vectors of the tokens that are there, and the same weights for the same seed."""

import keras
import numpy as np
import pytest

from hvdedge.errors import InputError
from hvdedge.models.embedding import build

SPEC = {"task": "classification", "input_shape": [5], "vocabulary_size": 9, "classes": [*"abc"]}


def test_padding_and_the_order_of_tokens_do_not_matter():
    model = build(SPEC, dimensions=4, hidden=6, layers=2)
    assert model.count_params() == 9 * 4 + 5 * 6 + 7 * 6 + 7 * 3
    x = np.array([[3, 4, 5, 0, 0], [5, 3, 4, 0, 0], [3, 4, 5, 1, 0], [0] * 5], np.int32)
    scores = np.asarray(model(x))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)  # float32 sums in another order
    assert not np.allclose(scores[0], scores[2])
    assert np.isfinite(scores).all()  # also of a row without a token
    longer = build({**SPEC, "input_shape": [7]}, dimensions=4, hidden=6, layers=2)
    np.testing.assert_allclose(np.asarray(longer(np.pad(x, [(0, 0), (0, 2)]))), scores, rtol=1e-5)


def test_without_hidden_layers_it_is_a_linear_model_of_the_mean_vector():
    model = build(SPEC, dimensions=4, layers=0)
    vectors, kernel, bias = model.get_weights()
    x = np.array([[3, 4, 0, 0, 0]], np.int32)
    np.testing.assert_allclose(np.asarray(model(x))[0], vectors[[3, 4]].mean(axis=0) @ kernel + bias, atol=1e-6)


def test_it_is_saved_and_read_back(tmp_path):
    model = build(SPEC, seed=3)
    model.save(tmp_path / "model.keras")
    x = np.array([[3, 4, 5, 0, 0]], np.int32)
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert (np.asarray(again(x)) == np.asarray(model(x))).all()
    same, other = build(SPEC, seed=3), build(SPEC, seed=4)
    assert all((one == two).all() for one, two in zip(model.get_weights(), same.get_weights(), strict=True))
    assert not (model.get_weights()[0] == other.get_weights()[0]).any()


def test_features_that_are_no_tokens_are_refused():
    with pytest.raises(InputError, match="train.model: received embedding for features of shape .5,. that are no tok"):
        build({"task": "classification", "input_shape": [5], "classes": [*"ab"]})

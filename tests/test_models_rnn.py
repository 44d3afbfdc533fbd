"""Recurrent networks: padding, levels and channels do not leak; stored ones give what Keras gives; what is refused."""

import keras
import numpy as np
import pytest

from hvdedge.compressed import CompressedModel, Runner
from hvdedge.errors import InputError
from hvdedge.models import rnn, segment_rnn

RNG = np.random.default_rng(0)
TOKENS = {"task": "classification", "input_shape": [9], "vocabulary_size": 12, "classes": [*"abc"]}


def forecast(rows, horizon, targets):
    """Return the spec of a forecast of some of the channels a, b, c."""
    names = [{"column": name, "mean": 0.0, "deviation": 1.0} for name in "abc"]
    chosen = [name for name in names if name["column"] in targets]
    spec = {"task": "regression", "output_shape": [horizon, len(chosen)], "targets": chosen}
    return spec | {"input_shape": [rows, 3], "channels": names, "window": rows, "season": 0}


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_what_is_stored_gives_what_keras_gives(cell, tmp_path):
    model = rnn.build(TOKENS, cell=cell, units=4, layers=2, dimensions=5, seed=3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    x = RNG.integers(0, 12, (3, 9)).astype(np.int32)
    x[2] = 0  # a row without a token
    assert (np.asarray(again(x)) == np.asarray(model(x))).all() and model(x).shape == (3, 3)
    for is_integer, away in ((False, 1e-5), (True, 0.05)):
        found = Runner(CompressedModel(again, 8 if is_integer else 0).store(x)).predict(x)
        np.testing.assert_allclose(found, np.asarray(model(x)), atol=away)


def test_order_matters_to_a_recurrent_network():
    model = rnn.build(TOKENS, dropout=0.0, seed=1)
    one, other = np.asarray(model(np.array([[3, 4, 5] * 3, [5, 4, 3] * 3], np.int32)))
    assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize("horizon", [4, 8, 16])
def test_a_forecast_moves_with_the_level_and_each_channel_is_by_itself(horizon):
    model = segment_rnn.build(forecast(16, horizon, "ca"), segment=8, units=6, seed=2)
    x = RNG.normal(0, 1, (5, 16, 3)).astype(np.float32)
    y = np.asarray(model(x))
    assert y.shape == (5, horizon, 2)
    np.testing.assert_allclose(np.asarray(model(x + 3)), y + 3, atol=1e-4)
    other = x.copy()
    other[:, :, 1:] += RNG.normal(0, 1, (5, 16, 2))
    changed = np.abs(np.asarray(model(other)) - y).max(axis=(0, 1))
    assert changed[0] == 0 and changed[1] > 0.1  # of a, c


@pytest.mark.parametrize(
    ("build", "spec", "message"),
    [
        (
            rnn.build,
            {"task": "classification", "input_shape": [4], "classes": [*"ab"]},
            "train.model: received rnn for",
        ),
        (segment_rnn.build, TOKENS, "train.model: received segment_rnn for features of shape"),
        (segment_rnn.build, forecast(16, 7, "a"), "train.segment: received 7 for windows of 16 rows and 7 rows ahead"),
    ],
)
def test_features_that_do_not_fit_are_refused(build, spec, message):
    with pytest.raises(InputError, match=message):
        build(spec)

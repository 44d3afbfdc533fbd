"""Which layers a ring lends so that rows stay where they are."""

import keras
import pytest

from hvdedge.errors import InputError
from hvdedge.models import cnn, dense
from hvdedge.partition import Chain, without_weights
from hvdedge.ring_task import RingTask

DIGITS = {"task": "classification", "input_shape": (8, 8, 1), "classes": [*range(10)]}
LEVELS = {"task": "classification", "input_shape": (4,), "classes": [0, 1], "embedded": [{"place": 1, "levels": 3}]}


def lent(build):
    """The names of the layers that are lent."""
    with without_weights():
        chain = Chain(build())
    task = object.__new__(RingTask)
    task.chain = chain
    return [type(layer).__name__ for layer in chain.layers[: task.lent_layers()]]


def test_the_first_layer_with_weights_and_those_before_it_are_lent():
    assert lent(lambda: cnn.build(DIGITS)) == ["Conv2D"]
    assert lent(lambda: dense.build(DIGITS)) == ["Flatten", "Dense"]


def test_columns_that_pass_an_embedding_as_they_are_do_not_leave():
    assert {"Embedding", "Concatenate"} < {*lent(lambda: dense.build(LEVELS))}
    assert lent(lambda: dense.build(LEVELS))[-1] == "Dense"


def test_a_model_that_gives_its_last_layer_raw_rows_is_refused():
    def skipping():
        x = keras.Input((8, 8, 1))
        flat = keras.layers.Flatten()(x)
        both = keras.layers.Concatenate()([flat, keras.layers.Dense(3)(flat)])
        return keras.Model(x, keras.layers.Dense(2)(both))

    with pytest.raises(InputError, match=r"^train\.private: received true"):
        lent(skipping)


def test_a_layer_that_keeps_means_of_rows_is_refused():
    with pytest.raises(InputError, match=r"^train\.private: received true"):
        lent(lambda: keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)]))

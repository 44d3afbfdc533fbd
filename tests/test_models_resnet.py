"""The residual network: its size as in its paper, what its blocks add up, what is stored of it."""

import keras
import numpy as np
import pytest

from hvdedge.compressed import CompressedModel, Runner
from hvdedge.errors import InputError
from hvdedge.models.resnet import build

RNG = np.random.default_rng(3)
SPEC = {"task": "classification", "input_shape": [32, 32, 3], "classes": [*range(10)]}
SMALL = SPEC | {"input_shape": [9, 8, 3], "classes": [0, 1, 2]}


def test_it_has_as_many_weights_as_in_the_paper():
    model = build(SPEC, blocks=3)
    shortcuts = 16 * 32 + 32 * 64 + 2 * (32 + 64)  # the paper's have none
    assert sum(int(np.prod(each.shape)) for each in model.trainable_weights) - shortcuts == 269_722  # "0.27M", table 6
    maps = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert maps == [(32, 32, 16)] * 3 + [(16, 16, 32)] * 3 + [(8, 8, 64)] * 3
    assert len([layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]) == 1 + 18 + 2


def test_a_block_that_adds_nothing_lets_through_what_came_in():
    model = build(SMALL, filters=4, seed=1)
    normal = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    adds = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    for add in adds:
        for operand in add._inbound_nodes[0].input_tensors[1:]:
            operand._keras_history.operation.gamma.assign(np.zeros(operand.shape[-1]))
    x = RNG.random((3, 9, 8, 3), np.float32)
    first = keras.Model(model.input, normal[0].output)
    came_in = np.maximum(np.asarray(first(x)), 0)
    behind = keras.Model(model.input, model.layers[model.layers.index(adds[0]) + 1].output)
    assert (np.asarray(behind(x)) == came_in).all() and came_in.any()


def test_what_is_stored_gives_what_keras_gives(tmp_path):
    model = build(SMALL, filters=4, seed=1)
    x = RNG.random((8, 9, 8, 3), np.float32)
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    wanted = np.asarray(model(x))
    assert (np.asarray(again(x)) == wanted).all() and wanted.shape == (8, 3)
    for is_integer, away in ((False, 1e-4), (True, 0.1)):  # 8 bits: of the largest number some hundredths
        found = Runner(CompressedModel(again, 8 if is_integer else 0).store(x)).predict(x)
        np.testing.assert_allclose(found, wanted, atol=away * abs(wanted).max())


def test_a_seed_gives_its_weights_and_no_two_layers_the_same():
    first, again, other = (build(SMALL, filters=4, seed=seed).get_weights() for seed in (3, 3, 4))
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    kernels = [each for each in first if each.shape == (3, 3, 4, 4)]
    assert not (first[0] == other[0]).any() and not (kernels[0] == kernels[1]).any()


@pytest.mark.parametrize("shape", [[3, 8, 1], [64], [8, 8]])
def test_other_features_are_refused(shape):
    line = r"train.model: received resnet for features of shape \(.*\), allowed: \(height, width, channels\) from 4 x 4"
    with pytest.raises(InputError, match=line):
        build(SPEC | {"input_shape": shape})

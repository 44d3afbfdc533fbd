"""The graph network held against the same one of dense matrices, drawn neighbours, saving, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_graphs import GraphRows

from hvdedge.errors import InputError
from hvdedge.graph_layers import attach
from hvdedge.models.gcn import build
from hvdedge.precision import Precision

GRAPH = GraphRows(60, features=7, seed=4)


def made(**options):
    """A model with its graph."""
    model = build(GRAPH.spec, **{"hidden": 6, "seed": 3, **options})
    attach(model, GRAPH)
    return model


def dense(weights, nodes):
    """Kipf and Welling's formula, with all nodes and dense matrices, for some nodes."""
    h = tf.constant(GRAPH.x)
    for layer, weight in enumerate(weights):
        h = tf.matmul(GRAPH.adjacency.toarray(), tf.matmul(h, weight))
        h = tf.nn.relu(h) if layer < len(weights) - 1 else h
    return tf.gather(h, nodes)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("nodes", [range(60), [5, 17, 5, 44], [8]])
def test_any_batch_has_the_outputs_and_gradients_of_the_full_batch(layers, nodes):
    model, nodes = made(layers=layers, dropout=0.0), np.array(nodes)
    weights = [weight.value for weight in model.trainable_variables]
    assert len(weights) == layers
    with tf.GradientTape(persistent=True) as tape:
        found, wanted = model(nodes, training=True), dense(weights, nodes)
        loss, other = tf.reduce_sum(tf.sin(found)), tf.reduce_sum(tf.sin(wanted))
    np.testing.assert_allclose(found, wanted, atol=1e-5)  # float32, summed in another order
    for one, two in zip(tape.gradient(loss, weights), tape.gradient(other, weights), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)
    np.testing.assert_allclose(model.predict(nodes, batch_size=3, verbose=0), wanted, atol=1e-5)


def test_weight_decay_is_half_of_the_squares_of_the_first_layer_alone():
    model = made(weight_decay=0.1)
    (penalty,) = model.losses
    assert float(penalty) == pytest.approx(0.05 * float((model.get_weights()[0] ** 2).sum()), rel=1e-5)
    assert not made(weight_decay=0.0).losses


def test_dropout_is_of_features_that_are_there_and_in_training_alone():
    model, nodes = made(dropout=0.5, layers=1), np.arange(60)
    whole = np.asarray(model(nodes))
    drawn = np.array([model(nodes, training=True) for _ in range(400)])
    assert not np.allclose(drawn[0], whole) and not np.allclose(drawn[0], drawn[1])
    spread = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(axis=0) - whole) < 5 * spread + 1e-5).all()
    assert (np.asarray(model(nodes)) == whole).all()


def test_neighbours_are_drawn_in_training_alone_anew_each_time_and_alike_for_a_seed():
    nodes = np.arange(60)

    def steps(seed):
        model = made(neighbours=(2, 2), dropout=0.0, seed=seed)
        step = tf.function(lambda nodes: model(nodes, training=True))
        return model, [np.asarray(step(nodes)) for _ in range(3)]

    model, one = steps(3)
    whole = made(dropout=0.0)
    whole.set_weights([np.asarray(weight) for weight in whole.variables])
    for weight, other in zip(whole.trainable_variables, model.trainable_variables, strict=True):
        weight.assign(other)
    assert (np.asarray(model(nodes)) == np.asarray(whole(nodes))).all()
    assert not np.allclose(one[0], one[1]) and not np.allclose(one[0], np.asarray(whole(nodes)))
    assert all((a == b).all() for a, b in zip(one, steps(3)[1], strict=True))
    enough = made(neighbours=(60, 60), dropout=0.0)
    np.testing.assert_allclose(enough(nodes, training=True), enough(nodes), atol=1e-5)


def test_it_is_saved_without_its_graph_and_read_back(tmp_path):
    model, nodes = made(neighbours=(2, 3), weight_decay=0.3), np.array([3, 9])
    model.save(tmp_path / "model.keras")
    assert (tmp_path / "model.keras").stat().st_size < 40_000
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    with pytest.raises(ValueError, match="called without its graph; call graph_layers.attach first"):
        again(nodes)
    attach(again, GRAPH)
    assert (np.asarray(again(nodes)) == np.asarray(model(nodes))).all()
    assert float(again.losses[0]) == float(model.losses[0])
    assert again.layers[1].get_config()["neighbours"] == [2, 3]
    assert not np.allclose(again(nodes, training=True), again(nodes))
    same, other = made(), made(seed=4)
    assert (same.get_weights()[0] == model.get_weights()[0]).all()
    assert not (other.get_weights()[0] == model.get_weights()[0]).all()


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_it_computes_in_sixteen_bits(name):
    model, nodes = made(dropout=0.0), np.arange(60)
    with Precision(name).used(model):
        rough = model(nodes, training=True)
    assert rough.dtype == name
    np.testing.assert_allclose(np.asarray(rough, np.float32), model(nodes), atol=0.1)  # 8 binary digits


def test_what_is_no_graph_and_neighbours_of_other_layers_are_refused():
    with pytest.raises(InputError, match=r"train.model: received gcn for features of shape \(5,\) that are no nodes"):
        build({"input_shape": [5], "classes": [*"ab"]})
    with pytest.raises(InputError, match=r"train.neighbours: received \[5\] for 2 layers, allowed: a number for each"):
        build(GRAPH.spec, neighbours=(5,))

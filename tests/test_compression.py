"""Compressors: what they leave of a small model that has learnt its rows."""

import functools
import pathlib
import runpy
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from mpi4py import MPI
from train_rows import Rows

from hvdedge import retraining, training, transfer
from hvdedge.compressed import CompressedModel, Runner
from hvdedge.compression import (
    distill,
    fixed_point,
    half_precision,
    huffman,
    prune,
    prune_units,
    quantize_aware,
    share_weights,
)
from hvdedge.errors import InputError
from hvdedge.models import autoencoder, cnn, dense, embedding, rnn
from hvdedge.parallel import MeteredComm
from hvdedge.retraining import Retraining

ROWS = Rows(400, 50)


@pytest.fixture(scope="module")
def learnt():
    """The weights of a network that tells the classes of the rows, mostly."""
    model = dense.build(ROWS.spec, hidden=[40, 20], seed=3)
    data().train(model, 6, rate=1.0)
    return model.get_weights()


@pytest.fixture
def model(learnt):
    made = dense.build(ROWS.spec, hidden=[40, 20], seed=3)
    made.set_weights(learnt)
    return CompressedModel(made)


def data(rows=ROWS, batch_size=20):
    comm = MeteredComm(MPI.COMM_SELF)
    return Retraining(rows, comm, batch_size=batch_size, learning_rate=0.01, seed=5, memory_bytes=10**8)


def accuracy(model):
    x, y = ROWS.read("validation", slice(None))
    return float((np.asarray(model.model(x)).argmax(axis=1) == y).mean())


def stored(model):
    return Runner(model.store(data().sample)).predict(ROWS.read("validation", slice(None))[0])


def test_pruning_leaves_the_share_that_was_asked_for_and_the_model_tells_as_much(model):
    before = accuracy(model)
    sizes = [weight.shape for weight in model.model.trainable_weights]
    made = prune.compress(model, data(), sparsity=0.6, epochs=4, rate=1.0)
    kernels = [np.asarray(weight) for weight in made.model.trainable_weights if len(weight.shape) > 1]
    left = sum(np.count_nonzero(kernel) for kernel in kernels) / sum(kernel.size for kernel in kernels)
    assert left == pytest.approx(0.4, abs=0.01)  # whole weights of each kernel
    assert [weight.shape for weight in made.model.trainable_weights] == sizes
    shares = [np.count_nonzero(kernel) / kernel.size for kernel in kernels]
    assert shares[1] < shares[0] <= shares[2]  # 40 x 20 keeps a smaller share than 6 x 40 and 20 x 4
    assert accuracy(made) > before - 0.1


def test_pruning_without_training_takes_the_smallest_weights(model):
    before = [np.asarray(weight).copy() for weight in model.model.trainable_weights]
    made = prune.compress(model, data(), sparsity=0.5, epochs=0, shares="alike")
    for was, weight in zip(before, made.model.trainable_weights, strict=True):
        now = np.asarray(weight)
        if now.ndim < 2:
            assert (now == was).all()
            continue
        assert np.count_nonzero(now) == was.size - was.size // 2
        assert (now[now != 0] == was[now != 0]).all() and np.abs(was[now == 0]).max() <= np.abs(now[now != 0]).min()


def test_shared_weights_have_few_values_and_pruned_ones_stay_zero(model):
    made = share_weights.compress(prune.compress(model, data(), sparsity=0.5, epochs=1), data(), dense_bits=3, epochs=2)
    for place, weight in enumerate(made.model.trainable_weights):
        values = np.asarray(weight)
        if values.ndim > 1:
            assert len(np.unique(values[made.kept[place]])) <= 8
            assert (values[~made.kept[place]] == 0).all()
    assert made.coding == "packed" and accuracy(made) > 0.6


def test_a_gradient_of_a_value_is_the_sum_of_its_weights_gradients(model):
    """One step of descent on the values equals the mean shift of all weights that have them, by hand."""
    whole = data(batch_size=400)
    layer = keras.layers.Dense(4)
    network = keras.Sequential([keras.Input((6,)), layer])
    made = share_weights.compress(CompressedModel(network), whole, dense_bits=1, epochs=0)
    kernel = np.asarray(layer.kernel).copy()
    x, y = ROWS.read("train", slice(None))
    outputs = np.exp(x @ kernel + np.asarray(layer.bias))
    grads = x.T @ (outputs / outputs.sum(axis=1, keepdims=True) - np.eye(4)[y]) / len(y)
    sums = {value: grads[kernel == value].sum() for value in np.unique(kernel)}
    share_weights.compress(made, whole, dense_bits=1, epochs=1, rate=1e-3)
    moved = {value: np.unique(np.asarray(layer.kernel)[kernel == value]) for value in sums}
    for value, total in sums.items():  # the first step of Adam goes its rate, against the sign of the gradient
        assert len(moved[value]) == 1
        assert moved[value][0] - value == pytest.approx(-np.sign(total) * 1e-5, rel=0.1)


@pytest.mark.parametrize("chain", [["packed"], ["entropy"], ["fixed_point", "entropy"]])
def test_what_is_stored_in_few_bits_gives_what_the_model_gives(chain, model):
    made = share_weights.compress(prune.compress(model, data(), sparsity=0.5, epochs=0), data(), epochs=0)
    if "fixed_point" in chain:
        made = fixed_point.compress(made, data())
    if "entropy" in chain:
        made = huffman.compress(made, data())
    assert made.coding == chain[-1] and made.suffix == ".tflite.packed"
    expected = np.asarray(made.model(ROWS.read("validation", slice(None))[0]))
    tolerance = 0.1 * np.abs(expected).max() if made.bits else 1e-5  # 8 bits; the order of sums
    np.testing.assert_allclose(stored(made), expected, atol=tolerance)


@pytest.mark.parametrize("type_", ["float16", "bfloat16"])
def test_half_precision_is_stored_in_two_bytes_a_weight(type_):
    made = half_precision.compress(CompressedModel(dense.build(ROWS.spec, hidden=[200, 200])), data(), type=type_)
    content = made.store(data().sample)
    assert len(content) < 2.3 * made.model.count_params()
    x = ROWS.read("validation", slice(None))[0]
    np.testing.assert_allclose(Runner(content).predict(x), np.asarray(made.model(x)), atol=1e-4)  # the order of sums


@pytest.mark.parametrize("bits", [8, 16])
def test_integers_tell_nearly_what_floats_tell(bits, model):
    expected = np.asarray(model.model(ROWS.read("validation", slice(None))[0]))
    found = stored(fixed_point.compress(model, data(), bits=bits))
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("compress", [fixed_point.compress, quantize_aware.compress])
def test_integers_tell_as_much_where_training_rows_are_sorted(compress):
    """Ranges of the first 200 rows alone would cut off what the others give."""
    x = np.sort(np.random.default_rng(1).normal(0, 1, (600, 6)).astype(np.float32), axis=0)
    rows = Rows(600, 0)
    rows._x, rows._y = x, (x.sum(axis=1) / 3).astype(np.float32)
    rows.spec = {"task": "regression", "input_shape": [6], "output_shape": [], "targets": [{"mean": 0, "deviation": 1}]}
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)])
    data(rows).train(network, 10, rate=1.0)
    made = compress(CompressedModel(network), data(rows))
    wanted = np.asarray(made.model(x))
    found = Runner(made.store(data(rows).sample)).predict(x)
    assert np.abs(found - wanted).max() < 0.03 * np.ptp(wanted)  # a few of 256 levels


def test_training_with_simulated_integers_ends_on_their_grid(model):
    before = accuracy(model)
    made = quantize_aware.compress(model, data(), epochs=1)
    assert made.bits == 8
    for weight in made.model.trainable_weights:
        values = np.asarray(weight)
        if values.ndim > 1:
            steps = values / (np.abs(values).max(axis=0, keepdims=True) / 127)
            np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)  # float32
    assert accuracy(made) > before - 0.1
    assert (
        stored(made).argmax(axis=1) == np.asarray(made.model(ROWS.read("validation", slice(None))[0])).argmax(axis=1)
    ).mean() > 0.9


def test_units_that_go_leave_a_narrower_model_that_gives_the_same_where_they_gave_nothing(tmp_path):
    made = dense.build(ROWS.spec, hidden=[10, 6], dropout=0.0, seed=3)
    kernel, bias = (np.asarray(weight).copy() for weight in made.layers[0].weights)
    gone = [1, 4, 5, 7, 8]
    kernel[:, gone], bias[gone] = 0, 0
    made.layers[0].set_weights([kernel, bias])
    inner, inner_bias = (np.asarray(weight).copy() for weight in made.layers[2].weights)
    inner[:, :3], inner_bias[:3] = 0, 0
    made.layers[2].set_weights([inner, inner_bias])
    x = ROWS.read("validation", slice(None))[0]
    expected = np.asarray(made(x))
    made.save(tmp_path / "model.keras")  # as compress finds it: Keras builds it again, layer by layer
    made = keras.models.load_model(tmp_path / "model.keras", compile=False)
    narrow = prune_units.compress(CompressedModel(made), data(), share=0.5, epochs=0).model
    assert [layer.units for layer in narrow.layers if hasattr(layer, "units")] == [5, 3, 4]
    np.testing.assert_allclose(np.asarray(narrow(x)), expected, atol=1e-5)


def test_filters_go_with_what_the_dense_layer_makes_of_their_maps():
    made = cnn.build({"task": "classification", "input_shape": [8, 8, 1], "classes": [0, 1]}, filters=4, hidden=6)
    second = made.layers[1]
    kernel, bias = (np.asarray(weight).copy() for weight in second.weights)
    kernel[..., ::2], bias[::2] = 0, 0
    second.set_weights([kernel, bias])
    first = made.layers[0]
    kernel, bias = (np.asarray(weight).copy() for weight in first.weights)
    kernel[..., :2], bias[:2] = 0, 0
    first.set_weights([kernel, bias])
    x = np.random.default_rng(1).normal(size=(5, 8, 8, 1)).astype(np.float32)
    dense_ = made.layers[-3]
    kernel, bias = (np.asarray(weight).copy() for weight in dense_.weights)
    kernel[:, 3:], bias[3:] = 0, 0
    dense_.set_weights([kernel, bias])
    expected = np.asarray(made(x))
    rows = type(
        "Images",
        (Rows,),
        {
            "read": lambda self, split, rows: (x[:0], np.zeros(0, np.int64)),
            "spec": {"task": "classification", "input_shape": [8, 8, 1], "classes": [0, 1]},
        },
    )(400, 50)
    narrow = prune_units.compress(CompressedModel(made), data(rows), share=0.5, epochs=0).model
    assert narrow.count_params() < 0.4 * made.count_params()
    np.testing.assert_allclose(np.asarray(narrow(x)), expected, atol=1e-5)


def test_a_student_is_narrower_and_learns_from_its_teacher(model):
    made = distill.compress(model, data(), width=0.5, epochs=8)
    assert [layer.units for layer in made.model.layers if hasattr(layer, "units")] == [20, 10, 4]
    assert accuracy(made) > 0.6 and model.model is not made.model


def test_frozen_layers_are_not_trained_on(model):
    first = model.model.layers[0]
    transfer.freeze(model.model, [first.name])
    before = [np.asarray(weight).copy() for weight in first.weights]
    count = model.weights
    made = prune.compress(model, data(), sparsity=0.5, epochs=1, shares="alike")
    assert made.weights == count - (40 * 20 + 20 * 4) // 2  # those of the other kernels
    made = share_weights.compress(made, data(), epochs=1)
    for was, weight in zip(before, first.weights, strict=True):
        assert (np.asarray(weight) == was).all()
    made = half_precision.compress(made, data())
    assert np.array_equal(np.asarray(first.kernel), before[0].astype(np.float16).astype(np.float32))
    assert made.weights > 200  # 6 x 40 in it


def test_the_stage_leaves_frozen_layers_as_they_are(model, tmp_path, comm, monkeypatch):
    monkeypatch.setattr(training, "configure", lambda *_: None)  # TensorFlow has begun
    program = runpy.run_path(str(pathlib.Path(__file__).parent.parent / "jobs" / "compress.py"))
    monkeypatch.setitem(program["_chain"].__globals__, "open_features", lambda _: ROWS)
    model.model.save(tmp_path / "model.keras")
    first = model.model.layers[0]
    settings = {"batch_size": 20, "learning_rate": 0.01, "frozen": (first.name,)}
    pipeline = SimpleNamespace(seed=1, memory_bytes=10**8, sections={"train": SimpleNamespace(settings=settings)})
    steps = [("prune", functools.partial(prune.compress, sparsity=0.5, epochs=1))]
    stage = SimpleNamespace(folder=tmp_path, pipeline=pipeline, methods=lambda: steps)
    *_, (made, _) = program["_chain"](stage, comm)
    assert np.array_equal(np.asarray(made.model.layers[0].kernel), np.asarray(first.kernel))
    assert not np.array_equal(np.asarray(made.model.layers[2].kernel), np.asarray(model.model.layers[2].kernel))


def test_the_student_of_a_model_with_frozen_layers_learns_in_all(model):
    transfer.freeze(model.model, ["*"])
    student = distill.compress(model, data(), width=0.5, epochs=1).model
    assert len(student.trainable_weights) == 6


def test_noise_on_the_input_is_not_less_where_fewer_units_are_left_out():
    spec = {"task": "anomalies", "input_shape": [4, 2]}
    noisy = autoencoder.build(spec, hidden=8, noise=0.5)
    units = dense.build(ROWS.spec, hidden=[40, 20], dropout=0.5)
    with retraining._dropping(noisy, 0.1), retraining._dropping(units, 0.1):
        assert [layer.rate for layer in noisy.layers if isinstance(layer, keras.layers.Dropout)] == [0.5]
        rates = [layer.rate for layer in units.layers if isinstance(layer, keras.layers.Dropout)]
        assert rates == pytest.approx([0.05, 0.05])


def test_sixteen_bits_are_refused_where_they_change_nothing():
    words = {**ROWS.spec, "vocabulary_size": 9, "input_shape": [4]}
    levels = {**ROWS.spec, "embedded": [{"place": 1, "levels": 3}]}
    for network in (rnn.build(words), dense.build(levels)):
        assert fixed_point.compress(CompressedModel(network), data()).bits == 8
        with pytest.raises(InputError, match="compress.fixed_point.bits: received 16 for a model with recurrent"):
            fixed_point.compress(CompressedModel(network), data(), bits=16)


def test_what_cannot_be_done_is_one_clear_line(model):
    made = prune.compress(model, data(), sparsity=0.5, epochs=0)
    with pytest.raises(InputError, match="compress.prune_units: received a model whose single weights were pruned"):
        prune_units.compress(made, data())
    words = {**ROWS.spec, "vocabulary_size": 9, "input_shape": [4]}
    alone = CompressedModel(embedding.build(words, dimensions=3, layers=0))
    with pytest.raises(InputError, match="compress.prune_units: received a model of which no dense"):
        prune_units.compress(alone, data())

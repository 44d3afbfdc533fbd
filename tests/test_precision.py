"""Mixed precision: 16 bits inside a model, float32 without, and a loss that is scaled for float16."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from hvdedge import training
from hvdedge.models import cnn, dense, embedding
from hvdedge.precision import GROWTH_STEPS, LARGEST_SCALE, Precision

RNG = np.random.default_rng(5)
CLASSES = {"task": "classification", "classes": [*"abc"]}
LEVELS = [{"place": 1, "levels": 400}]


def networks():
    """Yield a network of each kind, with rows for it."""
    yield cnn.build({**CLASSES, "input_shape": [8, 8, 1]}, seed=1), RNG.random((9, 8, 8, 1), np.float32)
    levels = np.arange(396, 405)[:, None] % 400  # 257 to 511 are only even numbers in bfloat16
    quantities = RNG.random((9, 1), np.float32)
    embedded = {**CLASSES, "input_shape": [2], "embedded": LEVELS}
    yield dense.build(embedded, seed=1), np.hstack([quantities, levels - 100]).astype(np.float32)
    tokens = {**CLASSES, "input_shape": [5], "vocabulary_size": 500}
    yield embedding.build(tokens, seed=1), RNG.integers(0, 500, (9, 5)).astype(np.int32)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", range(3))
def test_layers_compute_in_16_bits_and_the_model_is_float32_again(tmp_path, kind, name):
    model, x = [*networks()][kind]
    whole = np.asarray(model(x))
    with tf.GradientTape() as tape, Precision(name).used(model):
        outputs = model(x)
        half = tf.cast(outputs, tf.float32)
    assert outputs.dtype == name
    np.testing.assert_allclose(half, whole, atol=0.02 * np.abs(whole).max())  # 8 binary digits
    assert np.abs(np.asarray(half) - whole).max() > 0
    grads = tape.gradient(half, [weight.value for weight in model.trainable_weights])
    assert {grad.dtype for grad in grads} == {tf.float32}
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert {layer.compute_dtype for layer in loaded.layers if layer.weights} == {"float32"}
    np.testing.assert_array_equal(np.asarray(loaded(x)), whole)


def taken(precision, *grads):
    """Return whether a step is taken for each of the gradients, one after the other."""
    steps = []
    for grad in grads:
        before = len(steps)
        precision.apply([tf.constant([grad])], lambda _: steps.append(1))
        yield len(steps) > before


def test_a_step_with_a_gradient_that_overflows_is_skipped_and_the_scale_halved(comm):
    precision = Precision("float16")
    assert [*taken(precision, 1.0, np.inf, 1.0, np.nan)] == [True, False, True, False]
    assert precision.state() == [2.0**13, 0]
    assert precision.agree(comm) == {"steps_skipped": 2, "loss_scale": 2.0**13}
    assert precision.agree(comm) is None  # no more since


def test_the_scale_grows_after_many_steps_to_its_bound():
    precision = Precision("float16")
    precision.restore([2.0**23, GROWTH_STEPS - 1])
    precision.see([tf.constant(1.0)])
    assert precision.state() == [LARGEST_SCALE, 0]
    precision.restore([LARGEST_SCALE, GROWTH_STEPS - 1])
    precision.see([tf.constant(1.0)])
    assert precision.state() == [LARGEST_SCALE, 0]


def test_at_a_scale_of_one_no_step_is_skipped_so_that_it_shows_that_training_diverges():
    precision = Precision("float16")
    precision.restore([1.0, 0])
    assert [*taken(precision, np.nan)] == [True]
    assert precision.state()[0] == 1
    assert not precision.skips(False)


def test_gradients_of_a_scaled_loss_are_those_of_the_loss_or_all_no_number():
    precision = Precision("float16")
    weights = [tf.Variable(3.0), tf.Variable(4.0)]
    with tf.GradientTape() as tape:
        loss = precision.scaled(weights[0] * weights[1])
    assert float(loss) == 12 * 2**15
    assert [float(grad) for grad in precision.unscaled(tape.gradient(loss, weights))] == [4, 3]
    assert np.isnan([float(grad) for grad in precision.unscaled([tf.constant(np.inf), tf.constant(1.0)])]).all()


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_only_float16_needs_a_scale(comm, name):
    precision = Precision(name)
    assert [*taken(precision, np.nan)] == [True]
    assert float(precision.scaled(tf.constant(2.0))) == 2
    assert precision.agree(comm) is None


def test_graphs_with_custom_gradients_go_once_these_are_forgotten():
    @tf.custom_gradient
    def doubled(x):
        return 2 * x, lambda upstream: 2 * upstream

    step = tf.function(lambda x: doubled(x)).get_concrete_function(tf.TensorSpec((2,)))
    assert step(tf.ones(2)).numpy().tolist() == [2, 2]
    graph = weakref.ref(step.graph)
    del step
    gc.collect()
    assert graph() is not None
    training.forget_gradients()
    gc.collect()
    assert graph() is None

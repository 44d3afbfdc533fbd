"""Models as chains without weights: parts make what the whole makes, the best cuts are those of all cuts tried."""

import itertools
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge import keras_files, part_costs
from hvdedge.models import cnn, dense, embedding
from hvdedge.partition import Chain, Costs, balanced, without_weights

IMAGES = {"task": "classification", "input_shape": (8, 8, 1), "classes": [*range(10)]}


def skipping():
    """A functional model of which one tensor skips two layers, and the input all but the last."""
    weights = iter(range(1, 9))

    def layer(units, **more):
        return keras.layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(next(weights)), **more)

    x = keras.Input((6,))
    first = layer(5, activation="relu")(x)
    second = layer(5)(first)
    third = layer(5, activation="tanh")(second)
    added = keras.layers.Add()([third, first])
    return keras.Model(x, layer(3)(keras.layers.Concatenate()([added, x])))


MODELS = {
    "cnn": (lambda: cnn.build(IMAGES, filters=3, hidden=5, seed=3), (8, 8, 1)),
    "dense": (lambda: dense.build(IMAGES, seed=3), (8, 8, 1)),
    "skipping": (skipping, (6,)),
}


def chain(build):
    with without_weights():
        return Chain(build())


@pytest.mark.parametrize("name", MODELS)
def test_a_chain_has_no_weights_in_memory(name):
    found = chain(MODELS[name][0])
    assert found.model.count_params() == MODELS[name][0]().count_params() > 0
    assert all(variable._value is None for variable in found.model.variables)
    found.part(0, len(found))
    assert all(variable._value is None for variable in found.model.variables)


@pytest.mark.parametrize("name", MODELS)
def test_parts_one_after_the_other_make_what_the_whole_makes(name):
    build, shape = MODELS[name]
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    whole, found = build(), chain(build)
    for cuts in ([], found.cuts, found.cuts[::2], found.cuts[1::3]):
        tensors = [x]
        for start, stop in itertools.pairwise([0, *cuts, len(found)]):
            tensors = part_costs.through(found.part(start, stop), tensors, training=False)
        np.testing.assert_array_equal(tensors[0], whole(x))


@pytest.mark.parametrize("name", MODELS)
def test_each_variable_of_a_part_has_its_place_in_the_whole(name):
    found, numbers = chain(MODELS[name][0]), chain(MODELS[name][0]).numbers()
    whole = MODELS[name][0]()
    for place in range(len(found)):
        for layer in found.part(place, place + 1).layers:
            for number, variable in enumerate(layer.variables):
                same = whole.variables[found.numbers()[layer.name, number]]
                if "seed" not in variable.path:
                    np.testing.assert_array_equal(variable, same)
    assert sorted(numbers.values()) == [*range(len(whole.variables))]


def test_what_skips_layers_passes_each_cut_on_its_way():
    found = chain(skipping)
    assert [layer.__class__.__name__ for layer in found.layers] == ["Dense"] * 3 + ["Add", "Concatenate", "Dense"]
    assert [len(tensors) for tensors in found.passing] == [1, 2, 3, 3, 2, 1, 1]


def test_a_layer_that_is_used_twice_is_not_cut_apart():
    def build():
        x = keras.Input((6,))
        twice = keras.layers.Dense(6, name="twice")
        y = keras.layers.Dense(6, name="first")(x)
        y = twice(keras.layers.ReLU(name="relu")(twice(y)))
        return keras.Model(x, keras.layers.Dense(2, name="last")(y))

    found = chain(build)
    assert found.cuts == [1, 4] and found.tied == ["twice"]
    x = np.ones((2, 6), np.float32)
    assert found.part(1, 4)(x).shape == (2, 6)


def costs(seconds, weights, outputs, parts):
    passing = range(3, len(seconds) + 4)
    held = tuple(range(parts, 0, -1))
    return Costs(tuple(seconds), tuple(weights), tuple(outputs), tuple(passing), held, held, (1,) * parts, 2)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 7), st.integers(1, 4))
def test_no_cuts_are_better_than_the_best(data, count, parts):
    numbers = st.lists(st.integers(0, 20), min_size=count, max_size=count)
    given_costs = costs(data.draw(numbers), data.draw(numbers), data.draw(numbers), parts)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(count - 1, 1)))) - {count})
    speeds = data.draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=parts, max_size=parts))
    limits = data.draw(st.lists(st.sampled_from([60, 200, math.inf]), min_size=parts, max_size=parts))

    def slowest(found):
        pairs = [*enumerate(itertools.pairwise(found))]
        if any(given_costs.memory_bytes(part, *pair) > limits[part] for part, pair in pairs):
            return math.inf
        return max(sum(given_costs.seconds[slice(*pair)]) / speeds[part] for part, pair in pairs)

    every = [slowest([0, *chosen, count]) for chosen in itertools.combinations(cuts, parts - 1)]
    found = balanced(given_costs, cuts, speeds, limits)
    assert (math.inf if found is None else slowest(found)) == min(every, default=math.inf)
    assert found is None or (found[0] == 0 and found[-1] == count and len(found) == parts + 1)


def test_memory_is_that_of_weights_gradients_slots_and_what_layers_made():
    found = costs([1, 1], [100, 10], [7, 5], 2)
    assert found.memory_bytes(0, 0, 1) == 100 * 4 + 2 * 7 + 2 * 3
    assert found.memory_bytes(1, 1, 2) == 10 * 4 + 5 + 4


def test_counted_costs_are_those_of_the_shapes():
    with without_weights():
        found = Chain(dense.build(IMAGES, hidden=4, layers=1, dropout=0.0, seed=1))
    told = part_costs.counted(found, 3, [1], [1], 0)
    assert sum(told.weight_bytes) == 4 * found.model.count_params() == 4 * (64 * 4 + 4 + 4 * 10 + 10)
    assert told.output_bytes[-1] == 2.5 * 4 * 3 * 10
    assert told.passing_bytes[0] == 4 * 3 * 64 and told.passing_bytes[-1] == 4 * 3 * 10


def test_parts_that_compute_again_hold_what_came_in_but_for_the_last():
    with without_weights():
        found = Chain(dense.build(IMAGES, hidden=4, layers=1, dropout=0.0, seed=1))
    told = part_costs.counted(found, 3, [8, 4, 2], [3, 2, 2], 0, recompute=True)
    assert (told.waiting, told.in_flight, told.versions) == ((8, 4, 0), (1, 1, 2), (1, 1, 1))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_weights_is_saved_with_those_it_is_given(name, tmp_path):
    build, shape = MODELS[name]
    whole, asked = build(), []

    def value(place):
        asked.append(place)
        return np.asarray(whole.variables[place])

    keras_files.write(chain(build).model, tmp_path / "model.keras", value)
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), whole(x))
    assert len(asked) == len({*asked})


def test_tokens_pass_as_whole_numbers_that_have_no_gradient():
    spec = {"task": "classification", "input_shape": (7,), "classes": [0, 1], "vocabulary_size": 20, "tokens": "words"}
    found = chain(lambda: embedding.build(spec))
    kinds = [{part_costs.is_float(tensor.dtype) for tensor in tensors} for tensors in found.passing]
    assert kinds[0] == {False} and {False, True} in kinds and kinds[-1] == {True}
    part_costs.counted(found, 2, [1], [1], 0)
    tokens = np.array([[3, 4, 0, 0, 0, 0, 0]], np.int32)
    tensors = [tokens]
    for place in range(len(found)):
        tensors = part_costs.through(found.part(place, place + 1), tensors, training=False)
    np.testing.assert_allclose(tensors[0], embedding.build(spec)(tokens), rtol=1e-6)

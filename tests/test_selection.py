"""Fewer training rows: each method against brute force, a closed form or a count."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from small_features import features_of, training_rows

from hvdedge import flat_rows, methods, small_networks
from hvdedge.errors import InputError, RankError
from hvdedge.quotas import labelled, quotas, smallest
from hvdedge.selection import (
    condensed_nearest_neighbours,
    facility_location,
    hard_examples,
    k_center,
    near_equal,
    reservoir,
    stratified,
)

RANDOM = np.random.default_rng(11)
Y = RANDOM.permutation(np.repeat([0, 1, 2], [120, 60, 20]))
X = (RANDOM.normal(size=(200, 5)) + 2 * Y[:, None]).astype(np.float32)


def weights_of(features) -> np.ndarray:
    """Return the weights of all training rows that the extractor made."""
    return features.weights


def sizes(y, weights=None) -> list:
    return np.bincount(y, weights, minlength=3).tolist()


def test_a_stratified_sample_keeps_the_share_of_every_class_and_its_sum(comm):
    y = training_rows(Y)
    found = stratified.select(features_of(X, Y, comm), comm, share=0.25, seed=3)
    weights = weights_of(found)
    kept = sizes(y[weights > 0])
    assert sum(kept) == 40
    np.testing.assert_allclose(kept, np.array(sizes(y)) / 4, atol=1)
    np.testing.assert_allclose(sizes(y, weights), sizes(y), rtol=1e-6)  # of float32
    assert found.facts == {"rows": 160, "kept": 40, "by_class": dict(zip("012", kept, strict=True))}
    assert (weights_of(stratified.select(features_of(X, Y, comm), comm, share=1.0)) == 1).all()
    other = weights_of(stratified.select(features_of(X, Y, comm), comm, share=0.25, seed=4))
    assert ((other > 0) != (weights > 0)).any()


@pytest.mark.parametrize("method", ["stratified", "reservoir"])
def test_every_row_is_as_likely_as_the_others(method, comm):
    """Over 400 seeds a row of 40 is kept 120 times, sd 9.2; the sum of squares is chi-squared of 39 degrees."""
    features = features_of(np.zeros((50, 1)), np.zeros(50, int), comm)
    options = {"share": 0.3} if method == "stratified" else {"rows": 12}
    select = methods.find("selection", method, method).load()
    often = sum((select(features, comm, **options, seed=seed).weights > 0).astype(int) for seed in range(400))
    assert often.sum() == 400 * 12
    assert (((often - 120) / np.sqrt(400 * 0.3 * 0.7)) ** 2).sum() < 73  # the 99.9th percentile


def test_a_reservoir_has_its_number_of_rows_each_for_as_many(comm):
    found = reservoir.select(features_of(X, Y, comm), comm, rows=50)
    weights = weights_of(found)
    assert sorted({*weights.tolist()}) == pytest.approx([0, 3.2])
    assert (weights > 0).sum() == 50 == sum(found.facts["by_class"].values())


def test_selections_follow_each_other_and_their_weights_multiply(comm):
    first = stratified.select(features_of(X, Y, comm), comm, share=0.5)
    second = reservoir.select(first, comm, rows=40)
    kept = weights_of(second) > 0
    assert kept.sum() == 40
    np.testing.assert_allclose(weights_of(second)[kept], 2 * weights_of(first)[kept], rtol=1e-6)
    assert second.facts["rows"] == first.facts["kept"] == 80


def test_a_class_of_few_rows_keeps_one_and_it_is_told(comm):
    y = np.where(np.arange(200) == 6, 1, 0)
    found = stratified.select(features_of(X, y, comm), comm, share=0.1)
    assert found.facts["by_class"] == {"0": 16, "1": 1}
    assert found.facts["adapted"] == "one row is kept of the class 1, of which the share of 0.1 keeps none"


def test_labels_that_are_numbers_are_sampled_as_one_class(comm):
    found = stratified.select(features_of(X, Y.astype(np.float32), comm), comm, share=0.5)
    assert found.facts == {"rows": 160, "kept": 80, "by_class": {}}


def test_the_smallest_keys_are_those_of_a_sort(comm):
    keys = np.unique(RANDOM.integers(0, 2**64, 500, dtype=np.uint64, endpoint=False))
    RANDOM.shuffle(keys)
    keys[:2] = 0, 2**64 - 1
    classes = RANDOM.integers(0, 4, len(keys))
    for wanted in ([0, 1, 30, 7], np.bincount(classes).tolist()):
        found = smallest(keys, classes, np.array(wanted), comm)
        for number, size in enumerate(wanted):
            mine = keys[classes == number]
            assert sorted(keys[found & (classes == number)].tolist()) == sorted(mine.tolist())[:size]


@pytest.mark.parametrize(
    ("method", "options", "y", "line"),
    [
        ("reservoir", {"rows": 161}, Y, "extract.reservoir.rows: received 161, allowed: up to the 160 training rows"),
        ("reservoir", {"rows": 3}, np.arange(200) % 20, "a selection of 3 rows with none of the classes 0, "),
    ],
)
def test_what_cannot_be_selected_is_refused(method, options, y, line, comm):
    with pytest.raises(InputError, match=line):
        methods.find("selection", method, method).load()(features_of(X, y, comm), comm, **options)


def test_quotas_sum_to_the_share(comm):
    rows = labelled(features_of(X, Y, comm), comm)
    for share in (0.01, 0.1, 1 / 3, 0.5, 0.999, 1.0):
        wanted, _ = quotas(rows, share)
        assert (wanted <= rows.sizes).all()
        assert wanted.sum() == max(round(160 * share), 3)


def gonzalez(x, many) -> tuple[list[int], float]:
    """Return the centres of rows of one class by the book, and their radius."""
    chosen = [int(((x - x.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    while len(chosen) < many:
        distance = ((x[:, None] - x[chosen]) ** 2).sum(axis=2).min(axis=1)
        chosen.append(int(distance.argmax()))
    return chosen, float(np.sqrt(((x[:, None] - x[chosen]) ** 2).sum(axis=2).min(axis=1).max()))


@pytest.mark.parametrize("shape", [(5,), (4, 3, 1)])
def test_centres_are_those_of_the_greedy_method_and_stand_for_the_rows_nearest(shape, comm):
    images = RANDOM.normal(size=(200, *shape)).astype(np.float32) * 3 + Y.reshape(-1, *(1 for _ in shape))
    found = k_center.select(features_of(images, Y, comm), comm, share=0.2)
    x, y, weights = training_rows(images).reshape(160, -1).astype(float), training_rows(Y), weights_of(found)
    radii = []
    for number in range(3):
        rows = np.flatnonzero(y == number)
        chosen, radius = gonzalez(x[rows], found.facts["by_class"][str(number)])
        assert sorted(rows[chosen]) == np.flatnonzero((weights > 0) & (y == number)).tolist()
        nearest = ((x[rows][:, None] - x[rows[chosen]]) ** 2).sum(axis=2).argmin(axis=1)
        assert weights[rows[chosen]].tolist() == np.bincount(nearest).tolist()
        radii.append(radius)
    assert found.facts["radius"] == pytest.approx(max(radii), rel=1e-6)


def test_centres_do_not_depend_on_how_many_distances_are_known_ahead(comm, monkeypatch):
    found = [k_center.select(features_of(X, Y, comm), comm, share=0.5)]
    monkeypatch.setattr(k_center, "AHEAD_BYTES", 0)
    found.append(k_center.select(features_of(X, Y, comm), comm, share=0.5))
    np.testing.assert_array_equal(weights_of(found[0]), weights_of(found[1]))


def test_the_radius_is_at_most_twice_the_best(comm):
    points = RANDOM.normal(size=(15, 2))
    found = k_center.select(features_of(points, np.zeros(15, int), comm), comm, share=0.25)
    x = training_rows(points)
    best = min(
        np.sqrt(((x[:, None] - x[[*chosen]]) ** 2).sum(axis=2).min(axis=1).max())
        for chosen in combinations(range(12), 3)
    )
    assert best <= found.facts["radius"] <= 2 * best


@pytest.mark.parametrize("method", ["k_center", "facility_location"])
def test_rows_that_are_all_equal_are_kept_by_their_quota(method, comm):
    select = methods.find("selection", method, method).load()
    found = select(features_of(np.ones((50, 3)), np.zeros(50, int), comm), comm, share=0.2)
    weights = weights_of(found)
    assert (weights > 0).sum() == 8
    assert weights.sum() == 40


@pytest.mark.parametrize("method", ["k_center", "facility_location"])
def test_rows_count_by_the_weights_that_they_have(method, comm):
    select = methods.find("selection", method, method).load()
    first = stratified.select(features_of(X, Y, comm), comm, share=0.5)
    weights = weights_of(select(first, comm, share=0.5))
    assert (weights > 0).sum() == 40
    np.testing.assert_allclose(sizes(training_rows(Y), weights), sizes(training_rows(Y)), rtol=1e-6)


def near_the_border(count=600):
    """Return rows of two classes, how far each is from the border between them, and the labels."""
    x = RANDOM.normal(size=(count, 6)).astype(np.float32)
    far = x @ np.array([2, 1, 0, 0, 0, 0], np.float32)
    return x, np.abs(far), (far > 0).astype(np.int64)


def test_hard_examples_lie_near_the_border_and_the_classes_keep_their_shares(comm):
    x, far, y = near_the_border()
    found = hard_examples.select(features_of(x, y, comm), comm, share=0.2, leave_out=0)
    kept = weights_of(found) > 0
    far, label = training_rows(far), training_rows(y)
    assert found.facts["kept"] == 96
    np.testing.assert_allclose(np.bincount(label[kept]), 0.2 * np.bincount(label), atol=1)
    assert far[kept].mean() < 0.4 * far.mean()
    assert {*weights_of(found)[kept].tolist()} == {1.0}


def test_the_hardest_rows_are_left_out_as_mislabelled(comm):
    x, far, y = near_the_border()
    wrong = np.flatnonzero((far > 2) & (np.arange(600) % 5 != 4))[:12]
    y[wrong] = 1 - y[wrong]
    noisy = np.zeros(600, bool)
    noisy[wrong] = True
    counts = []
    for leave_out in (0.0, 0.06):
        found = hard_examples.select(features_of(x, y, comm), comm, share=0.3, leave_out=leave_out)
        counts.append(int((training_rows(noisy) & (weights_of(found) > 0)).sum()))
    assert counts[0] == 12  # the hardest of all
    assert counts[1] <= 1
    assert found.facts["doubtful"] == sum(int(0.06 * size) for size in np.bincount(training_rows(y)))
    whole = hard_examples.select(features_of(x, y, comm), comm, share=0.99, leave_out=0.5)
    assert whole.facts["kept"] == round(0.99 * 480)  # the share comes first
    assert "of 240 rows are left out as doubtful, as a share of 0.99 is to be kept" in whole.facts["adapted"]


def test_small_networks_learn_what_is_not_linear_and_judge_rows_by_themselves(comm):
    x = RANDOM.uniform(-3, 5, size=(4000, 2)).astype(np.float32)
    y = ((x[:, 0] > 1) ^ (x[:, 1] > 1)).astype(np.int64)
    sample = x.copy()
    mean, deviation = small_networks.standardise(sample)
    np.testing.assert_allclose([mean, deviation], [x.mean(axis=0), x.std(axis=0)], rtol=1e-4)
    networks = small_networks.train_all(sample, y, 2, models=2, epochs=4, seed=1, comm=comm)
    for network in networks:
        found = small_networks.probabilities(x, mean, deviation, network)
        assert (found.argmax(axis=1) == y).mean() > 0.95
        np.testing.assert_array_equal(found[7:9], small_networks.probabilities(x[7:9], mean, deviation, network))
    assert (networks[0][0] != networks[1][0]).any()


def test_the_gradient_is_that_of_differences():
    shapes = [(3, 4), (4,), (4, 2), (2,)]
    weights = [RANDOM.normal(size=shape) for shape in shapes]
    x, y = RANDOM.normal(size=(5, 3)), np.array([0, 1, 1, 0, 1])

    def loss():
        hidden = np.maximum(x @ weights[0] + weights[1], 0)
        logits = hidden @ weights[2] + weights[3]
        return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(5), y]).mean())

    for part, grad in zip(weights, small_networks._gradient(x, y, weights), strict=True):
        for place in np.ndindex(part.shape):
            part[place] += 1e-6
            more = loss()
            part[place] -= 2e-6
            less = loss()
            part[place] += 1e-6
            assert grad[place] == pytest.approx((more - less) / 2e-6, abs=1e-7)


def near_pairs(x, y, distance):
    """Return the pairs of rows of a class that are nearer than a distance."""
    close = (((x[:, None] - x) ** 2).sum(axis=2) < distance**2) & (y[:, None] == y)
    return np.argwhere(np.triu(close, 1))


@pytest.mark.parametrize("distance", [0.02, 0.5])
def test_of_nearly_equal_rows_of_a_class_one_is_kept_for_all(distance, comm):
    x = np.concatenate([X, X[:120] + RANDOM.normal(size=(120, 5)) * distance / 12]).astype(np.float32)
    y = np.concatenate([Y, Y[:100], (Y[100:120] + 1) % 3])
    order = RANDOM.permutation(320)
    found = near_equal.select(features_of(x[order], y[order], comm), comm, distance=distance)
    x, y, weights = training_rows(x[order]).astype(float), training_rows(y[order]), weights_of(found)
    kept = np.flatnonzero(weights > 0)
    assert not len(near_pairs(x[kept], y[kept], distance * (1 - 1e-5)))  # none was missed
    alone = np.ones(256, bool)
    alone[near_pairs(x, y, distance * (1 + 1e-5)).ravel()] = False
    assert (weights[alone] == 1).all()
    assert sizes(y, weights) == sizes(y)
    assert (weights == 0).sum() > 50


def test_equal_rows_of_a_whole_class_become_one_however_many(comm, monkeypatch):
    monkeypatch.setattr(near_equal, "MOST_ROWS", 16)
    x = np.repeat(RANDOM.normal(size=(2, 3)), 250, axis=0)
    found = near_equal.select(features_of(x, np.repeat([0, 1], 250), comm), comm)
    assert weights_of(found)[weights_of(found) > 0].tolist() == [200, 200]
    assert found.facts == {"rows": 400, "kept": 2, "by_class": {"0": 1, "1": 1}}


def test_a_condensed_set_tells_the_class_of_every_training_row(comm):
    found = condensed_nearest_neighbours.select(features_of(X, Y, comm), comm)
    x, y, weights = training_rows(X), training_rows(Y), weights_of(found)
    model = KNeighborsClassifier(1).fit(x[weights > 0], y[weights > 0])
    assert (model.predict(x) == y).all()
    assert 3 <= found.facts["kept"] < 80
    assert {*weights.tolist()} == {0.0, 1.0}


def test_a_condensed_set_does_not_depend_on_the_order_of_the_rows(comm):
    train, found = np.flatnonzero(np.arange(200) % 5 != 4), []
    for order in (train, RANDOM.permutation(train)):
        x, y = X.copy(), Y.copy()
        x[train], y[train] = X[order], Y[order]
        kept = weights_of(condensed_nearest_neighbours.select(features_of(x, y, comm), comm)) > 0
        found.append(sorted(order[kept].tolist()))
    assert found[0] == found[1]


def test_where_nothing_tells_equal_rows_of_two_classes_apart_one_is_kept(comm):
    x, y = np.zeros((10, 2)), np.arange(10) % 2
    x[:2] = 1
    found = condensed_nearest_neighbours.select(features_of(x, y, comm), comm)
    assert found.facts["kept"] <= 4


def test_what_represents_a_class_is_the_greedy_choice_and_near_the_best(comm):
    points = RANDOM.normal(size=(15, 2))
    found = facility_location.select(features_of(points, np.zeros(15, int), comm), comm, share=0.25)
    x, weights = training_rows(points), weights_of(found)
    between = np.sqrt(((x[:, None] - x) ** 2).sum(axis=2))

    def value(chosen):
        return (between.max() - between[:, [*chosen]].min(axis=1)).sum()

    greedy: list[int] = []
    for _ in range(3):
        greedy.append(max(range(12), key=lambda row: value([*greedy, row])))
    assert np.flatnonzero(weights).tolist() == sorted(greedy)
    assert value(greedy) >= (1 - 1 / np.e) * max(value(chosen) for chosen in combinations(range(12), 3))
    nearest = between[:, sorted(greedy)].argmin(axis=1)
    assert weights[sorted(greedy)].tolist() == np.bincount(nearest).tolist()


def test_large_classes_are_parted_into_groups_with_their_shares(comm):
    found = facility_location.select(features_of(X, Y, comm), comm, share=0.25, group_rows=20)
    y, weights = training_rows(Y), weights_of(found)
    np.testing.assert_allclose(sizes(y[weights > 0]), np.array(sizes(y)) / 4, atol=1)
    assert sizes(y, weights) == sizes(y)


@pytest.mark.parametrize("method", ["condensed_nearest_neighbours", "hard_examples"])
@pytest.mark.parametrize(
    ("y", "line"), [(Y / 2.0, "labels that are no classes"), (np.zeros(200, int), "training rows of one class")]
)
def test_what_tells_classes_apart_needs_two(method, y, line, comm):
    with pytest.raises(InputError, match=f"extract.{method}: received {line}, allowed: at least 2 classes"):
        methods.find("selection", method, method).load()(features_of(X, y, comm), comm)


@pytest.mark.parametrize(
    "method", [name for name in methods.names("selection") if name not in ("stratified", "reservoir")]
)
def test_what_goes_by_distances_needs_numbers(method, comm):
    with pytest.raises(InputError, match=f"extract.{method}: received x of int32, allowed: numbers"):
        methods.find("selection", method, method).load()(features_of(X, Y, comm, x_type="int32"), comm)


def test_rows_that_do_not_fit_in_memory_lie_in_a_file_and_give_the_same(comm, monkeypatch):
    found = [k_center.select(features_of(X, Y, comm), comm)]
    monkeypatch.setattr(flat_rows, "IN_MEMORY_BYTES", 0)
    assert isinstance(flat_rows.flat_rows(features_of(X, Y, comm), comm, "k_center").steps, np.memmap)
    found.append(k_center.select(features_of(X, Y, comm), comm))
    np.testing.assert_array_equal(weights_of(found[0]), weights_of(found[1]))


def test_a_full_disk_is_told_as_the_users_to_mend(comm, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(flat_rows, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(RankError, match="No space left on device") as caught:
        k_center.select(features_of(X, Y, comm), comm)
    assert caught.value.is_input


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_distances_are_right_to_a_millionth_of_the_range(scale, comm):
    x = (RANDOM.normal(size=(50, 784)) * scale).astype(np.float32)
    rows = flat_rows.flat_rows(features_of(x, np.zeros(50, int), comm), comm, "k_center")
    found = np.sqrt(flat_rows.squared_distances(rows.steps, rows.steps)) * rows.step
    wanted = training_rows(x).astype(float)
    wanted = np.sqrt(((wanted[:, None] - wanted) ** 2).sum(axis=2))
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.max())  # 784 columns of errors up to 2**-21

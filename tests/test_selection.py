"""Fewer training rows: each method against brute force, a closed form or a count."""

from itertools import combinations

import numpy as np
import pytest
from small_features import features_of, training_rows

from hvdedge import methods
from hvdedge.errors import InputError
from hvdedge.quotas import labelled, quotas, smallest
from hvdedge.selection import k_center, reservoir, stratified

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
    assert found.facts["adapted"] == "one row is kept of the classes 1, of which the share of 0.1 keeps none"


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


def test_the_radius_is_at_most_twice_the_best(comm):
    points = RANDOM.normal(size=(15, 2))
    found = k_center.select(features_of(points, np.zeros(15, int), comm), comm, share=0.25)
    x = training_rows(points)
    best = min(
        np.sqrt(((x[:, None] - x[[*chosen]]) ** 2).sum(axis=2).min(axis=1).max()) for chosen in combinations(range(12), 3)
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

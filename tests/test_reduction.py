"""Fewer columns: scikit-learn's components, kept distances, the columns that tell most; and weighted rows on disk."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.metrics import mutual_info_score
from small_features import features_of, read, training_rows

from hvdedge.errors import InputError
from hvdedge.projections import project
from hvdedge.records import to_json
from hvdedge.reduction import mutual_information, pca, random_projection
from hvdedge.tensors import join, open_features, write_part

RANDOM = np.random.default_rng(5)
X = (RANDOM.normal(size=(203, 6)) @ RANDOM.normal(size=(6, 12)) + RANDOM.normal(size=(203, 12)) / 9).astype(np.float32)
Y = (X[:, 3] > X[:, 3].mean()).astype(np.int64)


@pytest.mark.parametrize("options", [{"components": 4}, {"components": 12}, {"variance": 0.9}, {"variance": 0.999}])
def test_components_are_scikit_learns_of_the_training_rows_alone(options, comm):
    found = pca.reduce(features_of(X, Y, comm), comm, **options)
    wanted = PCA(options.get("components", options.get("variance"))).fit(training_rows(X).astype(float))
    assert found.spec["input_shape"] == [wanted.n_components_]
    np.testing.assert_allclose(read(found), wanted.transform(X), atol=1e-4)
    assert found.facts["variance"] == pytest.approx(wanted.explained_variance_ratio_.sum(), abs=1e-6)


def test_images_are_laid_flat_and_columns_that_never_change_do_no_harm(comm):
    images = np.concatenate([X, np.full((203, 4), 7.0)], axis=1).reshape(203, 4, 4, 1)
    wanted = PCA(3).fit(training_rows(X).astype(float))
    found = read(pca.reduce(features_of(images, Y, comm), comm, components=3))
    np.testing.assert_allclose(found, wanted.transform(X), atol=1e-4)


def test_reductions_follow_each_other_and_their_steps_encode_rows_to_come(comm):
    found = random_projection.reduce(features_of(X, Y, comm), comm, components=8, seed=3)
    found = pca.reduce(found, comm, components=4)
    found = mutual_information.reduce(found, comm, columns=2)
    assert [step["as"] for step in found.spec["reductions"]] == ["sparse_random", "linear", "columns"]
    later = X
    for step in found.spec["reductions"]:
        later = project(later, step)
    np.testing.assert_array_equal(later, read(found))


def test_a_random_projection_keeps_distances(comm):
    rows = RANDOM.normal(size=(60, 400)).astype(np.float32)
    found = read(random_projection.reduce(features_of(rows, np.arange(60) % 2, comm), comm, components=200, seed=1))
    before, after = (((x[:30] - x[30:]) ** 2).sum(axis=1) for x in (rows, found))
    assert np.abs(after / before - 1).max() < 0.4
    other = read(random_projection.reduce(features_of(rows, np.arange(60) % 2, comm), comm, components=200, seed=2))
    assert (other != found).any()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_columns_kept_are_those_that_tell_most(seed):
    from mpi4py import MPI

    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 300)
    x = rng.normal(size=(300, 7)) + y[:, None] * rng.uniform(0, 3, 7)
    found = mutual_information.reduce(features_of(x, y, MPI.COMM_SELF), MPI.COMM_SELF, columns=3)
    kept, label = training_rows(x.astype(np.float32)).astype(float), training_rows(y)
    told = []
    for column in kept.T:
        bars = np.clip((column - column.min()) / np.ptp(column) * 32, 0, 31).astype(int)
        told.append(mutual_info_score(bars, label) / np.log(2))
    assert found.spec["reductions"][0]["places"] == sorted(np.argsort(told)[-3:].tolist())
    np.testing.assert_allclose(sorted(found.facts["bits"]), sorted(told)[-3:], atol=1e-9)


def test_a_label_that_is_a_number_goes_by_bars(comm):
    y = (X[:, 5] ** 3).astype(np.float32)
    found = mutual_information.reduce(features_of(X, y, comm), comm, columns=1)
    assert found.spec["reductions"][0]["places"] == [5]


def test_batches_without_a_row_or_without_one_for_training_change_nothing(comm):
    whole = features_of(X, Y, comm)
    keep = (np.arange(163) < 40).astype(float)

    def batches():
        for batch in whole.batches():
            yield batch
            yield tuple(part[:0] for part in batch)

    for options in ({"components": 3}, {"variance": 0.9}):
        found = pca.reduce(dataclasses.replace(whole, batches=batches).keep(keep), comm, **options)
        wanted = pca.reduce(features_of(X, Y, comm, batch_rows=203).keep(keep), comm, **options)
        np.testing.assert_array_equal(read(found), read(wanted))


@pytest.mark.parametrize(
    ("reduce", "options", "changes", "line"),
    [
        (pca.reduce, {"components": 13}, {}, r"extract.pca.components: received 13, allowed: up to 12 columns"),
        (random_projection.reduce, {"components": 13}, {}, "extract.random_projection.components: received 13"),
        (mutual_information.reduce, {"columns": 13}, {}, "extract.mutual_information.columns: received 13"),
        (pca.reduce, {}, {"x_type": "int32"}, "extract.pca: received x of int32, allowed: numbers, float32"),
        (mutual_information.reduce, {"columns": 2}, {"y_shape": (24, 7)}, r"received a y of shape \(24, 7\)"),
    ],
)
def test_what_cannot_be_reduced_is_refused(reduce, options, changes, line, comm):
    with pytest.raises(InputError, match=line):
        reduce(features_of(X, Y, comm, **changes), comm, **options)


def test_components_of_rows_that_do_not_differ_and_of_thousands_of_columns_are_refused(comm):
    with pytest.raises(InputError, match="160 training rows that are all equal"):
        pca.reduce(features_of(np.ones((200, 3)), np.zeros(200, int), comm), comm)
    with pytest.raises(InputError, match=r"2,001 columns, allowed: up to 2,000; put \[extract.random_projection\]"):
        pca.reduce(features_of(np.ones((5, 2001)), np.zeros(5, int), comm), comm)


def test_rows_that_are_left_out_are_written_nowhere_and_the_others_with_their_weights(comm, tmp_path):
    rows = np.arange(20, dtype=np.float32)[:, None]
    first = features_of(rows, np.arange(20) % 2, comm).keep(np.arange(16) % 4)
    kept = np.concatenate([weights for _, _, weights in first.training()])
    second = first.keep(np.where(kept == 2, 0, kept * 10))
    (tmp_path / "features").mkdir()
    assert write_part(second, tmp_path / "features/part-00000.h5") == {"train": 8, "validation": 0, "test": 4}
    join(tmp_path, ["features/part-00000.h5"], tmp_path / "features.h5")
    (tmp_path / "features.json").write_bytes(to_json(second.spec))
    reader = open_features(tmp_path / "features.h5")
    at = [place for place in range(16) if place % 4 in (1, 3)]
    np.testing.assert_array_equal(reader.read("train", slice(None))[0], training_rows(rows)[at])
    assert reader.weights(slice(None)).tolist() == [10.0 * (place % 4) for place in at]
    assert reader.rows("test") == 4

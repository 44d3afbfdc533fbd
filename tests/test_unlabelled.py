"""What is learnt without labels: an autoencoder's error and code, clusters, faults whose places are known."""

import numpy as np
import pytest
from mpi4py import MPI
from sklearn.cluster import KMeans
from sklearn.metrics import average_precision_score, normalized_mutual_info_score, roc_auc_score

from hvdedge import scores, tasks
from hvdedge.datasets import faulty_series
from hvdedge.errors import InputError
from hvdedge.k_means import k_means
from hvdedge.models import autoencoder, cnn, dense

RNG = np.random.default_rng(0)
SPEC = {"task": "anomalies", "input_shape": [6, 2]}
COMM = MPI.COMM_SELF


def test_an_autoencoder_gives_its_error_and_its_code():
    model = autoencoder.build(SPEC, hidden=5, code=3, noise=0.5)
    x = RNG.normal(0, 1, (4, 6, 2)).astype(np.float32)
    outputs = np.asarray(model(x))
    *_, first, second, third, fourth = (layer for layer in model.layers if layer.weights)
    code = second(first(x.reshape(4, -1)))
    again = np.asarray(fourth(third(code)))
    np.testing.assert_allclose(outputs[:, 1:], code, rtol=1e-5)
    np.testing.assert_allclose(outputs[:, 0], ((again - x.reshape(4, -1)) ** 2).mean(axis=1), rtol=1e-5)
    losses, root = tasks.find(SPEC).losses(np.zeros(4), outputs)
    np.testing.assert_allclose(np.asarray(losses), np.asarray(root) ** 2, rtol=1e-5)


def test_models_of_labels_and_of_none_are_told_apart():
    with pytest.raises(InputError, match="train.model: received autoencoder for classification, allowed"):
        autoencoder.build({"task": "classification", "input_shape": [3], "classes": [1, 2]})
    for build, shape in ((dense.build, [3]), (cnn.build, [8, 8, 1])):
        with pytest.raises(InputError, match="train.model: received a model that learns labels for clusters"):
            build({"task": "clusters", "input_shape": shape, "classes": [1, 2]})


def test_anomalies_are_ranked_beside_a_z_score():
    x, y = RNG.normal(0, 1, (50, 3)), RNG.integers(0, 2, 50)
    error = (RNG.normal(0, 1, 50) + y).astype(np.float32)
    told = tasks.find(SPEC).judge(x, y, np.stack([error, error], 1), COMM)
    assert told["auc"] == pytest.approx(roc_auc_score(y, error))
    assert told["average_precision"] == pytest.approx(average_precision_score(y, error))
    far = np.abs(x).max(axis=1).astype(np.float32)
    assert told["baselines"]["z_score"]["auc"] == pytest.approx(roc_auc_score(y, far))
    assert told["anomalies"] == pytest.approx(y.mean())
    assert scores.ranking(np.zeros(3), np.ones(3), COMM) == {"auc": None, "average_precision": None}


def test_clusters_are_those_of_scikit_learn():
    centres = RNG.normal(0, 5, (4, 3))
    y = RNG.integers(0, 4, 300)
    x = centres[y] + RNG.normal(0, 1, (300, 3))
    found = k_means(x, 4, COMM)
    reference = KMeans(4, n_init=10, random_state=0).fit_predict(x)
    assert normalized_mutual_info_score(reference, found) == pytest.approx(1.0)
    told = scores.clustering(y, found, 4, COMM)
    assert told["nmi"] == pytest.approx(normalized_mutual_info_score(y, found))
    assert k_means(np.empty((0, 3)), 4, COMM).tolist() == []
    assert {*k_means(x[:2], 4, COMM)} == {0, 1}  # fewer rows than clusters


def test_faults_are_the_same_however_rows_are_dealt():
    faults = faulty_series._faults(4000, 3, 0.5, 0.1, 8, 3)
    assert {*faults[:, 2]} == {*range(faulty_series.KINDS)} and (faults[:, 0] > 2000).all()
    values = RNG.normal(0, 1, (3, 4000))
    whole, is_fault = faulty_series._faulty(values.copy(), faults, np.arange(4000))
    assert 0.07 < is_fault[2000:].mean() < 0.13 and not is_fault[:2000].any()
    assert (whole[:, ~is_fault] == values[:, ~is_fault]).all() and (whole[:, is_fault] != values[:, is_fault]).any(
        0
    ).all()
    parts = [
        faulty_series._faulty(values[:, start : start + 700].copy(), faults, np.arange(start, min(start + 700, 4000)))
        for start in range(0, 4000, 700)
    ]
    assert (np.concatenate([part for part, _ in parts], axis=1) == whole).all()
    assert (np.concatenate([here for _, here in parts]) == is_fault).all()

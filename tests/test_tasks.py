"""Tasks: losses by TensorFlow against sums by hand, scores against scikit-learn, forecasts that need no model."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from hvdedge import qualities, tasks
from hvdedge.errors import InputError
from hvdedge.models.dense import build

RNG = np.random.default_rng(0)


def forecast(horizon=2, **changes):
    """Return the spec of a forecast of b and a from the channels a, b, c."""
    names = [{"column": name, "mean": 1.0, "deviation": scale} for name, scale in (("a", 2.0), ("b", 10.0), ("c", 1.0))]
    spec = {"task": "regression", "output_shape": [horizon, 2], "targets": [names[1], names[0]]}
    return spec | {"input_shape": [5, 3], "channels": names, "window": 5, "season": 0, **changes}


def test_a_class_has_cross_entropy_and_is_right_or_not():
    task = tasks.find({"task": "classification", "classes": [*"abc"]})
    logits, y = np.float32([[0, 1, 2], [3, 0, 0]]), np.array([2, 1])
    losses, right = task.losses(y, logits)
    assert np.asarray(losses) == pytest.approx([np.log(1 + np.e**-1 + np.e**-2), np.log(np.e**3 + 2)], rel=1e-6)
    assert np.asarray(right).tolist() == [1, 0]
    assert task.output_shape == (3,)
    assert task.measures(y, logits)["accuracy"].tolist() == [True, False]


@pytest.mark.parametrize(("of_y", "of_outputs"), [((4,), (4, 1)), ((4, 2, 3), (4, 2, 3))])
def test_a_number_has_squared_and_absolute_errors_of_its_row(of_y, of_outputs):
    task = tasks.find({"task": "regression", "output_shape": of_outputs[1:], "targets": []})
    y, outputs = (RNG.normal(0, 1, shape).astype(np.float32) for shape in (of_y, of_outputs))
    away = outputs.reshape(4, -1) - y.reshape(4, -1)
    for found, wanted in zip(task.losses(y, outputs), ((away**2).mean(1), np.abs(away).mean(1)), strict=True):
        assert np.asarray(found) == pytest.approx(wanted, rel=1e-5)  # float32
    assert task.measures(y, outputs)["mse"] == pytest.approx((away**2).mean(1), rel=1e-5)


def test_a_regression_is_judged_as_scikit_learn_does(comm):
    y, outputs = (RNG.normal(0, 1, (30, 2, 2)).astype(np.float32) for _ in range(2))
    found = tasks.find(forecast()).judge(np.zeros((30, 5, 3), np.float32), y, outputs, comm)
    flat_y, flat = y.reshape(60, 2), outputs.reshape(60, 2)
    assert found["mse"] == pytest.approx(mean_squared_error(flat_y, flat), rel=1e-6)
    assert found["mae"] == pytest.approx(mean_absolute_error(flat_y, flat), rel=1e-6)
    assert found["rmse"] == pytest.approx(found["mse"] ** 0.5)
    assert found["r2"] == pytest.approx(r2_score(flat_y, flat), rel=1e-5)
    assert [entry["target"] for entry in found["targets"]] == ["b", "a"]
    for number, (entry, scale) in enumerate(zip(found["targets"], (10, 2), strict=True)):
        true, guessed = flat_y[:, number] * scale + 1, flat[:, number] * scale + 1  # in the column's own unit
        assert entry["mae"] == pytest.approx(mean_absolute_error(true, guessed), rel=1e-5)
        assert entry["mse"] == pytest.approx(mean_squared_error(true, guessed), rel=1e-5)
        assert entry["rmse"] ** 2 == pytest.approx(entry["mse"])
        assert entry["r2"] == pytest.approx(r2_score(true, guessed), rel=1e-5)
    steps = [mean_squared_error(y[:, step], outputs[:, step]) for step in (0, 1)]
    assert found["mse_by_step"] == pytest.approx(steps, rel=1e-6)


def test_a_target_that_never_changes_has_no_r2(comm):
    y = np.zeros((4, 1, 1), np.float32)
    spec = {"task": "regression", "output_shape": [1], "targets": [{"column": "a", "mean": 0.0, "deviation": 1.0}]}
    found = tasks.find(spec).judge(np.zeros((4, 7), np.float32), y, y + 1, comm)
    assert (found["r2"], found["mse"], found["targets"][0]["r2"]) == (None, 1.0, None)
    assert "baselines" not in found
    assert "mse_by_step" not in found


def test_forecasts_without_a_model_repeat_the_last_row_or_season(comm):
    x, y = RNG.normal(0, 1, (6, 5, 3)).astype(np.float32), RNG.normal(0, 1, (6, 4, 2)).astype(np.float32)
    found = tasks.find(forecast(4, season=3)).judge(x, y, y, comm)
    last = np.stack([[row[-1, [1, 0]]] * 4 for row in x])
    season = np.stack([[row[place, [1, 0]] for place in (2, 3, 4, 2)] for row in x])
    assert found["mse"] == 0
    assert found["baselines"]["repeat_last"]["mse"] == pytest.approx(((last - y) ** 2).mean(), rel=1e-6)
    assert found["baselines"]["repeat_season"]["mae"] == pytest.approx(np.abs(season - y).mean(), rel=1e-6)
    for changes in ({"channels": forecast()["channels"][:1]}, {"window": 4}):  # a target is no channel; x was reduced
        assert "baselines" not in tasks.find(forecast(4, **changes)).judge(x, y, y, comm)


def test_a_rank_may_have_no_row(comm):
    nothing = np.empty((0, 2, 2), np.float32)
    task = tasks.find(forecast())
    assert task.measures(nothing, nothing)["mse"].shape == (0,)


def test_the_dense_network_gives_what_is_forecast():
    model = build(forecast(), hidden=7)
    assert model.output_shape == (None, 2, 2)
    assert model(np.zeros((3, 5, 3), np.float32)).shape == (3, 2, 2)
    assert build(forecast(input_shape=[9], output_shape=[1]), hidden=7).output_shape == (None, 1)


def test_a_task_that_nobody_knows_is_told():
    with pytest.raises(InputError, match="received the task 'ranking', allowed: classification, regression"):
        tasks.find({"task": "ranking"})


@pytest.mark.parametrize(
    ("spec", "outputs"),
    [
        ({"task": "classification", "classes": [*"ab"]}, 2),
        ({"task": "classification", "classes": [*"abc"]}, 3),
        ({"task": "anomalies", "classes": []}, 3),
        ({"task": "clusters", "classes": [*"ab"]}, 3),
    ],
)
def test_what_is_judged_is_told(spec, outputs, comm):
    task = tasks.find(spec)
    y = np.arange(12) % 2
    told = task.judge(RNG.normal(0, 1, (12, 4)), y, RNG.uniform(0, 1, (12, outputs)).astype(np.float32), comm)
    assert {*task.judged} == {name for name in told if name in qualities.ALL}

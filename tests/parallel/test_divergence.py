"""Trainings that go wrong, on real digits with rates that are too high, and trainings in 16 bits, on three ranks."""

import json
import pathlib

import h5py
import numpy as np
import pytest
from mpi_runs import run_mpi

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "train_rows.py"
DIGITS = {"digits": True, "epochs": 5, "batch_size": 32}
WILD = {**DIGITS, "is_linear": True, "learning_rate": 16.0, "momentum": 0.0}
CLIENTS = {**WILD, "strategy": "federated", "secure": True}
ALONE = {"scaling": "none", "warmup_epochs": 0}
LATE = {**WILD, "learning_rate": 1.5, "accumulate": 4, "warmup_epochs": 2, "epochs": 6, "batch_size": 16}
DRIFT = {"strategy": "stream", "learning_rate": 0.5, "changes_at": 700, "boost": 1e38, "boost_rows": 60}
LEARNS = {**DIGITS, "epochs": 6, "optimizer": "adam", "learning_rate": 0.008, "scaling": "none"}
FAILS = {**DIGITS, "strategy": "local_sgd", "batch_size": 128, "may_fail": True}
OVERFLOWS = {**DIGITS, "precision": "float16", "spike": 10, "learning_rate": 0.01, "epochs": 2}
TRAININGS = {
    "ring_allreduce": LATE,
    "stopped": {**LATE, "epochs": 3, "folder": "on"},
    "on": {**LATE, "folder": "on"},
    "local_sgd": {**WILD, **ALONE, "strategy": "local_sgd", "outer_momentum": 0.5},
    "parameter_server": {**WILD, **ALONE, "strategy": "parameter_server", "servers": 2, "momentum": 0.5},
    "gossip": {**WILD, **ALONE, "strategy": "gossip"},
    "federated": CLIENTS,
    "stream": {**WILD, **DRIFT, "scaling": "none", "batch_size": 16},
    "stop": {**FAILS, "breaks": 2, "divergence": "stop"},
    "no end": {**FAILS, "learning_rate": 1e30},
    "plateau": {**DIGITS, "plateau": 1, "learning_rate": 1e-9, "breaks": 5},
    **{name: {**LEARNS, "precision": name} for name in ("float32", "bfloat16", "float16", "auto")},
    "overflow": OVERFLOWS,
    "overflow of sums": {**OVERFLOWS, "exchange": "int8"},
    "overflow of servers": {**OVERFLOWS, "strategy": "parameter_server"},
}
RESTORED = ["ring_allreduce", "local_sgd", "parameter_server", "gossip", "federated", "stream"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def trained(folder):
    """Name -> what came of the trainings, one after the other in the same three processes."""
    given = [
        {**options, "folder": str(folder / options.get("folder", name.replace(" ", "-")))}
        for name, options in TRAININGS.items()
    ]
    out = run_mpi(3, PROGRAM, json.dumps(given), seconds=400)
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return dict(zip(TRAININGS, lines, strict=True))


def events(found, what):
    return [event for event in found["events"] if event["what"] == what]


@pytest.mark.parametrize("name", RESTORED)
def test_what_diverged_goes_back_to_the_last_good_epoch_at_half_the_rate(trained, name):
    found = trained[name]
    diverged = events(found, "diverged")
    assert [event["rate_scale"] for event in diverged] == [0.5**number for number in range(1, len(diverged) + 1)]
    assert 1 <= len(diverged) <= 3
    losses = found["curves"]["loss"]
    for event in diverged:
        bad = {other["epoch"] for other in diverged}
        assert event["epoch_restored"] == max({*range(event["epoch"])} - bad)
        assert losses[event["epoch"] - 1] == event["loss"]
    assert len(set(found["digests"])) == 1
    assert np.isfinite(found["flat"]).all()


@pytest.mark.parametrize("name", [name for name in RESTORED if name != "stream"])
def test_after_that_it_learns(trained, name):
    assert trained[name]["curves"]["validation_accuracy"][-1] > 0.75  # as such rates do; by chance .1


def test_a_stream_that_drifts_goes_on_with_its_rows(trained):
    found = trained["stream"]
    first = events(found, "diverged")[0]
    assert first["epoch_restored"] == first["epoch"] - 1 >= 2  # good before the drift
    assert found["best_epoch"] == first["epoch_restored"] - 1
    assert found["curves"]["validation_loss"][-1] < 100


def test_what_diverged_late_keeps_what_it_had_learnt(trained):
    found = trained["ring_allreduce"]
    first = events(found, "diverged")[0]
    assert first["epoch_restored"] >= 1
    curve = found["curves"]["validation_loss"]
    assert curve[first["epoch"] - 1] == curve[first["epoch_restored"] - 1]


def test_a_training_that_stopped_after_it_diverged_goes_on_bit_for_bit(trained):
    whole, stopped, on = (trained[name] for name in ("ring_allreduce", "stopped", "on"))
    assert events(stopped, "diverged")
    assert on["digests"] == whole["digests"]
    assert on["curves"]["loss"] == whole["curves"]["loss"]
    assert on["rates"] == whole["rates"][3:]


def test_weights_that_are_no_numbers_on_one_rank_diverge_though_the_loss_is_fine(trained, folder):
    found = trained["plateau"]
    assert [(event["epoch"], event["epoch_restored"]) for event in events(found, "diverged")] == [(5, 4)]
    assert len(set(found["digests"])) == 1
    assert found["best_epoch"] == 3
    paths = [*(folder / "plateau").glob("epoch-*.h5")]
    assert len(paths) == 2
    for path in paths:
        with h5py.File(path) as file:
            arrays = [file[group][name][()] for group in ("weights", "optimizer") for name in file[group]]
        assert all(np.isfinite(array).all() for array in arrays)


def test_what_diverges_again_and_again_or_is_to_stop_fails_in_one_line(trained):
    assert trained["stop"] == {"error": "weights became no finite numbers in epoch 2; lower train.learning_rate (0.1)"}
    wanted = "the loss became nan in epoch 4, and 3 times before at higher rates; lower train.learning_rate (1e+30)"
    assert trained["no end"] == {"error": wanted}


def test_a_plateau_halves_the_rate(trained):
    found = trained["plateau"]
    assert [(event["epoch"], event["rate_scale"]) for event in events(found, "plateau")] == [
        (2, 0.5),
        (3, 0.25),
        (4, 0.125),
    ]
    rates = np.divide(found["rates"][:4], 1e-9)  # through the warm-up, in which they grow to three times of one rank's
    assert rates[1] > rates[0]  # the first halving comes after the second epoch
    assert rates[1] > rates[2] > rates[3]


@pytest.mark.parametrize("name", ["bfloat16", "float16", "auto"])
def test_16_bits_learn_as_well_as_float32(trained, name):
    whole, half = trained["float32"]["curves"], trained[name]["curves"]
    assert whole["validation_accuracy"][-1] > 0.85
    assert half["validation_accuracy"][-1] > whole["validation_accuracy"][-1] - 0.02  # 7 of 360 rows
    np.testing.assert_allclose(half["loss"], whole["loss"], rtol=0.15)
    assert len(set(trained[name]["digests"])) == 1


def test_auto_tells_what_it_measured_and_takes_the_faster_one(trained):
    (event,) = events(trained["auto"], "precision")
    chosen = "bfloat16" if event["bfloat16_seconds"] * 1.05 < event["float32_seconds"] else "float32"
    assert event["action"] == f"{chosen} chosen"
    assert trained["auto"]["digests"] == trained[chosen]["digests"]  # nothing was learnt while it was measured


@pytest.mark.parametrize("name", ["overflow", "overflow of sums", "overflow of servers"])
def test_an_overflow_on_one_rank_skips_the_step_on_all(trained, name):
    found = trained[name]
    skipped = sum(event["steps_skipped"] for event in events(found, "overflow"))
    assert skipped > 0
    assert events(found, "overflow")[-1]["loss_scale"] == 2.0**15 / 2**skipped
    rests = 2 if name == "overflow of sums" else 0  # what rounding left is a step more at the end of an epoch
    assert found["iterations"] == found["steps"] - skipped + rests
    assert len(set(found["digests"])) == 1
    assert np.isfinite(found["flat"]).all()

"""Models that begin with the weights of another one, some of which stay: against the same steps by hand."""

import json
import pathlib

import numpy as np
import pytest
from mpi_runs import run_mpi

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "train_rows.py"
RATE = 0.1  # as in train_rows.py
STEPS = {"momentum": 0.0, "epochs": 2, "frozen": ["dense"]}
WHOLE = {**STEPS, "batch_size": 203}
TRAININGS = {
    **{
        "ring_allreduce": {**STEPS, "batch_size": 102, "scaling": "none"},
        "pipeline": {**WHOLE, "measure": False, "chunks": 7},
    },
    **{"tensor_parallel": WHOLE, "parameter_server": {**WHOLE, "scaling": "none"}},
}
OTHERS = {name: {**STEPS, "batch_size": 32} for name in ("federated", "ring_tmp")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Name -> what came of it on two ranks: of a model that is trained first, and of those that begin with it."""
    folder = tmp_path_factory.mktemp("transfer")
    entries = {"first": {"epochs": 1}}
    entries |= {name: {"strategy": name, **its} for name, its in (TRAININGS | OTHERS).items()}
    entries |= {
        "stopped": {"momentum": 0.9, "epochs": 1, "frozen": ["dense"], "folder": "on"},
        "on": {"momentum": 0.9, "epochs": 2, "frozen": ["dense"], "folder": "on"},
        "at once": {"momentum": 0.9, "epochs": 2, "frozen": ["dense"]},
        "wider": {"hidden": 9},
        "nothing left": {"frozen": ["*"]},
        "no such layer": {"frozen": ["conv*"]},
    }
    for name, its in entries.items():
        its["folder"] = str(folder / its.get("folder", name))
        if name != "first":
            its["initial_weights"] = str(folder / "first/model.keras")
    told = run_mpi(2, PROGRAM, json.dumps([*entries.values()]), seconds=300)
    found = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    return dict(zip(entries, found, strict=True))


def layers(flat):
    """Kernel and bias of both layers."""
    return np.split(np.array(flat), np.cumsum([6 * 8, 8, 8 * 4]))


@pytest.mark.parametrize("name", TRAININGS)
def test_steps_are_those_of_the_last_layer_alone(name, trained):
    from train_rows import Rows

    x, y = Rows(203, 50).read("train", slice(None))
    *frozen, kernel, bias = layers(trained["first"]["flat"])
    hidden = np.maximum(x @ frozen[0].reshape(6, 8) + frozen[1], 0)
    kernel = kernel.reshape(8, 4)
    for _ in range(2):
        outputs = np.exp(hidden @ kernel + bias)
        away = outputs / outputs.sum(axis=1, keepdims=True) - np.eye(4)[y]
        kernel, bias = kernel - RATE * hidden.T @ away / len(y), bias - RATE * away.mean(axis=0)
    found = layers(trained[name]["flat"])
    assert all((one == other).all() for one, other in zip(found[:2], frozen, strict=True))
    np.testing.assert_allclose(found[2].reshape(8, 4), kernel, atol=1e-5)  # sums of float32
    np.testing.assert_allclose(found[3], bias, atol=1e-5)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_frozen_stays_and_the_rest_is_learnt(name, trained):
    first, found = (layers(trained[one]["flat"]) for one in ("first", name))
    assert [(one == other).all() for one, other in zip(first, found, strict=True)] == [True, True, False, False]


def test_a_run_that_goes_on_takes_its_checkpoint_and_not_the_file(trained):
    assert trained["on"]["flat"] == trained["at once"]["flat"]


def test_a_file_with_no_layer_that_fits_and_names_that_fit_none_are_told(trained):
    assert (
        "received" in trained["wider"]["error"] and "dense 6 x 8, dense_1 8 x 4, allowed" in trained["wider"]["error"]
    )
    assert "leaves no weight to be trained" in trained["nothing left"]["error"]
    assert "train.frozen: received 'conv*', which names no layer" in trained["no such layer"]["error"]

"""Each data-parallel strategy reaches what one rank alone reaches: the digits and MNIST, by the command."""

import os
import pathlib
import shutil

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MNIST = pathlib.Path(os.environ.get("HVDEDGE_DATA", ROOT.parent / "shared" / "data")) / "mnist"
CASES = {
    "digits": ("train.epochs=20",),
    "mnist": ("train.epochs=5", "train.model=dense", "train.hidden=128"),
}
STRATEGIES = {
    "ring_allreduce": (2, {}, 0.01),
    "local_sgd": (2, {"strategy": "local_sgd"}, 0.01),
    "gossip": (3, {"strategy": "gossip"}, 0.02),
    "federated": (3, {"strategy": "federated"}, 0.01),
    "federated_by_label": (3, {"strategy": "federated", "partition": "label"}, 0.02),
    "sync": (3, {"strategy": "parameter_server"}, 0.01),
    "async": (3, {"strategy": "parameter_server", "mode": "async"}, 0.02),
    "ssp": (4, {"strategy": "parameter_server", "mode": "ssp", "servers": 2}, 0.02),
    "int8": (2, {"exchange": "int8"}, 0.01),
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def accuracy(hvdedge, record, case, results, run, ranks, *words):
    """The accuracy on the test rows of a run up to evaluate."""
    settings = [word for setting in (*CASES[case], *words) for word in ("--set", setting)]
    where = ["--results", results, "--run", run, "--ranks", ranks, "--to", "evaluate"]
    where += ["--from", "train"] if (results / case / run).exists() else []
    done = hvdedge("run", f"jobs/{case}.toml", *where, *settings, seconds=900, HVDEDGE_DATA=str(MNIST.parent))
    assert done.status == 0, done.err
    return record(results / case / run, "evaluate")["metrics"]["accuracy"]


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """A case and its results folder."""
    if request.param == "mnist" and not MNIST.is_dir():
        pytest.skip(f"needs {MNIST}, the four files of MNIST; set HVDEDGE_DATA")
    return request.param, tmp_path_factory.mktemp(request.param)


@pytest.fixture
def one(case, hvdedge, record):
    """A case, its results folder, and the accuracy of one rank there."""
    name, results = case
    if not (results / name / "one" / "evaluate.json").exists():
        accuracy(hvdedge, record, name, results, "one", 1)
    return name, results, record(results / name / "one", "evaluate")["metrics"]["accuracy"]


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_reaches_what_one_rank_reaches(hvdedge, record, one, name):
    case, results, alone = one
    ranks, options, less = STRATEGIES[name]
    words = [f"train.{option}={value}" for option, value in options.items()]
    shutil.copytree(results / case / "one", results / case / name, symlinks=True)
    found = accuracy(hvdedge, record, case, results, name, ranks, *words)
    print(f"{case}, {name}: {found:.4f} beside {alone:.4f}")
    assert found >= alone - less

"""Strategies whose ranks step by themselves: against the same steps by hand, and against synchronous descent."""

import json
import math
import pathlib

import numpy as np
import pytest
from mpi_runs import run_mpi

from hvdedge import privacy_accountant

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "train_rows.py"
PLAIN = {"momentum": 0.0, "scaling": "none", "epochs": 2}
SEED, RATE = 7, 0.1  # as in train_rows.py
SERVER = {"strategy": "parameter_server", "optimizer": "adam", "learning_rate": 0.01}
FEDERATED = {"strategy": "federated", "momentum": 0.0, "epochs": 2, "local_epochs": 1}
SKEWED = {"strategy": "federated", "optimizer": "adam", "learning_rate": 0.01, "partition": "label", "alpha": 1.0}
STREAM = {
    **{"strategy": "stream", "rows": 4000, "changes_at": 2000, "epochs": 8},
    **{"momentum": 0.0, "learning_rate": 0.05, "scaling": "none"},
}
# ranks -> name -> options
TRAININGS = {
    1: {
        "ring": {**PLAIN, "batch_size": 12},
        "gossip": {**PLAIN, "strategy": "gossip", "batch_size": 12},
        "local": {**PLAIN, "strategy": "local_sgd", "local_steps": 5, "batch_size": 12},
        "all rows": {**PLAIN, "batch_size": 203},
        "client": {**FEDERATED, "batch_size": 12},
        "stream": {**STREAM, "batch_size": 20},
        "calm stream": {**STREAM, "batch_size": 20, "boost": 1.0},
    },
    2: {
        "one step": {**PLAIN, "strategy": "local_sgd", "local_steps": 1, "batch_size": 6},
        "gossip": {**PLAIN, "strategy": "gossip", "batch_size": 6},
        "whole": {"strategy": "local_sgd", "optimizer": "adam", "outer_momentum": 0.5, "epochs": 4},
        "stopped": {"strategy": "local_sgd", "optimizer": "adam", "outer_momentum": 0.5, "epochs": 2, "folder": "on"},
        "on": {"strategy": "local_sgd", "optimizer": "adam", "outer_momentum": 0.5, "epochs": 4, "folder": "on"},
        "gossip whole": {"strategy": "gossip", "epochs": 4},
        "gossip stopped": {"strategy": "gossip", "epochs": 2, "folder": "gossip-on"},
        "gossip on": {"strategy": "gossip", "epochs": 4, "folder": "gossip-on"},
        "ring adam": {"optimizer": "adam", "learning_rate": 0.01, "epochs": 2},
        "server": {**PLAIN, "strategy": "parameter_server", "batch_size": 12},
        "accumulated": {**PLAIN, "accumulate": 3, "batch_size": 6},
        "bfloat16": {**PLAIN, "exchange": "bfloat16", "batch_size": 6},
        "int8": {**PLAIN, "exchange": "int8", "batch_size": 6},
        "whole numbers": {**PLAIN, "batch_size": 6},
        "top_k": {"exchange": "top_k", "density": 0.1, "momentum": 0.5, "learning_rate": 0.05, "epochs": 6},
        "stream": {**STREAM, "batch_size": 10},
        "stream of gossip": {**STREAM, "batch_size": 10, "exchange": "gossip"},
        "short stream": {**STREAM, "batch_size": 64, "rows": 203},
        "gossip stream stopped": {**STREAM, "batch_size": 10, "exchange": "gossip", "epochs": 4, "folder": "stream-on"},
        "gossip stream on": {**STREAM, "batch_size": 10, "exchange": "gossip", "folder": "stream-on"},
    },
    3: {
        "one step": {**PLAIN, "strategy": "local_sgd", "local_steps": 1, "batch_size": 4},
        "few rows": {**PLAIN, "strategy": "local_sgd", "local_steps": 1, "batch_size": 4, "rows": 13},
        "four steps": {
            **{**PLAIN, "strategy": "local_sgd", "local_steps": 4, "batch_size": 4},
            **{"outer_momentum": 0.6, "outer_learning_rate": 0.8},
        },
        "gossip": {**PLAIN, "strategy": "gossip", "batch_size": 4},
        "server": {**PLAIN, "strategy": "parameter_server", "batch_size": 6},
        "server whole": {**SERVER, "epochs": 4},
        "server stopped": {**SERVER, "epochs": 2, "folder": "server-on"},
        "server on": {**SERVER, "epochs": 4, "folder": "server-on"},
        "async": {**SERVER, "mode": "async", "epochs": 4},
        "clients": {**FEDERATED, "batch_size": 12, "local_epochs": 2, "proximal": 0.3},
        "all rows": {**FEDERATED, "batch_size": 203},
        "secure": {**FEDERATED, "batch_size": 12, "local_epochs": 2, "proximal": 0.3, "secure": True},
        "clipped": {**FEDERATED, "batch_size": 203, "clip": 0.01},
        "private": {**FEDERATED, "batch_size": 203, "clip": 0.01, "noise": 2.0, "fraction": 0.5},
        "nobody": {**FEDERATED, "batch_size": 203, "clip": 0.01, "noise": 2.0, "fraction": 1e-9},
        "clients whole": {**SKEWED, "epochs": 4},
        "clients stopped": {**SKEWED, "epochs": 2, "folder": "clients-on"},
        "clients on": {**SKEWED, "epochs": 4, "folder": "clients-on"},
    },
    4: {
        "one step": {**PLAIN, "strategy": "local_sgd", "local_steps": 1, "batch_size": 3},
        "fewer rows than ranks": {**PLAIN, "strategy": "local_sgd", "local_steps": 2, "batch_size": 8, "rows": 3},
        "gossip": {**PLAIN, "strategy": "gossip", "batch_size": 3},
        "gossip, fewer rows than ranks": {**PLAIN, "strategy": "gossip", "batch_size": 8, "rows": 3},
        "server": {**PLAIN, "strategy": "parameter_server", "servers": 2, "batch_size": 6},
        "server, no step ahead": {
            **{**PLAIN, "strategy": "parameter_server", "servers": 2, "batch_size": 6},
            **{"mode": "ssp", "staleness": 0},
        },
        "server, fewer rows": {**PLAIN, "strategy": "parameter_server", "servers": 1, "batch_size": 8, "rows": 3},
        "ring adam": {**SERVER, "strategy": "parameter_server", "servers": 2, "epochs": 2},
        "ssp": {**SERVER, "mode": "ssp", "staleness": 1, "servers": 2, "epochs": 4},
        "half of the clients": {**FEDERATED, "batch_size": 12, "fraction": 0.5},
        "silent": {**FEDERATED, "batch_size": 12, "secure": True, "drop_out": 0.5},
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Ranks -> name -> what came of the trainings, those of a number of ranks one after the other in one run."""
    found = {}

    def on(ranks):
        if ranks not in found:
            folder = tmp_path_factory.mktemp(f"on-{ranks}")
            given = [
                {**options, "folder": str(folder / options.get("folder", str(number)))}
                for number, options in enumerate(TRAININGS[ranks].values())
            ]
            out = run_mpi(ranks, PROGRAM, json.dumps(given), seconds=240)
            lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
            found[ranks] = dict(zip(TRAININGS[ranks], lines, strict=True))
        return found[ranks]

    return on


def gradient(theta, x, y):
    """Return the gradient of the mean cross-entropy of the network of train_rows.py, by hand: float64."""
    w1, b1, w2, b2 = np.split(theta, np.cumsum([6 * 8, 8, 8 * 4]))
    w1, w2 = w1.reshape(6, 8), w2.reshape(8, 4)
    hidden = np.maximum(x @ w1 + b1, 0)
    logits = hidden @ w2 + b2
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    slope = (shares - np.eye(4)[y]) / len(y)
    back = (slope @ w2.T) * (hidden > 0)
    return np.concatenate([(x.T @ back).ravel(), back.sum(0), (hidden.T @ slope).ravel(), slope.sum(0)])


def by_hand(ranks, batch, rows, step):
    """Return the weights after two epochs of `step(theta (ranks, numbers), gradients (None without rows), counts,
    line, lines)`, which returns the next weights of all ranks; their mean is taken at the end of an epoch."""
    from train_rows import Rows, network

    theta = np.concatenate([w.ravel() for layer in network(0.0).layers for w in layer.get_weights()]).astype(float)
    x, y = Rows(rows, 50).read("train", slice(None))
    whole, everyone = ranks * batch, np.tile(theta, (ranks, 1))
    lines = math.ceil(rows / whole)
    for epoch in range(2):
        lanes = []
        for lane in range(whole):
            mine = np.arange(lane, rows, whole)
            lanes.append(mine[np.random.default_rng([SEED, epoch, lane]).permutation(len(mine))])
        for line in range(lines):
            chosen = [
                [lane[line] for lane in lanes[rank * batch : (rank + 1) * batch] if line < len(lane)]
                for rank in range(ranks)
            ]
            slopes = [gradient(everyone[r], x[its], y[its]) if its else None for r, its in enumerate(chosen)]
            everyone = step(everyone, slopes, [len(its) for its in chosen], line, lines)
        everyone = np.tile(everyone.mean(axis=0), (ranks, 1))
    return everyone[0]


def descent(everyone, slopes, counts, line, lines):
    mean = sum(count * slope for count, slope in zip(counts, slopes, strict=True) if count) / sum(counts)
    return everyone - RATE * mean


def stepped(everyone, slopes):
    return np.stack(
        [each if slope is None else each - RATE * slope for each, slope in zip(everyone, slopes, strict=True)]
    )


class Outer:
    """Local steps with an outer optimizer."""

    def __init__(self, every, rate, momentum):
        self._every, self._rate, self._momentum = every, rate, momentum
        self._theta, self._velocity, self._seen = None, 0.0, 0

    def __call__(self, everyone, slopes, counts, line, lines):
        self._theta = everyone[0] if self._theta is None else self._theta
        self._seen = self._seen + np.array(counts)
        everyone = stepped(everyone, slopes)
        if (line + 1) % self._every and line + 1 < lines:
            return everyone
        delta = self._theta - self._seen @ everyone / self._seen.sum()
        self._velocity = self._momentum * self._velocity + delta
        self._theta = self._theta - self._rate * (delta + self._momentum * self._velocity)
        self._seen = 0
        return np.tile(self._theta, (len(everyone), 1))


def neighbours(everyone, slopes, counts, line, lines):
    ranks = len(everyone)
    mixing = np.zeros((ranks, ranks))
    for rank in range(ranks):
        near = {rank, (rank + 1) % ranks, (rank - 1) % ranks}
        mixing[rank, [*near]] = 1 / len(near)
    return mixing @ everyone + stepped(everyone, slopes) - everyone


def assert_is(found, wanted):
    np.testing.assert_allclose(found["flat"], wanted, atol=5e-6)
    assert len(set(found["digests"])) == 1


@pytest.mark.parametrize(("ranks", "name", "rows"), [(2, "one step", 203), (3, "few rows", 13), (4, "one step", 203)])
def test_one_local_step_at_a_time_is_descent_on_the_global_batch(trained, ranks, name, rows):
    assert_is(trained(ranks)[name], by_hand(ranks, 12 // ranks, rows, descent))


@pytest.mark.parametrize("name", ["gossip", "local"])
def test_one_rank_alone_descends_as_ever(trained, name):
    np.testing.assert_allclose(trained(1)[name]["flat"], trained(1)["ring"]["flat"], atol=2e-6)


def test_local_steps_are_averaged_by_rows_and_led_by_an_outer_momentum(trained):
    assert_is(trained(3)["four steps"], by_hand(3, 4, 203, Outer(4, 0.8, 0.6)))


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_gossip_averages_neighbours_after_each_step(trained, ranks):
    assert_is(trained(ranks)["gossip"], by_hand(ranks, 12 // ranks, 203, neighbours))


def test_ranks_without_rows_take_part(trained):
    assert_is(trained(4)["fewer rows than ranks"], by_hand(4, 8, 3, Outer(2, 1.0, 0.0)))
    assert_is(trained(4)["gossip, fewer rows than ranks"], by_hand(4, 8, 3, neighbours))


@pytest.mark.parametrize(
    ("ranks", "name", "rows"),
    [(2, "server", 203), (3, "server", 203), (4, "server", 203), (4, "server, no step ahead", 203)],
)
def test_servers_that_wait_for_all_descend_on_the_global_batch(trained, ranks, name, rows):
    assert_is(trained(ranks)[name], by_hand(1, 12, rows, descent))


def test_workers_without_rows_take_part(trained):
    assert_is(trained(4)["server, fewer rows"], by_hand(3, 8, 3, descent))


def test_servers_step_in_parts_as_the_optimizer_does_on_the_whole(trained):
    ring, servers = trained(2)["ring adam"], trained(4)["ring adam"]  # two that train, in both
    np.testing.assert_allclose(servers["flat"], ring["flat"], atol=2e-5)
    assert len(set(servers["digests"])) == 1


@pytest.mark.parametrize(("ranks", "name"), [(3, "async"), (4, "ssp")])
def test_servers_that_do_not_wait_train_as_well(trained, ranks, name):
    found = trained(ranks)[name]
    whole = trained(3)["server whole"]["curves"]["loss"]
    assert found["curves"]["loss"][-1] < 1.1 * whole[-1] < whole[0]
    assert found["steps"] == len(found["curves"]["loss"]) * math.ceil(203 / 64)
    assert len(set(found["digests"])) == 1
    assert 0 < found["metrics"]["idle_share"] < 1


@pytest.mark.parametrize(("ranks", "name"), [(2, ""), (2, "gossip "), (3, "server "), (3, "clients ")])
def test_a_training_that_stopped_goes_on_bit_for_bit(trained, ranks, name):
    whole, on = trained(ranks)[f"{name}whole"], trained(ranks)[f"{name}on"]
    assert on["events"][0]["epoch"] == 2
    assert on["digests"] == whole["digests"]
    assert on["curves"]["loss"] == whole["curves"]["loss"]


def test_bytes_are_those_of_the_messages(trained):
    weights = 4 * len(trained(3)["gossip"]["flat"])
    for ranks, sent in ((2, weights), (3, 2 * weights)):  # and once an epoch along the ring
        assert sent < trained(ranks)["gossip"]["metrics"]["bytes_per_step"] < 1.07 * sent
    every, fourth = (trained(3)[name]["metrics"]["bytes_per_step"] for name in ("one step", "four steps"))
    assert weights < trained(2)["server"]["metrics"]["bytes_per_step"] < 1.05 * weights  # one way a rank
    assert every == pytest.approx(2 * 2 * (weights + 4) / 3, abs=2)
    assert 0.2 < fourth / every < 0.35  # every fourth step, and at the end of an epoch


def averaged(clients, batch, times=1, proximal=0.0, chosen=None, silent=None, clip=0.0):
    """Return the weights after two rounds of federated averaging, by hand: `chosen(round)`, but the `silent` ones."""
    from train_rows import Rows, network

    from hvdedge import client_rows

    theta = np.concatenate([w.ravel() for layer in network(0.0).layers for w in layer.get_weights()]).astype(float)
    x, y = Rows(203, 50).read("train", slice(None))
    owned = client_rows.alike(203, clients, SEED)
    for epoch in range(2):
        total, weight = np.zeros(len(theta)), 0
        for client in range(clients) if chosen is None else chosen(epoch):
            rows, mine = owned[client], theta.copy()
            for time in range(times):
                order = np.random.default_rng([SEED, epoch * times + time]).permutation(len(rows))
                for start in range(0, len(rows), batch):
                    its = rows[order[start : start + batch]]
                    mine -= RATE * (gradient(mine, x[its], y[its]) + proximal * (mine - theta))
            if silent is None or client not in silent(epoch):
                change = mine - theta
                share = len(rows) if not clip else min(1.0, clip / np.linalg.norm(change))
                total += share * change
                weight += len(rows) if not clip else 1
        theta = theta + total / weight
    return theta


def test_clients_go_by_themselves_and_are_averaged_by_their_rows(trained):
    assert_is(trained(1)["client"], averaged(1, 12))
    assert_is(trained(3)["clients"], averaged(3, 12, times=2, proximal=0.3))
    assert trained(3)["clients"]["metrics"]["client_rows"] == [68, 68, 67]


def test_clients_of_one_step_a_round_descend_on_all_rows(trained):
    np.testing.assert_allclose(trained(3)["all rows"]["flat"], trained(1)["all rows"]["flat"], atol=2e-6)


def test_a_fraction_of_the_clients_takes_part(trained):
    def chosen(epoch):
        return np.random.default_rng([SEED, epoch, 1]).permutation(4)[:2]

    assert_is(trained(4)["half of the clients"], averaged(4, 12, chosen=chosen))


def test_a_secure_sum_is_the_open_one_also_without_those_that_fell_silent(trained):
    np.testing.assert_allclose(trained(3)["secure"]["flat"], trained(3)["clients"]["flat"], atol=1e-6)
    drawn = [np.flatnonzero(np.random.default_rng([SEED, epoch, 2]).random(4) < 0.5)[:1] for epoch in range(2)]
    assert_is(trained(4)["silent"], averaged(4, 12, silent=lambda epoch: drawn[epoch]))
    assert trained(4)["silent"]["metrics"]["clients_silent"] == sum(map(len, drawn)) > 0


def test_what_a_client_changes_is_bounded_and_noise_tells_its_epsilon(trained):
    assert_is(trained(3)["clipped"], averaged(3, 203, clip=0.01))
    found = trained(3)["private"]["metrics"]
    assert found["delta"] == 1e-5
    assert found["epsilon"] == pytest.approx(privacy_accountant.epsilon(2.0, 0.5, 2, 1e-5))


def test_a_round_of_no_client_adds_noise_alone(trained):
    """The mean of nobody is noise of 2 clips over 3e-9 clients expected."""
    found = trained(3)["nobody"]
    assert found["curves"]["loss"] == [None, None] and found["steps"] == 0
    assert np.std(found["flat"]) == pytest.approx(math.sqrt(2) * 2 * 0.01 / 3e-9, rel=0.3)


def test_clients_that_differ_learn_together(trained):
    found = trained(3)["clients whole"]
    assert sum(found["metrics"]["client_rows"]) == 203 and len({*found["metrics"]["client_rows"]}) > 1
    assert found["curves"]["loss"][-1] < 0.9 * found["curves"]["loss"][0]


WRONG = {
    "train.secure: received true with 2 of 2 clients in a round, allowed: 3 or more": {**FEDERATED, "secure": True},
    "train.noise: received 1.0 without clip, allowed with a clip above 0": {**FEDERATED, "noise": 1.0},
    "train.drop_out: received 0.1 without secure": {**FEDERATED, "drop_out": 0.1},
    "train.partition: received 'iid', which leaves client 1 of 2 without one of 1 rows": {**FEDERATED, "rows": 1},
    "train.servers: received 2 on 2 ranks, allowed: fewer": {"strategy": "parameter_server", "servers": 2},
}


def test_options_that_cannot_be_are_told_in_one_line(tmp_path):
    given = [{**options, "folder": str(tmp_path)} for options in WRONG.values()]
    out = run_mpi(2, PROGRAM, json.dumps(given), seconds=240)
    told = [json.loads(line)["error"] for line in out.splitlines() if line.startswith("{")]
    assert all(error.startswith(line) for error, line in zip(told, WRONG, strict=True))


def test_a_stream_is_told_before_it_is_learnt_from_and_its_drift_is_noticed(trained):
    found = trained(1)["stream"]
    accuracy = found["curves"]["accuracy"]
    assert len(accuracy) == 8 and found["steps"] == 800
    assert accuracy[0] < accuracy[3] > 0.8 and accuracy[4] < accuracy[3] - 0.1 < accuracy[7]
    assert [event["what"] for event in found["events"]] == ["drift"]
    assert 2000 < found["events"][0]["row"] <= 2100
    assert accuracy[4] > trained(1)["calm stream"]["curves"]["accuracy"][4] + 0.1


def test_a_stream_is_the_same_on_any_number_of_ranks(trained):
    np.testing.assert_allclose(
        trained(2)["stream"]["curves"]["loss"], trained(1)["stream"]["curves"]["loss"], rtol=1e-3
    )
    assert trained(2)["stream"]["events"] == trained(1)["stream"]["events"]


def test_neighbours_notice_a_drift_each_in_its_own_rows(trained):
    found = trained(2)["stream of gossip"]
    assert {event["rank"] for event in found["events"]} == {0, 1}
    assert found["curves"]["accuracy"][-1] > 0.8 and len(set(found["digests"])) == 1


def test_a_stream_that_stopped_goes_on_with_the_rows_that_are_left(trained):
    """It had seen all rows in its 4 epochs, so that no more follow."""
    stopped, on = trained(2)["gossip stream stopped"], trained(2)["gossip stream on"]
    assert on["curves"] == stopped["curves"] and on["digests"] == stopped["digests"]


def test_a_stream_of_fewer_lines_than_epochs_has_fewer_epochs(trained):
    assert len(trained(2)["short stream"]["curves"]["loss"]) == 2


class Accumulated:
    """Descent on the mean gradient over the rows of several lines."""

    def __init__(self, lines):
        self._lines, self._held, self._rows = lines, [], 0

    def __call__(self, everyone, slopes, counts, line, lines):
        self._held.append(sum(n * slope for n, slope in zip(counts, slopes, strict=True) if n))
        self._rows += sum(counts)
        if len(self._held) < self._lines and line + 1 < lines:
            return everyone
        mean, self._held, self._rows = np.sum(self._held, axis=0) / self._rows, [], 0
        return everyone - RATE * mean


def test_gradients_of_several_batches_make_one_step(trained):
    assert_is(trained(2)["accumulated"], by_hand(2, 6, 203, Accumulated(3)))


def test_gradients_in_fewer_bytes_lead_to_nearly_the_same_weights(trained):
    whole = trained(2)["whole numbers"]
    for name, share in (("bfloat16", 0.5), ("int8", 0.27)):
        found = trained(2)[name]
        np.testing.assert_allclose(found["flat"], whole["flat"], atol=3e-3)
        assert len(set(found["digests"])) == 1
        padded = 512 / len(whole["flat"])  # a network of few numbers fills one block of 256 on each rank
        assert found["metrics"]["bytes_per_step"] < 1.1 * padded * share * whole["metrics"]["bytes_per_step"] + 60


def test_the_largest_gradients_alone_train_as_well(trained):
    found = trained(2)["top_k"]
    assert found["curves"]["loss"][-1] < 0.75 * found["curves"]["loss"][0]
    assert len(set(found["digests"])) == 1

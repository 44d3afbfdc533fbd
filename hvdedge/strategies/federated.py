"""Federated averaging: clients keep their rows, learn by themselves, and a coordinator averages what they learnt.

    client k   theta_k <- theta, then steps on its rows:  - rate * (gradient + proximal * (theta_k - theta))
    then       theta   <- theta + sum_k n_k (theta_k - theta) / sum_k n_k,     n_k the rows of the clients of a round

Each rank is a client, and rank 0 the coordinator as well. An epoch is a round, in which a fraction of the clients takes
part; what a client's optimizer keeps begins anew in each. `secure`: the coordinator learns the sum alone, see
`hvdedge.secure_aggregation`. `clip` bounds what one client can change; each then counts alike. With `noise` the weights
are differentially private, a client the unit that is protected: clients are drawn independently, and draws and noise
do not follow from the seed. See `hvdedge.privacy_accountant`.

Source: McMahan et al. 2017, Communication-efficient learning of deep networks from decentralized data (FedAvg); Li et
al. 2020, Federated optimization in heterogeneous networks (FedProx); McMahan et al. 2018, Learning differentially
private recurrent language models.
"""

import math
import secrets
from typing import Literal

import numpy as np

from hvdedge import client_rows, privacy_accountant
from hvdedge import local_steps as local
from hvdedge.client_sums import open_sum, secure_sum
from hvdedge.divergence import OTHER_ROWS
from hvdedge.errors import InputError
from hvdedge.options import Between, Count, Fraction, NonNegative, Portion, Positive
from hvdedge.parallel import MeteredComm
from hvdedge.secure_aggregation import LARGEST, LEAST_MEMBERS, threshold
from hvdedge.training import History, TrainingTask

PRIVATE = ("secure", "noise", "partition = client")  # options under which clients' rows are theirs alone


def train(
    task: TrainingTask,
    comm: MeteredComm,
    *,
    local_epochs: Count = 2,
    fraction: Portion = 1.0,
    partition: Literal["iid", "label", "client"] = "iid",
    alpha: Positive = 0.5,
    proximal: NonNegative = 0.0,
    secure: bool = False,
    drop_out: Fraction = 0.0,
    clip: NonNegative = 0.0,
    noise: NonNegative = 0.0,
    delta: Between = 1e-5,
) -> History:
    """Collective. Train with federated averaging; each rank is a client.

    Args:
        local_epochs: through a client's rows in a round.
        fraction: of the clients that take part in a round.
        partition: which rows are whose: any, of each label in shares drawn from a Dirichlet distribution, or whole
            clients of the column that extract.client names.
        alpha: of that distribution: the smaller, the more clients differ.
        proximal: how much a client is held back from going far from the common weights (FedProx).
        secure: whether the coordinator learns only the sum of what clients learnt.
        drop_out: with secure, the chance that a client falls silent in a round after it shared its keys: to measure.
        clip: the greatest length of a client's change of the weights, 0 for any.
        noise: standard deviation of the noise on the sum, in clips.
        delta: with noise, for which epsilon is told.
    Raises:
        InputError: where options do not fit each other or the ranks, or a client would have no rows.
    """
    _check(task, comm, fraction, secure, drop_out, clip, noise)
    owned = _deal(task, comm, partition, alpha)
    rows = [len(its) for its in owned]
    task.keep_to(owned[comm.rank])
    del owned
    if noise:
        task.growth = math.inf  # losses would tell of clients
    elif fraction < 1:
        task.growth = OTHER_ROWS
    first = task.resume(comm)
    variables, states = task.variables(), local.state_of(task.optimizer)
    steps = local.LocalSteps(task, proximal)
    silent = task.kept.setdefault("silent", np.zeros(1, np.int64))
    for epoch in range(first, task.epochs):
        theta = local.flat(variables)  # what the last round ended with, or an earlier one if training diverged
        chosen = _chosen(comm, fraction, bool(noise), [task.seed, epoch])
        task.trains = comm.rank in chosen
        change, weight = np.zeros_like(theta), np.float32(0)
        if task.trains:
            for state in states:
                state.assign(np.zeros(state.shape))
            task.optimizer.iterations.assign(0)
            steps.hold()
            for batch in task.batches(epoch, local_epochs):
                told = steps.look(batch)
                steps.go()
                task.count(*told)
            change, weight = local.flat(variables) - theta, np.float32(1 if clip else rows[comm.rank] / task.rows)
            below = LARGEST if secure else np.inf
            if not (np.abs(change).max() < below if noise else task.hold(change, below)):
                change[:], weight = 0, np.float32(0)  # it has diverged; with noise that is not told of a client
                for state in states:
                    state.assign(np.zeros(state.shape))
            if clip:
                change *= min(1.0, clip / max(float(np.linalg.norm(change)), 1e-30))
        else:
            task.begin_epoch(epoch)
        mine = np.append(change * weight, weight)
        if secure:
            left_out = _silent(chosen, drop_out, [task.seed, epoch])
            silent += len(left_out)  # in place: it is kept
            total = secure_sum(mine, chosen, left_out, comm)
        else:
            total = open_sum(mine, chosen, comm)
        if comm.rank == 0:
            theta += _mean(total, noise * clip, fraction * comm.size)
        comm.Bcast(theta)
        local.assign(variables, theta)
        local.agree_on_steps(task, comm)
        if task.end_epoch(epoch, comm):
            break
    task.history.told = {"client_rows": rows, "clients_silent": int(silent[0])}
    if noise:
        spent = privacy_accountant.epsilon(noise, fraction, len(task.history.curves["loss"]), delta)
        task.history.told |= {"epsilon": spent, "delta": delta}
    return task.history


def _check(
    task: TrainingTask, comm: MeteredComm, fraction: float, secure: bool, drop_out: float, clip: float, noise: float
) -> None:
    least = _least(comm.size, fraction)
    if secure and least < LEAST_MEMBERS:
        raise InputError(
            f"train.secure: received true with {least} of {comm.size} clients in a round, allowed: {LEAST_MEMBERS} or "
            "more, as of two each knows the other's from the sum; give more --ranks or raise train.fraction"
        )
    if secure and noise and fraction < 1:
        raise InputError(
            f"train.fraction: received {fraction} with secure and noise, which draws clients independently and so may "
            "draw too few, allowed: 1; change one of them"
        )
    if noise and task.precision.is_scaled:
        raise InputError(
            f'train.precision: received "{task.precision.name}" with noise, whose scale follows from clients, allowed: '
            '"float32" or "bfloat16"; change it'
        )
    if drop_out and not secure:
        raise InputError(f"train.drop_out: received {drop_out} without secure, allowed with secure = true; set it")
    if drop_out and not _most_silent(least):
        raise InputError(
            f"train.drop_out: received {drop_out} with {least} clients in a round, of whom {_must_stay(least)} have to "
            "stay, allowed: 0; give more --ranks"
        )
    if noise and task.keeps_beside_weights:
        raise InputError(
            f"train.noise: received {noise} for a model that keeps means of its inputs beside its weights, which would "
            "tell of clients, allowed: 0; take another model"
        )
    if noise and task.plateau_of_training:
        raise InputError(
            f"train.plateau: received {task.plateau_of_training} with noise and no rows for validation, allowed: 0, as "
            "the loss of clients would tell of them; set it to 0 or raise extract.validation"
        )
    if noise and not clip:
        raise InputError(f"train.noise: received {noise} without clip, allowed with a clip above 0; set train.clip")


def _deal(task: TrainingTask, comm: MeteredComm, partition: str, alpha: float) -> list[np.ndarray]:
    """Return the rows of each client, the same on every rank."""
    if partition == "iid":
        owned = client_rows.alike(task.rows, comm.size, task.seed)
    elif partition == "client":
        clients = task.clients()
        if clients is None:
            raise InputError(
                'train.partition: received "client" for features without clients, allowed: those with extract.client; '
                "name the column there and run again with --from extract"
            )
        owned = client_rows.by_client(clients, comm.size)
    else:
        labels = task.labels()
        if labels.ndim > 1 or labels.dtype.kind not in "iu":
            raise InputError(
                'train.partition: received "label" for a label that is no class, allowed: "iid"; change it'
            )
        owned = client_rows.by_label(labels, comm.size, alpha, task.seed)
    without = [client for client, rows in enumerate(owned) if not len(rows)]
    if without:
        raise InputError(
            f"train.partition: received {partition!r}, which leaves client {without[0]} of {comm.size} without one of "
            f"{task.rows} rows, allowed: some for each; give fewer --ranks"
            + (f", or raise train.alpha from {alpha:g}" if partition == "label" else "")
        )
    return owned


def _least(clients: int, fraction: float) -> int:
    return max(1, round(fraction * clients))


def _chosen(comm: MeteredComm, fraction: float, independently: bool, seed: list[int]) -> list[int]:
    """Collective. Return the clients of a round."""
    if independently:  # nobody may know from the seed who it is
        drawn = np.array([secrets.randbelow(2**53) < fraction * 2**53 for _ in range(comm.size)])
        comm.Bcast(drawn)
        return np.flatnonzero(drawn).tolist()
    return sorted(np.random.default_rng([*seed, 1]).permutation(comm.size)[: _least(comm.size, fraction)].tolist())


def _silent(chosen: list[int], drop_out: float, seed: list[int]) -> list[int]:
    """Return which clients fall silent: never so many that the round would be lost, or tell of one client."""
    most = _most_silent(len(chosen))
    drawn = np.random.default_rng([*seed, 2]).random(len(chosen)) < drop_out
    return [client for client, is_silent in zip(chosen, drawn, strict=True) if is_silent][:most]


def _must_stay(clients: int) -> int:
    return max(threshold(clients), LEAST_MEMBERS)


def _most_silent(clients: int) -> int:
    return max(clients - _must_stay(clients), 0)


def _mean(total: np.ndarray, deviation: float, expected: float) -> np.ndarray:
    """Return the mean change of the clients whose sum and weight are in `total`.

    Args:
        deviation: of the noise on the sum; with noise, the sum is divided by how many clients were expected, as how
            many there are would tell something.
    """
    change, weight = total[:-1], float(total[-1])
    if not deviation:
        return (change / max(weight, 1e-30)).astype(np.float32)
    noise = np.random.default_rng(secrets.randbits(128)).normal(0, deviation, len(change))
    return ((change + noise) / expected).astype(np.float32)

"""Synchronous training: as one rank would do it, whatever the number of ranks and however uneven the rows."""

import json
import pathlib

import numpy as np
import pytest
from mpi_runs import run_mpi

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "train_rows.py"
# ranks, batch size, rows
DESCENTS = [(1, 12, 203), (2, 6, 203), (3, 4, 203), (4, 3, 203), (3, 4, 13), (4, 8, 3)]
LINES, ROW_BYTES = 4, 6 * 4 + 8 + 4  # of a window; x, y and weight of a row
SCALES = {"linear": 4.0, "sqrt": 2.0, "none": 1.0}  # on 4 ranks


def run(ranks, trainings, folder, more=()):
    """Run trainings, one after the other in the same processes; return what the root printed of each."""
    given = [{"folder": str(folder / f"{number}"), **options} for number, options in enumerate(trainings)]
    out = run_mpi(ranks, PROGRAM, json.dumps(given), seconds=240, more=more)
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


@pytest.fixture
def train(tmp_path):
    """Train on some ranks, in processes of its own; return what the root printed."""

    def alone(ranks, folder=None, **options):
        more = {"folder": str(folder)} if folder else {}
        return run(ranks, [options | more], tmp_path / f"alone-{len(list(tmp_path.iterdir()))}")[0]

    return alone


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Ranks -> name -> what came of the trainings that need no folder of their own, which are run together."""
    found = {}

    def on(ranks):
        if ranks not in found:
            descent = {"momentum": 0.0, "scaling": "none", "epochs": 2}
            named = {
                (batch, rows): {"batch_size": batch, "rows": rows, **descent}
                for its, batch, rows in DESCENTS
                if its == ranks
            }
            if ranks != 3:
                same = {"batch_size": 64 // ranks, "scaling": "none", "epochs": 4}
                windows = {"memory_bytes": 2 * 2 * LINES * ROW_BYTES * 64 // ranks, "rows": 1000}
                named |= {
                    "same": same,
                    "windows": {**same, **windows},
                    "dealt": {**same, **windows, "training_rows": "dealt"},
                    "parts": {**same, "left_bytes": 10**6},
                }
            if ranks == 2:
                named["known speeds"] = {**same, "speeds": [1, 3], "balance": "always"}
                named["slow rank"] = {**same, "rows": 6000, "slow_rank": 1, "balance": "always"}
                named["even"] = {**same, "rows": 6000}
                named["overlap"] = {**same, "rows": 6000, "overlap": True}
                named["accumulated"] = {**descent, "rows": 13, "batch_size": 2, "accumulate": 4}
            if ranks == 4:
                rate = {"rows": 64, "batch_size": 4, "learning_rate": 0.01, "warmup_epochs": 2, "epochs": 4}
                named |= {scaling: {**rate, "scaling": scaling} for scaling in SCALES} | {"costs": {"epochs": 2}}
            folder = tmp_path_factory.mktemp(f"on-{ranks}")
            found[ranks] = dict(zip(named, run(ranks, [*named.values()], folder), strict=True))
        return found[ranks]

    return on


def lanes_of(epoch, rows, batch):
    """The rows of each lane of a global batch, in the order of an epoch."""
    lanes = [np.arange(lane, rows, batch) for lane in range(batch)]
    return [lane[np.random.default_rng([7, epoch, number]).permutation(len(lane))] for number, lane in enumerate(lanes)]


def plain_gradient_descent(rows, epochs, batch, learning_rate, changes=None):
    """The same training by hand in NumPy: one process, no framework, the documented order of rows.

    `changes`: (epoch, how many of its batches are done) -> the global batch size from there on, as ranks were lost.
    """
    import math

    from train_rows import Rows, network

    model = network(0.0)
    (w1, b1), (w2, b2) = (layer.get_weights() for layer in model.layers)
    reader = Rows(rows, 50)
    x, y = reader.read("train", slice(None))
    losses = []
    for epoch in range(epochs):
        lanes = lanes_of(epoch, rows, batch)
        total, line = 0.0, 0
        while line < math.ceil(rows / batch) or (epoch, line) in (changes or {}):
            if (epoch, line) in (changes or {}):
                learnt = min(line * batch, rows)
                batch = changes.pop((epoch, line))
                lanes, line = lanes_of(epoch, rows, batch), math.ceil(learnt / batch)
                continue
            chosen = np.array([lane[line] for lane in lanes if line < len(lane)])
            hidden = np.maximum(x[chosen] @ w1 + b1, 0)
            logits = hidden @ w2 + b2
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
            total -= np.log(shares[np.arange(len(chosen)), y[chosen]]).sum()
            slope = (shares - np.eye(4)[y[chosen]]) / len(chosen)
            back = (slope @ w2.T) * (hidden > 0)
            for weight, grad in (
                (w2, hidden.T @ slope),
                (b2, slope.sum(0)),
                (w1, x[chosen].T @ back),
                (b1, back.sum(0)),
            ):
                weight -= learning_rate * grad
            line += 1
        losses.append(total / rows)
    return losses, np.concatenate([weight.ravel() for weight in (w1, b1, w2, b2)])


@pytest.mark.parametrize(("ranks", "batch_size", "rows"), DESCENTS)
def test_training_is_gradient_descent_on_the_global_batch(trained, ranks, batch_size, rows):
    found = trained(ranks)[batch_size, rows]
    losses, weights = plain_gradient_descent(rows, 2, ranks * batch_size, 0.1)
    np.testing.assert_allclose(found["curves"]["loss"], losses, rtol=1e-5)  # float32 against float64 sums
    np.testing.assert_allclose(found["flat"], weights, atol=2e-6)
    assert len(set(found["digests"])) == 1


def test_the_same_global_batch_gives_the_same_curve_on_1_2_and_4_ranks(trained):
    for ranks in (2, 4):
        alike(trained(ranks)["same"], trained(1)["same"])


def alike(one, other):
    for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
        np.testing.assert_allclose(one["curves"][name], other["curves"][name], rtol=2e-5, err_msg=name)


def test_rows_in_windows_and_dealt_to_disks_are_the_same_on_1_2_and_4_ranks(trained):
    one = trained(1)["windows"]
    assert one["curves"]["loss"][-1] < one["curves"]["loss"][0] / 2
    for other in (trained(1)["dealt"], *(trained(ranks)[name] for ranks in (2, 4) for name in ("windows", "dealt"))):
        alike(other, one)


def test_batches_in_parts_add_up_and_the_record_says_that_memory_was_short(trained):
    for ranks in (1, 2, 4):
        found = trained(ranks)["parts"]
        alike(found, trained(ranks)["same"])
        events = [event for event in found["events"] if event["what"] == "memory_short"]
        assert {event["rank"] for event in events} == set(range(ranks))
        assert all("a part of one row does not fit" in event["action"] for event in events)


def test_lanes_follow_speeds_that_are_known_or_measured_and_change_no_sum(trained):
    found = trained(2)
    alike(found["known speeds"], found["same"])
    assert found["known speeds"]["events"][0]["lanes"] == [16, 48]
    alike(found["slow rank"], found["even"])
    moves = [event for event in found["slow rank"]["events"] if event["what"] == "rebalanced"]
    assert 1 <= len(moves) <= 10
    assert all(sum(event["lanes"]) == 64 for event in moves)
    assert moves[-1]["lanes"][1] < 16 < moves[-1]["lanes"][0]  # from 32 each


def test_batches_that_are_accumulated_count_by_their_rows(trained):
    _, weights = plain_gradient_descent(13, 2, 13, 0.1)  # four batches of four rows, of which the last has one
    np.testing.assert_allclose(trained(2)["accumulated"]["flat"], weights, atol=3e-6)


def test_gradients_that_are_sent_while_others_are_computed_are_the_same(trained):
    np.testing.assert_allclose(trained(2)["overlap"]["flat"], trained(2)["even"]["flat"], atol=1e-6)


def test_a_run_that_stopped_goes_on_bit_for_bit(train, tmp_path):
    options = {"optimizer": "adam", "dropout": 0.3, "learning_rate": 0.01}
    whole = train(2, epochs=4, **options)
    train(2, tmp_path / "stopped", epochs=2, **options)
    goes_on(whole, train(2, tmp_path / "stopped", epochs=4, **options), 2)


@pytest.mark.parametrize(
    ("ranks", "optimizer", "dropout"), [(1, "adam", 0.0), pytest.param(3, "sgd", 0.3, marks=pytest.mark.slow)]
)
def test_a_training_that_stopped_goes_on_bit_for_bit_on_any_ranks(tmp_path, ranks, optimizer, dropout):
    options = {"optimizer": optimizer, "dropout": dropout, "learning_rate": 0.01}
    two = [{"folder": str(tmp_path / "stopped"), "epochs": epochs, **options} for epochs in (2, 4)]
    whole, _, on = run(ranks, [{"epochs": 4, **options}, *two], tmp_path)
    goes_on(whole, on, ranks)


def goes_on(whole, on, ranks):
    assert on["digests"] == whole["digests"]
    assert on["curves"]["loss"] == whole["curves"]["loss"]
    assert on["steps"] == whole["steps"]
    assert on["events"] == [{"what": "resumed", "epoch": 2, "world_size_before": ranks}]


def test_a_checkpoint_of_other_ranks_is_gone_on_with(train, tmp_path):
    options = {"scaling": "none", "momentum": 0.0}
    stopped = train(2, tmp_path / "stopped", epochs=1, batch_size=6, **options)
    folder = {"folder": str(tmp_path / "stopped"), **options}
    other_lines = {"epochs": 3, "batch_size": 10, **folder}
    on, whole, other = run(
        1, [{"epochs": 2, "batch_size": 12, **made} for made in (folder, options)] + [other_lines], tmp_path
    )
    assert stopped["curves"]["loss"] == on["curves"]["loss"][:1]
    np.testing.assert_allclose(on["curves"]["loss"], whole["curves"]["loss"], rtol=1e-5)
    assert other["curves"]["loss"][2] < other["curves"]["loss"][1]


def test_a_checkpoint_of_more_epochs_than_asked_for_is_not_taken(tmp_path):
    stopped = {"folder": str(tmp_path / "stopped")}
    _, again, alone = run(1, [{"epochs": 3, **stopped}, {"epochs": 2, **stopped}, {"epochs": 2}], tmp_path)
    assert again["digests"] == alone["digests"]


def test_patience_without_validation_rows_is_wrong_input(mpirun, tmp_path):
    out = mpirun(1, PROGRAM, json.dumps([{"patience": 2, "validation": 0, "folder": str(tmp_path / "x")}]))
    assert "train.patience: received 2 without rows for validation" in out


def test_each_rank_leaves_out_other_units(mpirun):
    out = mpirun(
        2,
        """
        import json, keras, pathlib, numpy as np, tensorflow as tf
        from mpi4py import MPI
        from hvdedge import training
        from hvdedge.parallel import MeteredComm, allgather_json
        from train_rows import SETTINGS, Rows
        comm = MeteredComm(MPI.COMM_WORLD)
        dropouts = [keras.layers.Dropout(0.5, seed=1), keras.layers.Dropout(0.5, seed=2)]
        model = keras.Sequential([keras.Input((6,)), *dropouts, keras.layers.Dense(4)])
        training.TrainingTask(model, Rows(20, 5), comm, SETTINGS, seed=7, folder=pathlib.Path("x"), key="k",
                              memory_bytes=10**9, scratch=pathlib.Path("x"),
                              writer=tf.summary.create_noop_writer, tell=None, note=None, lost=None)
        row = np.ones((1, 40))
        masks = [[layer(row, training=True).numpy().tolist() for _ in range(4)] for layer in dropouts]
        everyone = [mask for rank in allgather_json(masks, comm) for layer in rank for mask in layer]
        if comm.rank == 0:
            print(len({json.dumps(mask) for mask in everyone}))
        """,
    )
    assert out.split()[-1] == "16"  # 2 ranks, 2 layers, 4 steps: no mask twice


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(train, tmp_path):
    folder = tmp_path / "stopped"
    train(1, folder, epochs=3)
    newest = sorted(folder.glob("epoch-*.h5"))[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert train(1, folder, epochs=4)["events"][0]["epoch"] == 2


@pytest.mark.parametrize(("scaling", "scale"), SCALES.items())
def test_the_learning_rate_grows_to_its_scale_over_the_warm_up(trained, scaling, scale):
    found = trained(4)[scaling]
    last_steps = [3, 7, 11, 15]  # four steps an epoch, the rate of the last one
    expected = [0.01 * (1 + (scale - 1) * min(1, step / 8)) for step in last_steps]
    np.testing.assert_allclose(found["rates"], expected, rtol=1e-6)


def test_training_ends_when_validation_stops_improving_on_all_ranks_alike(train):
    found = train(2, epochs=200, patience=3, learning_rate=0.5, validation=30)
    curve = found["curves"]["validation_loss"]
    assert len(curve) < 200
    assert int(np.argmin(curve)) == len(curve) - 4
    assert len(set(found["digests"])) == 1


def test_a_loss_that_is_no_number_fails_and_says_what_to_do(mpirun, tmp_path):
    with pytest.raises(AssertionError, match="lower train.learning_rate"):
        mpirun(2, PROGRAM, json.dumps([{"learning_rate": 1e30, "folder": str(tmp_path / "x"), "momentum": 0.0}]))


def test_bytes_are_those_of_the_ring_and_idle_time_is_a_share(trained):
    found = trained(4)["costs"]
    weights = 4 * len(found["flat"])
    assert found["metrics"]["bytes_per_step"] == 2 * 3 * weights // 4
    assert found["sent"] > found["steps"] * found["metrics"]["bytes_per_step"]
    assert 0 < found["metrics"]["idle_share"] < 1


@pytest.fixture(scope="module")
def survived(tmp_path_factory):
    """What came of trainings, one after the other on those that are left, of four ranks of which three are killed."""
    plain = {"rows": 203, "batch_size": 4, "momentum": 0.0, "scaling": "none", "epochs": 3}
    trainings = {
        "twice": {**plain, "dies": {"3": ("batch", 4), "0": ("validate", 1)}},
        "sent_in_less": {**plain, "exchange": "int8", "accumulate": 2, "dies": {"1": ("batch", 20)}},
        "alone": plain,
    }
    found = run(4, [*trainings.values()], tmp_path_factory.mktemp("survived"), ("--with-ft", "ulfm"))
    return dict(zip(trainings, found, strict=True))


def test_ranks_that_are_killed_cost_the_step_under_way_and_no_more(survived):
    # Rank 3 is killed in the fifth of 13 batches of 16: the others go on after 64 of 203 rows, with the seventh of 17
    # batches of 12. Rank 0 is killed after the last of the next epoch.
    found = survived["twice"]
    assert found["sizes"] == [4, 3, 2]
    _, weights = plain_gradient_descent(203, 3, 16, 0.1, {(0, 4): 12, (1, 17): 8})
    np.testing.assert_allclose(found["flat"], weights, atol=3e-6)  # float32 against float64 sums
    assert len(set(found["digests"])) == 1


def test_an_epoch_that_is_ended_twice_stands_once_in_the_curves(survived):
    curves = survived["twice"]["curves"]
    assert {name: len(curve) for name, curve in curves.items()} == dict.fromkeys(curves, 3)
    assert curves["loss"] == sorted(curves["loss"], reverse=True)


def test_training_that_exchanges_less_survives_as_well(survived):
    found = survived["sent_in_less"]
    assert found["sizes"] == [2, 1]
    assert found["curves"]["loss"] == sorted(found["curves"]["loss"], reverse=True)


def test_the_rank_that_is_left_trains_as_if_there_were_no_other(survived):
    losses, weights = plain_gradient_descent(203, 3, 4, 0.1)
    np.testing.assert_allclose(survived["alone"]["curves"]["loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(survived["alone"]["flat"], weights, atol=3e-6)

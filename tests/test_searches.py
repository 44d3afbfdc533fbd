"""The ways to search, held against what their papers say, with trials that are functions and not trainings."""

import pathlib

import pytest

from hvdedge import methods
from hvdedge.search_space import parse
from hvdedge.trials import Trial

PATH = pathlib.Path("p.toml")
RATES = {"train.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "train.batch_size": [16, 32, 64]}
FIRST = {"train.learning_rate": 1e-3, "train.batch_size": 32}


def search(name, given=RATES, first=FIRST, rises=True, seed=7, trials=20, epochs=9, **options):
    return methods.find("searches", name, "").load()(parse(PATH, given), first, rises, seed, trials, epochs, **options)


def run(found, trials, epochs, score):
    """Try one trial after the other; return them."""
    done = []
    for number in range(trials):
        options = found.propose(number)
        if options is None:
            break
        trial = Trial(number, options, "running")
        done.append(trial)
        for epoch in range(1, epochs + 1):
            trial.curve.append((epoch, score(options, epoch)))
            trial.value, trial.epochs = trial.curve[-1][1], epoch
            if not found.goes_on(trial):
                trial.state = "pruned"
                break
        else:
            trial.state = "complete"
        found.end(trial)
    return done


def by_rate(options, epoch):
    return -abs(options["train.learning_rate"] - 0.02) * 100 + epoch / 100


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_the_first_trial_has_the_options_of_the_pipeline_and_none_comes_twice(name):
    done = run(search(name), 20, 3, by_rate)
    assert done[0].options == FIRST
    assert len({repr(trial.options) for trial in done}) == 20
    assert all(1e-4 <= trial.options["train.learning_rate"] <= 1e-1 for trial in done)


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_a_small_space_is_gone_through_once(name):
    given = {"train.batch_size": [16, 32, 64], "train.epochs": {"low": 1, "high": 2}}
    done = run(search(name, given, None), 20, 1, lambda options, epoch: 0.5)
    assert len({repr(trial.options) for trial in done}) == len(done) == 6


def test_tpe_draws_near_what_was_good_and_random_does_not():
    def near(name):
        done = run(search(name, seed=3, early_ending="never"), 40, 1, by_rate)
        return sum(0.01 <= trial.options["train.learning_rate"] <= 0.04 for trial in done[20:])

    assert near("tpe") > 2 * near("random")


def test_early_ending_is_asynchronous_successive_halving():
    """At each rung a trial goes on if it is among the best 1 / factor that came there, or the best of fewer."""
    given = {"train.learning_rate": {"low": 0.0, "high": 1.0}}
    found = search("random", given, None, trials=30, epochs=9, min_epochs=1, reduction_factor=3)
    done = run(found, 30, 9, lambda options, epoch: options["train.learning_rate"] + epoch / 1000)
    assert {trial.epochs for trial in done} <= {1, 3, 9}
    came: dict[int, list[float]] = {1: [], 3: []}
    for trial in done:
        for rung in came:
            if trial.epochs < rung:
                break
            came[rung].append(dict(trial.curve)[rung])
            best = sorted(came[rung], reverse=True)[: max(1, len(came[rung]) // 3)]
            assert (trial.epochs > rung) == (came[rung][-1] in best), (trial, rung)
    assert {trial.epochs for trial in done} == {1, 3, 9}


def test_early_ending_begins_at_a_ninth_of_the_epochs():
    worst = iter(range(100, 0, -1))
    done = run(search("random", trials=4, epochs=27), 4, 27, lambda options, epoch: next(worst))
    assert [trial.epochs for trial in done[1:]] == [3, 3, 3]


def test_never_ends_none():
    done = run(search("random", early_ending="never"), 10, 9, by_rate)
    assert {trial.state for trial in done} == {"complete"}


@pytest.mark.parametrize("name", ["tpe", "random"])
@pytest.mark.parametrize("broken_off", [1, 5, 11])
def test_a_search_that_is_told_again_goes_on_as_if_it_had_not_stopped(name, broken_off):
    whole = run(search(name), 16, 9, by_rate)
    again = search(name)
    again.recall(
        [Trial(**{field: getattr(one, field) for field in one.__struct_fields__}) for one in whole[:broken_off]]
    )
    for trial in whole[broken_off:]:
        assert again.propose(trial.number) == trial.options
        curve, trial.curve = trial.curve, []
        goes_on = []
        for point in curve:
            trial.curve.append(point)
            goes_on.append(again.goes_on(trial))
        assert goes_on[-1] == (trial.state == "complete")
        again.end(trial)


def test_a_weak_member_takes_over_a_strong_one_with_options_changed_a_little():
    found = search("population", resample=0.0, seed=1)
    members = [
        Trial(number, found.propose(number), "waiting", value=number / 10, epochs=4, kept_epochs=4)
        for number in range(10)
    ]
    strong = {8, 9}
    for trial in members[2:]:
        before = dict(trial.options)
        assert found.renew(trial, members) is None
        assert trial.options == before
    for weak in members[:2]:
        source = found.renew(weak, members)
        assert source in strong
        rate = members[source].options["train.learning_rate"]
        changed = weak.options["train.learning_rate"]
        assert changed in (
            pytest.approx(rate * 1.2),
            pytest.approx(rate / 1.2),
            pytest.approx(1e-1),
            pytest.approx(1e-4),
        )
        sizes = [16, 32, 64]
        moved = sizes.index(weak.options["train.batch_size"]) - sizes.index(members[source].options["train.batch_size"])
        assert abs(moved) <= 1
        assert (weak.copies[-1].source, weak.copies[-1].epoch, weak.copies[-1].options) == (source, 4, weak.options)


def test_less_is_better_where_the_measure_falls():
    found = search("population", rises=False)
    members = [
        Trial(number, found.propose(number), "waiting", value=number / 10, epochs=4, kept_epochs=4)
        for number in range(5)
    ]
    assert found.renew(members[0], members) is None
    assert found.renew(members[4], members) == 0


def test_an_option_is_moved_by_a_step_where_a_factor_is_too_little():
    given = {"train.batch_size": {"low": 32, "high": 256, "step": 32}}
    found = search("population", given, {"train.batch_size": 64}, resample=0.0)
    members = [Trial(number, {"train.batch_size": 64}, "waiting", value=number / 10) for number in range(6)]
    found.renew(members[0], members)
    assert members[0].options["train.batch_size"] in (32, 96)


def test_members_train_in_turns():
    found = search("population", interval=4)
    trial = Trial(0, FIRST)
    assert found.until(trial, 10) == 4
    trial.epochs = 8
    assert found.until(trial, 10) == 10


def test_a_member_that_has_ended_leaves_nothing_to_learn():
    found = search("population")
    members = [
        Trial(number, found.propose(number), "waiting", value=number / 10, epochs=4, kept_epochs=4)
        for number in range(5)
    ]
    members[4].state = "complete"
    assert found.renew(members[0], members) is None

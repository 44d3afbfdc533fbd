"""The office of a search over its real messages, on one rank: what it hands out, keeps, and knows after a crash."""

import pathlib

import pytest
from mpi4py import MPI

from hvdedge import methods, records
from hvdedge.errors import InputError
from hvdedge.search_office import Office, ask
from hvdedge.search_space import parse
from hvdedge.trial_folders import LEDGER, Folders

SPACE = parse(pathlib.Path("p.toml"), {"train.learning_rate": {"low": 0.0, "high": 1.0}})


class Desk:
    """One group of one rank that asks an office, which may be closed and opened again as after a crash."""

    def __init__(self, run, name="random", metric="accuracy", trials=3, epochs=9, **options):
        self.run, self.made = run, (name, metric, trials, epochs, options)
        self.told = []
        self.open()

    def open(self):
        name, metric, trials, epochs, options = self.made
        self.folders = Folders(self.run)
        ledger, self.dropped = self.folders.open("key")
        method = methods.find("searches", name, "").load()
        search = method(SPACE, None, metric == "accuracy", 7, trials, epochs, **options)
        search.recall(ledger.trials)
        self.control = MPI.COMM_SELF.Dup()
        self.office = Office(
            *(self.control, search, ledger, self.folders, [[0]]),
            **{"wanted": trials, "epochs": epochs, "metric": metric, "tell": self.told.append},
        )
        self.office.open()

    def work(self):
        return ask(self.control, "work", ranks=[0])

    def epoch(self, number, epoch, value):
        """Train an epoch: leave its checkpoint and tell of it; return whether the trial goes on."""
        folder = self.folders[number] / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        (folder / f"epoch-{epoch}").write_text(f"{number} {epoch}")
        return ask(self.control, "epoch", number=number, epoch=epoch, value=value, seconds=1.0)["goes_on"]

    def end(self, number, epochs, value, ends=True, cause=None):
        (self.folders[number]).mkdir(parents=True, exist_ok=True)
        (self.folders[number] / "model.keras").write_text(f"model of {number}")
        told = {"epochs": epochs, "value": value, "rows": 5, "seconds": 1.0}
        return ask(self.control, "end", number=number, ends=ends, cause=cause, **told)

    def crash(self):
        """Begin anew from what is on the disk, with another office."""
        self.before = self.office  # its thread waits for questions that do not come
        self.open()

    def trial(self, number):
        """Return a trial as it stands on the disk."""
        (found,) = [trial for trial in records_of(self.run) if trial["number"] == number]
        return found


def records_of(run):
    import msgspec

    return msgspec.json.decode((run / "trials" / LEDGER).read_bytes())["trials"]


@pytest.fixture
def desk(tmp_path):
    return lambda **options: Desk(tmp_path, **options)


def test_trials_are_handed_out_until_all_have_ended_and_the_best_keeps_its_files(desk, tmp_path):
    at = desk(early_ending="never")
    for number, value in enumerate([0.5, 0.7, 0.6]):
        assert at.work()["number"] == number
        at.end(number, 9, value)
    assert at.work() == {"done": True}
    at.office.close()
    assert [trial["state"] for trial in records_of(tmp_path)] == ["complete"] * 3
    kept = [(at.folders[number] / "model.keras").exists() for number in range(3)]
    assert kept == [False, True, False]
    assert at.told[-1] == "trial 2 complete, accuracy 0.6, best 0.7 of trial 1"


def test_a_trial_that_was_under_way_goes_on_with_its_number_and_options(desk, tmp_path):
    at = desk()
    first = at.work()
    at.epoch(0, 1, 0.5)
    at.crash()
    assert at.work() == first
    assert at.trial(0)["curve"] == [[1, 0.5]]
    at.epoch(0, 1, 0.4)  # told again after the crash: what it was told first counts
    assert at.trial(0)["curve"] == [[1, 0.5]]


def test_no_crash_however_many_fails_a_trial_that_lost_no_ranks(desk):
    at = desk(metric="step_seconds")
    for _ in range(5):
        assert at.work()["number"] == 0
        at.crash()
    assert at.trial(0)["state"] == "running"


def test_a_verdict_of_early_ending_holds_after_a_crash(desk):
    at = desk(trials=4, min_epochs=1)
    for number, value in enumerate([0.9, 0.1]):
        assert at.work()["number"] == number
        goes_on = at.epoch(number, 1, value)
        if number == 0:
            at.end(0, 9, value)
    assert not goes_on
    at.crash()
    assert at.work()["number"] == 1
    assert not at.epoch(1, 1, 0.1)
    assert not at.epoch(1, 2, 0.95)
    at.end(1, 2, 0.95)
    assert at.trial(1)["state"] == "pruned"


def test_what_trained_to_its_last_epoch_is_complete(desk):
    at = desk(trials=4, epochs=1, min_epochs=1)
    for number, value in enumerate([0.9, 0.1, 0.2, 0.05]):
        at.work()
        assert at.epoch(number, 1, value)
        at.end(number, 1, value)
    assert {trial["state"] for trial in records_of(at.run)} == {"complete"}


def test_files_go_once_the_ledger_says_why(desk, monkeypatch):
    at = desk(early_ending="never")
    at.work()
    at.end(0, 9, 0.5)
    at.work()

    def fail(ledger):
        raise records.cannot_write(pathlib.Path("ledger.json"), OSError(28, "No space left on device"))

    monkeypatch.setattr(at.folders, "write", fail)
    answer = at.end(1, 9, 0.7)
    assert "No space left" in answer["error"]
    assert answer["is_input"]
    assert (at.folders[0] / "model.keras").exists()
    at.crash()
    assert at.trial(0)["state"] == "complete"
    assert (at.folders[0] / "model.keras").exists()
    assert at.work()["number"] == 1


def test_a_copy_has_the_state_and_the_epoch_of_the_end_of_a_turn(desk):
    at = desk(name="population", trials=2, epochs=8, interval=2)
    for number, value in enumerate([0.2, 0.9]):
        assert at.work()["number"] == number
        for epoch in (1, 2):
            at.epoch(number, epoch, value)
        at.end(number, 2, value, ends=False)
    turn = at.work()
    assert (turn["number"], turn["until"], turn["ends"]) == (0, 4, False)
    (copy,) = at.trial(0)["copies"]
    assert (copy["from"], copy["epoch"]) == (1, 2)
    assert [path.read_text() for path in (at.folders[0] / "checkpoints").iterdir()] == ["1 2"]
    assert at.trial(0)["curve"] == [[1, 0.2], [2, 0.2]]
    at.epoch(0, 3, 0.95)
    at.crash()
    turn = at.work()
    assert (turn["number"], turn["until"]) == (1, 4)  # the one that is less far


def test_trials_of_another_search_are_kept_aside_and_come_back(tmp_path):
    folders = Folders(tmp_path)
    at = Desk(tmp_path)
    at.work()
    at.end(0, 9, 0.5)
    assert folders.open("key")[1] == ""
    ledger, told = folders.open("another")
    assert (ledger.trials, "begins anew" in told) == ([], True)
    assert (tmp_path / "trials.before" / "0" / "model.keras").exists()
    folders.write(ledger)
    back, told = folders.open("key")
    assert ("goes on with trials of an earlier search" in told, len(back.trials)) == (True, 1)
    assert (at.folders[0] / "model.keras").exists()
    assert folders.open("key")[0].trials == back.trials
    folders.open("third")
    assert not (tmp_path / "trials").exists()


def test_a_search_in_which_no_trial_was_complete_begins_anew(tmp_path):
    at = Desk(tmp_path, trials=1)
    at.work()
    at.end(0, 0, None, cause="it failed")
    assert "none of the trials was complete" in Folders(tmp_path).open("key")[1]


@pytest.mark.parametrize("text", ["{", "[]", '{"key": "key", "trials": [{"number": 3, "options": {}}]}', '{"key": 3}'])
def test_a_damaged_ledger_is_one_line(tmp_path, text):
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / LEDGER).write_text(text)
    with pytest.raises(InputError, match="--from train"):
        Folders(tmp_path).open("key")

"""The office of a search: a thread of rank 0 that hands out trials, hears how they go, and keeps the ledger.

    rank 1   work? .............. 12.5 at epoch 1 .... 12.1 at epoch 2 .... end .. work? ...
    office        trial 3, 8 epochs               go on               stop            trial 5, ...
    rank 0   (trains trials itself, in its main thread, and asks like the others)

A group of ranks asks when it is free, so faster ones have more trials. When all ranks of a group are lost its trial
waits for another group; what each trial did stands in the ledger before its group is answered, so that a run that is
broken off goes on with the trials that it had, from their checkpoints.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from mpi4py import MPI

from hvdedge import qualities
from hvdedge.errors import InputError, one_line
from hvdedge.search_space import Options
from hvdedge.trial_folders import Folders
from hvdedge.trials import Ledger, Trial

ASK, ANSWER = 1, 2  # tags
POLL_SECONDS = 0.003
WAIT_SECONDS = 0.3  # between two questions for work where there is none now
MOST_ATTEMPTS = 3
NO_OFFICE = "rank 0, which leads the search, was lost; the same command goes on with the trials that are left"


class Search(Protocol):
    """What each way to search has.

    Attributes:
        changes_while_training: whether trials are trained in turns, with other options in each.
    """

    changes_while_training: bool

    def recall(self, trials: Sequence[Trial]) -> None:
        """Take in the trials of a run that was broken off."""

    def propose(self, number: int) -> Options | None:
        """Return the options of a new trial; None where there are no more."""

    def until(self, trial: Trial, epochs: int) -> int:
        """Return up to which epoch a trial is trained now, of `epochs` in all."""

    def renew(self, trial: Trial, others: Sequence[Trial]) -> int | None:
        """Change a trial's options before its next turn, if need be, and return whose weights it is to take over."""

    def goes_on(self, trial: Trial) -> bool:
        """Tell whether a trial goes on after the newest value of its curve."""

    def end(self, trial: Trial) -> None:
        """Take in that a trial ended."""


class Office:
    """Hands out trials until all have ended.

    Args:
        control: a communicator of its own, of all ranks.
        groups: the ranks of each group that works on one trial at a time.
        wanted: how many trials there shall be.
        epochs: of a trial whose options do not say so.
        metric: the measure.
        tell: shows the user a line.
    """

    def __init__(
        self,
        control: MPI.Intracomm,
        search: Search,
        ledger: Ledger,
        folders: Folders,
        groups: Sequence[Sequence[int]],
        *,
        wanted: int,
        epochs: int,
        metric: str,
        tell: Callable[[str], None],
    ):
        self._control, self._search, self.ledger, self._folders = control, search, ledger, folders
        self._wanted, self._epochs, self._metric, self._tell = wanted, epochs, metric, tell
        self._rises = qualities.rises(metric)
        self._left = {number: set(ranks) for number, ranks in enumerate(groups)}  # of each group, until it is done
        self._working: dict[int, Trial] = {}  # by group
        self._outdated: list[int] = []  # trials whose files are needed until the ledger says how they ended
        self._spent = dict.fromkeys(self._left, 0.0)  # seconds of the group's trial before this turn
        self._began, self._before = time.monotonic(), ledger.seconds
        self._thread = threading.Thread(target=self._serve, name="office", daemon=True)

    def open(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Wait until all groups that are left know that the search is done."""
        self._thread.join()

    @property
    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def _serve(self) -> None:
        while self._left:
            heard = False
            for group, ranks in [*self._left.items()]:
                for rank in [*ranks]:
                    try:
                        heard |= self._hear(group, rank)
                    except MPI.Exception:  # it is lost
                        ranks.discard(rank)
                if group in self._left and not ranks:
                    self._lose(group)
            if not heard:
                time.sleep(POLL_SECONDS)

    def _hear(self, group: int, rank: int) -> bool:
        """Answer a rank if it asks something; tell whether it did."""
        asked = receive(self._control, rank, ASK)
        if asked is None:
            return False
        try:
            answer = getattr(self, f"_answer_{asked.pop('ask')}")(group, **asked)
            if "wait" not in answer:
                self._keep()
        except Exception as error:  # a full disk; all are told, and end
            answer = {"error": one_line(error), "is_input": isinstance(error, InputError)}
        with contextlib.suppress(MPI.Exception):  # it may be lost by now
            send(self._control, rank, ANSWER, answer)
        if answer.get("done"):
            del self._left[group]
        return True

    def _keep(self) -> None:
        """Write the ledger; then remove what nothing in it needs any more."""
        self.ledger.seconds = self._seconds
        self._folders.write(self.ledger)
        while self._outdated:
            self._folders.forget(self._outdated.pop())

    def _lose(self, group: int) -> None:
        """Let another group go on with what this one worked on."""
        del self._left[group]
        trial = self._working.pop(group, None)
        if trial is not None:
            trial.state, trial.attempts = "waiting", trial.attempts + 1
            self._tell(f"the ranks of trial {trial.number}, {trial.ranks}, were lost; it waits for others")

    def _answer_work(self, group: int, ranks: list[int]) -> dict[str, Any]:
        trial = self._working.pop(group, None)
        if trial is not None:  # the one who worked on it was lost, and others of the group are left
            trial.attempts += 1
        while True:
            trial = trial or self._next()
            if trial is None:
                return {"wait": WAIT_SECONDS} if self._working else {"done": True}
            if trial.attempts < MOST_ATTEMPTS:
                break
            self._end(trial, "failed", f"its ranks were lost {MOST_ATTEMPTS} times before it came further")
            trial = None
        if trial.kept_epochs == trial.epochs > 0:  # at the end of a turn
            source = self._search.renew(trial, self.ledger.trials)
            if source is not None:
                self._folders.take_over(trial.number, source)
                trial.epochs = trial.copies[-1].epoch
                trial.curve = [point for point in trial.curve if point[0] <= trial.epochs]
        trial.state, trial.ranks = "running", ranks
        trial.began_seconds = self._seconds if trial.began_seconds is None else trial.began_seconds
        self._working[group], self._spent[group] = trial, trial.seconds
        epochs = trial.options.get("train.epochs", self._epochs)
        until = self._search.until(trial, epochs)
        return {"number": trial.number, "options": trial.options, "until": until, "ends": until == epochs}

    def _next(self) -> Trial | None:
        """Return a trial that waits, or a new one; members of a population first of all begin."""
        waiting = [trial for trial in self.ledger.trials if trial.state == "waiting"]
        number = len(self.ledger.trials)
        if number < self._wanted and (not waiting or self._search.changes_while_training):
            options = self._search.propose(number)
            if options is not None:
                self.ledger.trials.append(Trial(number, options))
                return self.ledger.trials[-1]
            self._wanted = number
        return min(waiting, key=lambda trial: (trial.epochs, trial.number), default=None)

    def _answer_epoch(self, group: int, number: int, epoch: int, value: float | None, seconds: float) -> dict[str, Any]:
        trial = self.ledger.trials[number]
        trial.seconds, trial.epochs, trial.attempts = self._spent[group] + seconds, epoch, 0
        if value is not None and all(at < epoch for at, _ in trial.curve):  # else told before the run was broken off
            trial.curve.append((epoch, value))
            if not self._search.goes_on(trial):
                trial.stops = epoch
        return {"goes_on": trial.stops is None}

    def _answer_end(
        self, group: int, number: int, ends: bool, cause: str | None, seconds: float, **told: Any
    ) -> dict[str, Any]:
        trial = self._working.pop(group)
        assert trial.number == number
        trial.seconds, trial.attempts = self._spent[group] + seconds, 0
        if cause is None:
            trial.epochs, trial.value, trial.rows = told["epochs"], told["value"], told["rows"]
        if cause is not None:
            trial.value = None
            self._end(trial, "failed", cause)
        elif ends:
            self._end(trial, "complete" if trial.stops is None else "pruned")
        else:
            trial.state, trial.kept_epochs = "waiting", trial.epochs
            self._folders.keep_turn(number)
        return {}

    def _end(self, trial: Trial, state: Any, cause: str | None = None) -> None:
        best = self.ledger.best(self._rises)
        trial.state, trial.cause = state, cause
        self._search.end(trial)
        now = self.ledger.best(self._rises)
        words = [f"trial {trial.number} {state}"]
        words += [f"{self._metric} {trial.value:.5g}"] if trial.value is not None else [cause] if cause else []
        words += [f"best {now.value:.5g} of trial {now.number}"] if now is not None else []
        self._tell(", ".join(words))
        self._outdated += [one.number for one in (best, trial) if one is not None and one is not now]


def ask(control: MPI.Intracomm, question: str, **values: Any) -> dict[str, Any]:
    """Return what the office answers: of an error, which ends the search, `error` and whether it `is_input`."""
    try:
        send(control, 0, ASK, {"ask": question, **values})
        while (answer := receive(control, 0, ANSWER)) is None:
            time.sleep(POLL_SECONDS)
        return answer
    except MPI.Exception:
        return {"error": NO_OFFICE, "is_input": False}


def send(comm: MPI.Intracomm, rank: int, tag: int, value: Any) -> None:
    """Send what JSON can hold."""
    comm.Send(np.frombuffer(json.dumps(value).encode(), np.uint8), rank, tag)


def receive(comm: MPI.Intracomm, rank: int, tag: int) -> Any:
    """Return what a rank sent with `send`; None where it has sent nothing.

    Raises:
        MPI.Exception: where it is lost.
    """
    status = MPI.Status()
    if not comm.Iprobe(rank, tag, status):
        return None
    text = np.empty(status.Get_count(MPI.BYTE), np.uint8)
    comm.Recv(text, rank, tag)
    return json.loads(text.tobytes())

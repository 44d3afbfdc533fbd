"""The folders of a search below a run: `trials/ledger.json`, and `trials/<number>/`, a run in itself.

Files are never changed in place, so that a hard link to one keeps it as it is and takes no room.
"""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterable

from hvdedge import records
from hvdedge.errors import InputError
from hvdedge.records import STAGES, RunRecord
from hvdedge.trials import Ledger, read

LEDGER = "ledger.json"
KEPT = {f"{stage}.{suffix}" for stage in STAGES for suffix in ("json", "log")}
CHECKPOINTS, TURN = "checkpoints", "turn"


class Folders:
    """Where the trials of a run are, as the root sees them."""

    def __init__(self, run: pathlib.Path):
        self._run = run
        self._trials = run / "trials"

    def __getitem__(self, number: int) -> pathlib.Path:
        return self._trials / str(number)

    def open(self, key: str) -> tuple[Ledger, str]:
        """Return the ledger, and what is to be told of it.

        It is a new one where the one that there is has another key, or all its trials have ended and none is complete.
        The trials of another key are kept aside until a third search, and come back with their key.
        """
        ledger = read(self._trials / LEDGER)
        aside = self._trials.with_name("trials.before")
        if ledger is None or ledger.key == key:
            if ledger and any(trial.state == "complete" or not trial.has_ended for trial in ledger.trials):
                return ledger, ""
            shutil.rmtree(self._trials, ignore_errors=True)
            none = "begins anew, as none of the trials was complete" if ledger and ledger.trials else ""
            return Ledger(key), none
        told = f"begins anew: options or rows are others than those of the trials so far, which are in {aside.name}"
        before = read(aside / LEDGER)
        returning = aside.rename(aside.with_name(".trials")) if before and before.key == key else None
        shutil.rmtree(aside, ignore_errors=True)
        self._trials.rename(aside)
        if before and returning:
            returning.rename(self._trials)
            return before, f"goes on with trials of an earlier search; the last one's are in {aside.name}"
        return Ledger(key), told

    def begin_anew(self) -> None:
        """Let a search that opens the ledger find none."""
        (self._trials / LEDGER).unlink(missing_ok=True)

    def write(self, ledger: Ledger) -> None:
        """Write the ledger, whole or not at all."""
        ledger.write(self._trials / LEDGER)

    def prepare(self, number: int, stages: Iterable[str]) -> None:
        """Make a trial's folder, in which stands what these stages of the run made."""
        for stage in stages:
            for name in (*records.read(self._run / f"{stage}.json").outputs, f"{stage}.json"):
                _link(self._run / name, self[number] / name)

    def keep_turn(self, number: int) -> None:
        """Keep the checkpoints as they are at the end of a trial's turn, for others to take over."""
        _link_all(self[number] / CHECKPOINTS, self[number] / TURN)

    def take_over(self, number: int, source: int) -> None:
        """Let a trial go on from what another had at the end of its last turn."""
        kept = self[source] / TURN
        _link_all(kept if kept.exists() else self[source] / CHECKPOINTS, self[number] / CHECKPOINTS)

    def forget(self, number: int) -> None:
        """Remove what a trial made, but for its records and logs."""
        for path in sorted(self[number].rglob("*"), reverse=True):  # a folder comes after what is in it
            with contextlib.suppress(OSError):  # another may look at it
                if path.is_dir():
                    path.rmdir()
                elif path.parent != self[number] or path.name not in KEPT:
                    path.unlink()

    def promote(self, number: int, stages: Iterable[str]) -> dict[str, RunRecord]:
        """Let what a trial's stages made stand in the run as well; return their records."""
        found = {}
        for stage in stages:
            found[stage] = record = records.read(self[number] / f"{stage}.json")
            before = self._run / f"{stage}.json"
            with contextlib.suppress(InputError):
                for name in records.read(before).outputs.keys() - record.outputs.keys():
                    (self._run / name).unlink(missing_ok=True)
            for name in record.outputs:
                _link(self[number] / name, self._run / name)
            if stage != "train":  # whose record the search itself writes
                record.run = self._run.name
                record.write(self._run)
        return found


def _link_all(folder: pathlib.Path, to: pathlib.Path) -> None:
    """Let what is in a folder stand in another, too, in place of all that is there."""
    new = to.with_name(f".{to.name}")
    shutil.rmtree(new, ignore_errors=True)
    for path in folder.iterdir():
        _link(path, new / path.name)
    shutil.rmtree(to, ignore_errors=True)
    new.rename(to)


def _link(path: pathlib.Path, to: pathlib.Path) -> None:
    """Let a file stand at another place, too, in place of what is there."""
    if to.exists() and to.samefile(path):
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = to.with_name(f".{os.getpid()}.{to.name}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without links
        shutil.copyfile(path, temporary)
    os.replace(temporary, to)

"""The trials of a search: what each tried, how it stands, and the ledger that survives a run that is broken off."""

import contextlib
import pathlib
from typing import Any, Literal

import msgspec

from hvdedge import records
from hvdedge.search_space import Options

State = Literal["waiting", "running", "complete", "pruned", "failed"]
ENDED = ("complete", "pruned", "failed")


class Copy(msgspec.Struct):
    """That a trial took over, after an epoch, the weights of another and went on with other options."""

    epoch: int
    source: int = msgspec.field(name="from")
    options: Options


class Trial(msgspec.Struct):
    """One trial.

    Attributes:
        options: dotted key -> value, those that it ends with.
        value: of the measure that the search goes by, once it is known.
        seconds: that its ranks worked on it, in all its turns.
        began_seconds: since the search began, without what lay between runs that were broken off.
        epochs: that it has trained.
        attempts: how often ranks took it up since it last came further.
        ranks: those that worked on it last.
        curve: the measure, or what early ending goes by, at the ends of epochs: (epoch, value).
        cause: why it failed.
        copies: of population-based training.
    """

    number: int
    options: Options
    state: State = "waiting"
    value: float | None = None
    seconds: float = 0.0
    began_seconds: float | None = None
    epochs: int = 0
    attempts: int = 0
    ranks: list[int] = []
    curve: list[tuple[int, float]] = []
    cause: str | None = None
    copies: list[Copy] = []

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


class Ledger(msgspec.Struct):
    """All trials of a search, by number, and the seconds that it took so far.

    Attributes:
        key: what the trials have in common; under another one they say nothing.
    """

    key: str
    seconds: float = 0.0
    trials: list[Trial] = []

    def write(self, path: pathlib.Path) -> None:
        """Write the ledger, whole or not at all."""
        records.replace(path, records.to_json(self))

    def best(self, rises: bool) -> Trial | None:
        """Return the complete trial with the best value, of equal ones the first; None where there is none."""
        known = [trial for trial in self.trials if trial.state == "complete" and trial.value is not None]
        sign = -1 if rises else 1
        return min(known, key=lambda trial: (sign * (trial.value or 0.0), trial.number), default=None)

    def told(self) -> list[dict[str, Any]]:
        """Return the trials as a record has them."""
        return msgspec.to_builtins(self.trials)


def read(path: pathlib.Path, key: str) -> Ledger:
    """Return the ledger in `path`, or a new one where there is none of this key; what ran then waits now."""
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        ledger = msgspec.json.decode(path.read_bytes(), type=Ledger)
        if ledger.key == key:
            for trial in ledger.trials:
                trial.state = "waiting" if trial.state == "running" else trial.state
            return ledger
    return Ledger(key)

"""The trials of a search: what each tried, how it stands, and the ledger that survives a run that is broken off."""

import pathlib
from typing import Any, Literal

import msgspec

from hvdedge import records
from hvdedge.errors import InputError
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
        kept_epochs: up to which epoch what its last turn left is kept for others.
        stops: the epoch after which it was told to end early.
        attempts: how often it lost all its ranks, or some, since it last came further.
        rows: for validation, that judged it.
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
    kept_epochs: int = 0
    stops: int | None = None
    attempts: int = 0
    rows: int | None = None
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


def read(path: pathlib.Path) -> Ledger | None:
    """Return the ledger in `path`, in which what ran then waits now; None where there is none.

    Raises:
        InputError: where it cannot be read, or is no ledger.
    """
    try:
        ledger = msgspec.json.decode(path.read_bytes(), type=Ledger)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: received a ledger that cannot be read ({error}); search anew with --from train"
        ) from None
    if [trial.number for trial in ledger.trials] != [*range(len(ledger.trials))]:
        raise InputError(f"{path}: received trials that are not numbered from 0 on; search anew with --from train")
    for trial in ledger.trials:
        trial.state = "waiting" if trial.state == "running" else trial.state
    return ledger

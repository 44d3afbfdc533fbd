"""What a method may use besides its rows: the run's folder, scratch space, a memory limit, and the stage's journal."""

import fcntl
import functools
import pathlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hvdedge.spool import Spool

if TYPE_CHECKING:
    from hvdedge.known_columns import KnownColumns

PREFIX, LOCK = "hvdedge-", ".held"
CHANGES = pa.schema(
    [
        ("_file", pa.string()),
        ("_line", pa.int64()),
        ("column", pa.string()),
        ("before", pa.string()),
        ("after", pa.string()),
        ("rule", pa.string()),
    ]
)
QUARANTINE = pa.schema(
    [
        ("_file", pa.string()),
        ("_line", pa.int64()),
        ("column", pa.string()),
        ("text", pa.string()),
        ("rule", pa.string()),
    ]
)


class Scratch:
    """A new folder on this host's disk that goes with its process.

    A rank that is killed cannot take its folder away, so each holds a lock in its own, and the next one on the host
    removes all folders that nobody holds any more.
    """

    def __init__(self) -> None:
        for left in pathlib.Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            _remove_if_left(left)
        made = pathlib.Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
        self._lock = open(made / LOCK, "w")  # noqa: SIM115 - held as long as the process lives
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = made.rename(made.with_name(made.name[1:]))  # seen by others only once it is held

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


@dataclass
class Workspace:
    """A rank's surroundings in one stage.

    Args:
        run: the run's folder, where a reader may write the raw files that it makes.
        scratch: a folder of this rank's own that goes when the stage ends.
        memory_bytes: what the rank may hold; a table spills to scratch beyond a share of it.
        learned: the columns, or patterns, that are learnt or split by, and the option that names each: an invented cell
            there is a wrong example.
        known: the columns of a run, where new rows are read for its model, as they were there.
    Attributes:
        metrics: what the stage's record shall say, set alike on every rank.
        events: what happened on the way, such as a method that adapted; for the record, too, and alike on every rank.
        shared: what several methods of a stage need and one has made, by name.
        kept: small files of JSON that the stage shall leave in the run's folder for rows to come, name -> value, alike
            on every rank.
        changes: this rank's batches of CHANGES, one row for each cell that a method changed; `after` is null where
            the cell was emptied, `column` is null where the whole row went (rule says why).
        quarantine: this rank's batches of QUARANTINE, one row for each row that could not be read, and for each cell
            that does not fit its column's type; `column` is null for a whole row.
    """

    run: pathlib.Path
    scratch: pathlib.Path
    memory_bytes: int
    learned: Mapping[str, str] = field(default_factory=dict)
    known: "KnownColumns | None" = None
    metrics: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    shared: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.changes = Spool(CHANGES, self.scratch, self.table_bytes)
        self.quarantine = Spool(QUARANTINE, self.scratch, self.table_bytes)

    @property
    def table_bytes(self) -> int:
        """What one table may hold in memory: an eighth, because a method reads one, writes one and keeps buffers."""
        return self.memory_bytes // 8

    def log_changes(self, **columns: Iterable) -> None:
        """Add rows to `changes`; one keyword a column of CHANGES, all of one length."""
        self.changes.append(pa.record_batch(columns, CHANGES))

    def log_rows(self, batch: pa.RecordBatch, rows: np.ndarray, rule: str) -> None:
        """Add to `changes` that the rows of `batch` at the places `rows` went, by a rule."""
        origin, nothing = batch.select(["_file", "_line"]).take(pa.array(rows)), pa.nulls(len(rows), pa.string())
        self.log_changes(
            _file=origin["_file"],
            _line=origin["_line"],
            column=nothing,
            before=nothing,
            after=nothing,
            rule=[rule] * len(rows),
        )

    def set_aside(self, **columns: Iterable) -> None:
        """Add rows to `quarantine`; one keyword a column of QUARANTINE, all of one length; `column` may be left out."""
        whole = {} if "column" in columns else {"column": [None] * len(list(columns["rule"]))}
        self.quarantine.append(pa.record_batch({**columns, **whole}, QUARANTINE))


@dataclass(frozen=True)
class Source:
    """What a reader reads: files, in a fixed order, named in the table's `_file` by `name(path)`; none for a reader
    that makes its own."""

    paths: tuple[pathlib.Path, ...]
    workspace: Workspace

    def name(self, path: pathlib.Path) -> str:
        """Return the shortest name that tells `path` from the other files: its own, or one below their folder."""
        return path.name if self._counts[path.name] <= 1 else str(path)

    @functools.cached_property
    def _counts(self) -> Counter[str]:
        """How many of the files have a name; counted once, as a folder may hold tens of thousands."""
        return Counter(path.name for path in self.paths)


def _remove_if_left(folder: pathlib.Path) -> None:
    try:
        with open(folder / LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        pass  # held by a living rank, or another user's

"""The RunRecord: what a stage did and what it cost, as JSON beside its outputs. SI units; what is unknown is null."""

import contextlib
import hashlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from hvdedge.errors import FULL, InputError

STAGES = ("prepare", "clean", "profile", "extract", "train", "compress", "evaluate", "report")
TABLE_STAGES = STAGES[:3]  # that move tables and do not train


class RankRecord(msgspec.Struct):
    """What one rank cost."""

    rank: int
    host: str
    wall_seconds: float
    cpu_seconds: float
    idle_seconds: float
    peak_rss_bytes: int
    bytes_sent: int
    bytes_received: int
    energy_joules: float | None
    energy_source: Literal["rapl", "model", "meter"] | None


class Output(msgspec.Struct):
    """One file that a stage wrote, named relative to the run's folder."""

    bytes: int
    sha256: str


class RunRecord(msgspec.Struct):
    """What a stage did.

    `inputs` are the files that it read, with their SHA-256; `error` is null unless `status` is failed: {rank, host,
    cause}.
    """

    stage: str
    case: str
    run: str
    status: Literal["running", "done", "failed", "interrupted"]
    cluster: str
    started: str
    wall_seconds: float | None
    world_size: int
    ranks: list[RankRecord] = []
    metrics: dict[str, Any] = {}
    history: dict[str, list] = {}
    events: list[dict[str, Any]] = []
    options: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    outputs: dict[str, Output] = {}
    versions: dict[str, str] = {}
    error: dict[str, Any] | None = None

    def write(self, folder: pathlib.Path) -> None:
        """Write `<stage>.json` into `folder`, whole or not at all."""
        replace(folder / f"{self.stage}.json", to_json(self))


def to_json(value: Any) -> bytes:
    """Return `value`, which may hold structs and NumPy's numbers, as JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=lambda number: number.item()), indent=1) + b"\n"


def read(path: pathlib.Path) -> RunRecord:
    """Return the record in `path`.

    Raises:
        InputError: where it cannot be read or is no record.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except OSError as error:
        raise InputError(f"{path}: received no record ({error.strerror}); run the stage first") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: received a record that cannot be read ({error}); run the stage again") from None


def read_run(folder: pathlib.Path) -> dict[str, RunRecord]:
    """Return stage -> record, in the order of the stages, of all that `folder` holds."""
    paths = {stage: folder / f"{stage}.json" for stage in STAGES}
    return {stage: read(path) for stage, path in paths.items() if path.exists()}


def current(found: dict[str, RunRecord]) -> dict[str, RunRecord]:
    """Return the records of stages that read what those before them made last, not something of an earlier time."""
    made: dict[str, str] = {}
    kept = {}
    for stage, record in found.items():
        if all(made.get(name, digest) == digest for name, digest in record.inputs.items()):
            kept[stage] = record
            made |= {name: output.sha256 for name, output in record.outputs.items()}
    return kept


def sha256(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace(path: pathlib.Path, content: bytes) -> None:
    """Write a file so that it is never half written; errors as `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: pathlib.Path, another: str = "--results") -> Iterator[pathlib.Path]:
    """Yield a temporary path; what the body writes there is synced and renamed to `path`, in a folder made for it.

    Args:
        another: what else the user could give, where there is no room.
    Raises:
        InputError: where the disk is full or may not be written.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # libraries look at how a name ends
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if isinstance(error, OSError) or FULL in str(error):  # HDF5 raises a RuntimeError
            raise cannot_write(path, error, another) from None
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def cannot_write(path: pathlib.Path, error: Exception, another: str = "--results") -> InputError:
    """Return the error that tells why `path` could not be written."""
    reason = FULL if FULL in str(error) else getattr(error, "strerror", None) or " ".join(str(error).split())
    return InputError(
        f"{path}: cannot be written ({reason}), needs room and permission; make room or give another {another}"
    )

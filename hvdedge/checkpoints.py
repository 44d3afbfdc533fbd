"""Checkpoints: arrays and a little JSON in HDF5, of which the newest that is whole is found again.

`latest.json` names the newest files with their SHA-256, newest first; a file that does not match is passed over, as
HDF5 loads most damaged files without a word.
"""

import io
import json
import pathlib
from dataclasses import dataclass
from typing import Any

import h5py
import msgspec
import numpy as np

from hvdedge import records
from hvdedge.parallel import MeteredComm, agree, bcast_json

KEPT = 2


@dataclass
class Checkpoint:
    """What is kept: arrays by name, and what JSON can hold."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


def save(folder: pathlib.Path, epoch: int, checkpoint: Checkpoint, comm: MeteredComm) -> None:
    """Collective. Let the root write `checkpoint` and forget all but the newest KEPT ones."""
    with agree(comm):
        if comm.rank == 0:
            _save(folder, epoch, checkpoint)


def load(folder: pathlib.Path, comm: MeteredComm) -> Checkpoint | None:
    """Collective. Return the newest whole checkpoint that the root finds, on every rank; None where there is none."""
    found = None
    with agree(comm):
        if comm.rank == 0:
            found = _load(folder)
    return spread(found, comm)


def spread(mine: Checkpoint | None, comm: MeteredComm, root: int = 0) -> Checkpoint | None:
    """Collective. Return on every rank what the root has; what others have is not looked at."""
    found = mine if comm.rank == root else None
    head = None if found is None else [[name, str(array.dtype), array.shape] for name, array in found.arrays.items()]
    facts, head = bcast_json([found and found.facts, head], comm, root)
    if head is None:
        return None
    arrays = {}
    for name, dtype, shape in head:
        arrays[name] = found.arrays[name].copy(order="C") if found else np.empty(shape, dtype)
        comm.Bcast(arrays[name].reshape(-1).view(np.uint8), root)
    return Checkpoint(arrays, facts)


def clear(folder: pathlib.Path, comm: MeteredComm) -> None:
    """Collective. Remove all checkpoints."""
    with agree(comm):
        if comm.rank == 0:
            for path in (folder / "latest.json", *folder.glob("epoch-*.h5")):
                path.unlink(missing_ok=True)


def _save(folder: pathlib.Path, epoch: int, checkpoint: Checkpoint) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["facts"] = json.dumps(checkpoint.facts)
        for name, array in checkpoint.arrays.items():
            file[name] = array
    path = folder / f"epoch-{epoch:05d}.h5"
    records.replace(path, content.getvalue())
    kept = [[path.name, records.sha256(path)], *(entry for entry in _listed(folder) if entry[0] != path.name)][:KEPT]
    records.replace(folder / "latest.json", msgspec.json.encode(kept))
    for old in set(folder.glob("epoch-*.h5")) - {folder / name for name, _ in kept}:
        old.unlink()


def _load(folder: pathlib.Path) -> Checkpoint | None:
    for name, digest in _listed(folder):
        path = folder / name
        if path.is_file() and records.sha256(path) == digest:
            with h5py.File(path, "r") as file:
                names: list[str] = []
                file.visit(names.append)
                arrays = {key: np.asarray(file[key]) for key in names if isinstance(file[key], h5py.Dataset)}
                return Checkpoint(arrays, json.loads(file.attrs["facts"]))
    return None


def _listed(folder: pathlib.Path) -> list[list[str]]:
    path = folder / "latest.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[list[str]]) if path.exists() else []
    except msgspec.DecodeError:
        return []

"""Checkpoints: arrays and a little JSON in HDF5, of which the newest that is whole is found again.

Arrays are passed on one by one, so that no rank needs to hold all of them. `latest.json` names the newest files with
their SHA-256, newest first; a file that does not match is passed over, as HDF5 loads most damaged files without a word.
"""

import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import h5py
import msgspec
import numpy as np

from hvdedge import records
from hvdedge.parallel import MeteredComm, agree, bcast_json

KEPT = 2

Named = Iterable[tuple[str, np.ndarray]]  # arrays by name, one after the other


def save(folder: pathlib.Path, epoch: int, arrays: Named, facts: dict[str, Any], comm: MeteredComm) -> None:
    """Collective. Let the root write a checkpoint and forget all but the newest KEPT ones.

    Args:
        arrays: passed through on every rank, as getting one may take messages; the root's are written.
        facts: what JSON can hold, of the root.
    """
    path = folder / f"epoch-{epoch:05d}.h5"
    write(path, arrays, facts, comm)
    with agree(comm):
        if comm.rank == 0:
            _forget_but(path)


def write(path: pathlib.Path, arrays: Named, facts: dict[str, Any], comm: MeteredComm) -> None:
    """Collective. Let the root write a file of arrays and facts, as `save` takes them."""
    mine = iter(arrays)
    with agree(comm):
        try:
            if comm.rank == 0:
                with records.replacing(path) as temporary, h5py.File(temporary, "w") as file:
                    file.attrs["facts"] = json.dumps(facts)
                    for name, array in mine:
                        file[name] = array
        finally:
            for _ in mine:  # also where it cannot be written, as others send
                pass


def load(folder: pathlib.Path, comm: MeteredComm) -> tuple[dict[str, Any], Named] | None:
    """Collective. Return the facts and the arrays of the newest whole checkpoint that the root finds; None without.

    The arrays are to be passed through on every rank: they come one after the other from the root.
    """
    path, facts = None, None
    with agree(comm):
        if comm.rank == 0:
            path = _whole(folder)
            facts = None if path is None else _facts(path)
    found = bcast_json(facts, comm)
    return None if found is None else (found, spread(read_arrays(path) if path else (), comm))


def spread(mine: Named, comm: MeteredComm, root: int = 0) -> Named:
    """Collective, also as it is passed through. Yield on every rank the arrays that the root has."""
    arrays = iter(mine)
    while True:
        found = next(arrays, None) if comm.rank == root else None
        head = bcast_json(found and [found[0], str(found[1].dtype), found[1].shape], comm, root)
        if head is None:
            return
        name, dtype, shape = head
        array = found[1].copy(order="C") if found else np.empty(shape, dtype)
        comm.Bcast(array.reshape(-1).view(np.uint8), root)
        yield name, array


def clear(folder: pathlib.Path, comm: MeteredComm) -> None:
    """Collective. Remove all checkpoints."""
    with agree(comm):
        if comm.rank == 0:
            for path in (folder / "latest.json", *folder.glob("epoch-*.h5")):
                path.unlink(missing_ok=True)


def _forget_but(path: pathlib.Path) -> None:
    """Put a checkpoint at the head of the list, and remove all but KEPT."""
    folder = path.parent
    kept = [[path.name, records.sha256(path)], *(entry for entry in _listed(folder) if entry[0] != path.name)][:KEPT]
    records.replace(folder / "latest.json", msgspec.json.encode(kept))
    for old in set(folder.glob("epoch-*.h5")) - {folder / name for name, _ in kept}:
        old.unlink()


def _whole(folder: pathlib.Path) -> pathlib.Path | None:
    for name, digest in _listed(folder):
        if (folder / name).is_file() and records.sha256(folder / name) == digest:
            return folder / name
    return None


def _facts(path: pathlib.Path) -> dict[str, Any]:
    with h5py.File(path, "r") as file:
        return json.loads(file.attrs["facts"])


def read_arrays(path: pathlib.Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of a file one by one."""
    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visit(names.append)
        for name in names:
            if isinstance(file[name], h5py.Dataset):
                yield name, np.asarray(file[name])


def _listed(folder: pathlib.Path) -> list[list[str]]:
    path = folder / "latest.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[list[str]]) if path.exists() else []
    except msgspec.DecodeError:
        return []

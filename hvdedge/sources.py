"""What readers have in common: each file is read once, whatever names it again; what is told of names and columns."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from mpi4py import MPI

from hvdedge.errors import InputError
from hvdedge.parallel import bcast_json
from hvdedge.workspace import Source


def each_once(source: Source, comm: MPI.Intracomm) -> Source:
    """Collective. Return the source with each file at its first place; what names a file again becomes an event.

    Raises:
        InputError: on every rank, where the source names no file.
    """
    if not source.paths:
        raise InputError("prepare.source: received no files, expected at least one; name a file, a folder or a pattern")
    first: dict[object, int] = {}
    places = [first.setdefault(_identity(path), place) for place, path in enumerate(source.paths)]
    places = bcast_json(places, comm)  # a rank whose disk is another one sees other files
    kept = Source(tuple(path for n, path in enumerate(source.paths) if places[n] == n), source.workspace)
    source.workspace.events += [
        {"what": "file_read_once", "file": kept.name(source.paths[place]), "named_again": str(source.paths[n])}
        for n, place in enumerate(places)
        if place != n
    ]
    return kept


def columns_as_read(types: Mapping[str, str], missing: Mapping[str, int] | None = None) -> dict[str, dict[str, Any]]:
    """Return what the record of prepare tells of columns of which no cell was changed.

    Args:
        types: column -> integer, float, category, array and so on.
        missing: column -> how many of its cells are; none of the others.
    """
    return {
        name: {"type": type_, "missing": (missing or {}).get(name, 0), "changed": 0} for name, type_ in types.items()
    }


def as_text(path: pathlib.Path | str) -> str:
    """Return a name as text, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _identity(path: pathlib.Path) -> object:
    try:
        found = os.stat(path)
    except OSError:  # the reader tells
        return path
    return found.st_dev, found.st_ino

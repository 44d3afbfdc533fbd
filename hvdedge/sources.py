"""The files that a reader reads, each once: a list and a pattern, or a link, may name the same file again."""

import os
import pathlib

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


def _identity(path: pathlib.Path) -> object:
    try:
        found = os.stat(path)
    except OSError:  # the reader tells
        return path
    return found.st_dev, found.st_ino
